"""One error tree: a refusal knows its HTTP status, its machine code and its one-line text."""

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
    """A server that answers no health check, or a wrong answer to one."""


class Refusal(RplxError):
    """A request that is answered with an HTTP error instead of being carried out (protocol page, part 7.3).

    `status` and `reason` are those of the HTTP status line, `text` is the one-line reason that the client reads.
    `closes` says whether a kept connection of the IN line ends with the answer. On the WAIT line no error decides that:
    a connection ends there where what came is no request, and is kept as the request asks where it is one.
    """

    status = 400
    reason = "Bad Request"
    code = "refused"
    """Names this class of refusals for programs. It is unique, and stays the same when the text is worded anew."""
    hint = ""
    """What an answer of the WAIT line says behind `text`, and the log does not."""
    advice = ""
    """What the log tells the operator about the cause, and no answer does."""
    passes = False
    """Whether the same request may be carried out later, so that its answer says when to come back (part 9.4)."""
    retry_after = 0
    """Seconds for which coming back is certainly in vain, if it passes."""
    trouble = ""
    """The name of an ongoing trouble that this is part of: the log counts it there instead of telling each."""

    def __init__(self, text: str, *, closes: bool = True) -> None:
        super().__init__(text)
        self.text = text
        self.closes = closes


class BadRequest(Refusal):
    code = "bad_request"


class EmptyIdentifier(BadRequest):
    """A poll that names no channel. Old logs have this text (part 4); the hint tells a newcomer what to ask for."""

    code = "empty_identifier"

    def __init__(self, word: str, script_id: str) -> None:
        super().__init__("Empty identifier passed")
        self.hint = f"; listen with ?{word}=CHANNEL, and load the script of a page from ?{word}={script_id}"


class TlsHandshake(BadRequest):
    """The client speaks TLS, where there is none. It can read no answer, so its connection is closed (part 7.15)."""

    code = "tls_handshake"

    def __init__(self) -> None:
        super().__init__("a TLS handshake on a port without TLS: https needs a proxy in front that ends it")


class InvalidGrant(Refusal):
    """A listener brought a grant that does not hold, and is never taken for one who has none (part 12).

    `why` shows nothing of the grant. `position` is the cursor for the answer's position header, if there is one.
    """

    status = 401
    reason = "Unauthorized"
    code = "invalid_grant"
    position = ""

    def __init__(self, why: str) -> None:
        super().__init__(f"this grant does not hold: {why}")


class GrantEnded(InvalidGrant):
    """The grant of a WebSocket has ended, whose client was told before."""

    code = "grant_ended"

    def __init__(self) -> None:
        super().__init__("it has ended")


class AccessDenied(Refusal):
    """Credentials are wrong. The reason phrase is spelt so on the wire, and clients compare it (part 3)."""

    status = 403
    reason = "Access Deined"
    code = "access_denied"


class GuestRefused(AccessDenied):
    """A back-end without credentials, where guests may not send. Old clients compare the text (part 3)."""

    code = "guest_refused"
    advice = (
        "a back-end without a login is refused: the line : in users.file lets it in; without such a file"
        " in.guests_loopback_only=false lets other machines send"
    )

    def __init__(self) -> None:
        super().__init__("access denied for guest user")


class Forbidden(Refusal):
    status = 403
    reason = "Forbidden"
    code = "forbidden"


class ChannelsRefused(Forbidden):
    """Nothing is left of the channels that somebody asks for: `ids` are refused, as a header has them (part 12)."""

    code = "channels_refused"

    def __init__(
        self, ids: str, text: str = "none of these channels may be listened to without a grant for it"
    ) -> None:
        super().__init__(text)
        self.ids = ids


class ForeignOrigin(Forbidden):
    """A preflight of a page that may read nothing here. The log names such origins by itself (part 4)."""

    code = "foreign_origin"

    def __init__(self) -> None:
        super().__init__("this origin is not among wait.allowed_origins")


class NotFound(Refusal):
    status = 404
    reason = "Not Found"
    code = "not_found"


class MethodNotAllowed(Refusal):
    status = 405
    reason = "Method Not Allowed"
    code = "method_not_allowed"


class RequestTimeout(Refusal):
    status = 408
    reason = "Request Timeout"
    code = "request_timeout"


class LengthRequired(Refusal):
    status = 411
    reason = "Length Required"
    code = "length_required"


class TooLarge(Refusal):
    status = 413
    reason = "Content Too Large"
    code = "too_large"


class UpgradeRequired(Refusal):
    """A WebSocket of another version than there is here, or where there is none (RFC 9110, 15.5.22)."""

    status = 426
    reason = "Upgrade Required"
    code = "upgrade_required"


class TooManyRequests(Refusal):
    status = 429
    reason = "Too Many Requests"
    code = "too_many_requests"
    passes = True
    retry_after = 60  # as its text says: failures of the last minute count


class HeadTooLarge(Refusal):
    status = 431
    reason = "Request Header Fields Too Large"
    code = "head_too_large"


class Unavailable(Refusal):
    status = 503
    reason = "Service Unavailable"
    code = "unavailable"
    passes = True


class Ending(Unavailable):
    """A poll that would have to wait in a server that ends (part 9.5)."""

    code = "ending"

    def __init__(self) -> None:
        super().__init__("the server ends; come back when it has been started again")


class InsufficientStorage(Refusal):
    status = 507
    reason = "Insufficient Storage"
    code = "insufficient_storage"
