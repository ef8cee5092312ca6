"""One error tree: each error knows its HTTP status, its one-line text and whether the connection ends."""

from __future__ import annotations


class RplxError(Exception):
    """Base of everything that rplx raises on purpose."""


class ConfigError(RplxError):
    """One or more wrong options; `problems` names every one, with file and line where there is one."""

    exit_status = 2  # of the process that it ends, as for a wrong command line: starting it again would not help

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UsageError(RplxError):
    """Arguments of a command line that cannot be carried out."""


class Unhealthy(RplxError):
    """A server that does not answer as one that is well does."""


class Refusal(RplxError):
    """A request that is answered with an HTTP error instead of being carried out.

    `status` is the HTTP status code, `text` the one-line reason that the client reads, `closes` whether the
    connection ends with the answer (protocol page, part 7.3).
    """

    status = 400
    reason = "Bad Request"
    hint = ""
    """What the answer says behind `text`, and the log does not."""
    trouble = ""
    """The name of an ongoing trouble that this is part of: the log counts it there instead of telling each."""

    def __init__(self, text: str, *, closes: bool = True) -> None:
        super().__init__(text)
        self.text = text
        self.closes = closes


class BadRequest(Refusal):
    pass


class EmptyIdentifier(BadRequest):
    """A poll that names no channel, in words that old logs have (part 4); a newcomer is told what to ask for."""

    def __init__(self, word: str, script_id: str) -> None:
        super().__init__("Empty identifier passed")
        self.hint = f"; listen with ?{word}=CHANNEL, and load the script of a page from ?{word}={script_id}"


class TlsHandshake(BadRequest):
    """The client speaks TLS, where there is none. It can read no answer, so its connection is closed (part 7.15)."""

    def __init__(self) -> None:
        super().__init__("a TLS handshake on a port without TLS: https needs a proxy in front that ends it")


class AccessDenied(Refusal):
    """Credentials refused. The reason phrase is spelt so on the wire, and clients compare it (part 3)."""

    status = 403
    reason = "Access Deined"


class Forbidden(Refusal):
    status = 403
    reason = "Forbidden"


class ForeignOrigin(Forbidden):
    """A preflight of a page that may read nothing here. The log names such origins by itself (part 4)."""

    def __init__(self) -> None:
        super().__init__("this origin is not among wait.allowed_origins")


class NotFound(Refusal):
    status = 404
    reason = "Not Found"


class MethodNotAllowed(Refusal):
    status = 405
    reason = "Method Not Allowed"


class RequestTimeout(Refusal):
    status = 408
    reason = "Request Timeout"


class LengthRequired(Refusal):
    status = 411
    reason = "Length Required"


class TooLarge(Refusal):
    status = 413
    reason = "Content Too Large"


class TooManyRequests(Refusal):
    status = 429
    reason = "Too Many Requests"


class HeadTooLarge(Refusal):
    status = 431
    reason = "Request Header Fields Too Large"


class Unavailable(Refusal):
    status = 503
    reason = "Service Unavailable"


class InsufficientStorage(Refusal):
    status = 507
    reason = "Insufficient Storage"
