"""Errors of the client, one class for each case that a caller may want to tell apart (docs/python.md)."""

from __future__ import annotations

_SHOWN_MAX = 200  # characters of a wrong value in the error that names it


class RealplexorError(Exception):
    """Base of all errors of the client.

    `unknown` says whether the request may have been carried out although no answer came: True for a connection lost
    or a time run out after the whole request was written, False where the server certainly has not carried it out.
    """

    unknown = False


class InvalidArgument(RealplexorError, ValueError):
    """An id, cursor, position, address, login or data that cannot be sent. Nothing was sent."""


class Refused(RealplexorError):
    """The server's refusal (part 7.3): `status` (HTTP), `reason` (the phrase behind it) and `text` (the body).

    `retry_after`: the seconds after which the server asks to come back (part 9.4), 300 at most; 0 if it does not say.
    """

    def __init__(self, status: int, reason: str, text: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status} {reason}: {text}" if text else f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.text = text
        self.retry_after = retry_after


class NotStored(RealplexorError):
    """The server took the message but did not store it in the channels `missing`, which the login does not own.

    `receipt`: the channels in which it was stored, with its cursors there.
    """

    def __init__(self, receipt: dict[str, str], missing: list[str]) -> None:
        super().__init__("not stored in " + ", ".join(missing) + ": not owned by this login")
        self.receipt = receipt
        self.missing = missing


class ConnectionFailed(RealplexorError, ConnectionError):
    """There is no connection to the server: refused, no such host, no valid certificate. Nothing was sent."""


class ConnectionLost(RealplexorError, ConnectionError):
    """The server closed the connection instead of answering; see `unknown`."""

    def __init__(self, text: str, *, unknown: bool) -> None:
        super().__init__(text)
        self.unknown = unknown


class Timeout(RealplexorError, TimeoutError):
    """The call took longer than its timeout; see `unknown`."""

    def __init__(self, text: str, *, unknown: bool) -> None:
        super().__init__(text)
        self.unknown = unknown


class BrokenResponse(RealplexorError):
    """What came back is not an answer of this protocol: there may be another kind of server at the address."""

    unknown = True


class SendManyError(RealplexorError):
    """A batch that stopped early. Messages are numbered from 0, in the order in which they were given.

    `receipts` are those that are stored, `failed` those that were refused, each with its error, `unsure` the numbers
    of those that were written without an answer: they may or may not be stored. No other message was sent.
    `__cause__` is the error that stopped the batch.
    """

    def __init__(
        self,
        cause: RealplexorError,
        receipts: dict[int, dict[str, str]],
        failed: dict[int, RealplexorError],
        unsure: list[int],
    ) -> None:
        where = f"message {min(failed)}" if failed else f"after {len(receipts)} messages"
        super().__init__(f"{where}: {cause}")
        self.receipts = receipts
        self.failed = failed
        self.unsure = unsure
        self.unknown = bool(unsure)


def shown(text: str) -> str:
    """Returns the text for an error: its beginning on one line, what cannot be printed escaped (`\\n`)."""
    cut = text[:_SHOWN_MAX] + ("..." if len(text) > _SHOWN_MAX else "")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
