"""How a transport writes messages: the hub knows no text, and keeps what an encoding made for the next listeners."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from rplx.errors import Refusal
from rplx.messages import Due, Message

Write = Callable[[tuple[str, ...]], bytes]
"""Returns one message for those to whom it is due by these ids, which are sorted."""

Rest = Callable[[], None]


class Encoding(Protocol):
    """One way to write messages. A transport makes few of them, once: they are told apart by identity.

    Listeners share a set, and what is written for them is shared, where their encoding is the same. So what is written
    depends on the messages and on the ids by which they are due, and on nothing else of a listener. What a transport
    has to say of the listener itself, such as the composite cursor in an event stream's id line, stands before or
    behind that: the transport writes it for each set as it sends.
    """

    reserved: int
    """Bytes of each answer that the transport needs beside the messages."""

    def convert(self, dues: list[Due], rest: Rest) -> list[Due]:
        """Returns `dues` itself, or as many, in their order, whose messages have the bytes that will be written.

        `rest` is called now and then.
        """

    def encode(self, dues: list[Due], rest: Rest) -> bytes:
        """Returns messages from history, as `convert` returned them, as one answer. `rest` is called now and then."""

    def writer(self, message: Message) -> Write:
        """Returns what writes a message that was just sent. It is called once for each combination of ids."""


class StreamEncoding(Protocol):
    """One way to write a stream of messages, each in a frame of its own. As with an Encoding, a transport makes few.

    `common` and `named` are the mark from which a client resumes (`progress`). A transport whose clients keep the
    cursors of messages themselves may leave it out of the messages.
    """

    def writer(self, message: Message) -> Write:
        """Returns what writes a message. It is called once for each combination of ids."""

    def event(self, written: bytes, common: str, named: Mapping[str, str]) -> bytes:
        """Returns the frame of a message, as `writer` wrote it, behind which the stream is at this mark."""

    def opened(self, common: str, named: Mapping[str, str], position: str, gaps: Sequence[str]) -> bytes:
        """Returns the first frame: the mark, the position of channels without a cursor, and gaps (part 7.4)."""

    def gap(self, ids: Sequence[str]) -> bytes:
        """Returns the frame that says that messages of `ids` are missing before those that follow."""

    def heartbeat(self, common: str, named: Mapping[str, str]) -> bytes:
        """Returns the frame that keeps a quiet stream from being cut."""

    def refused(self, ids: Sequence[str]) -> bytes:
        """Returns the frame that says that `ids` may not be listened to (part 12)."""

    def expires(self, seconds: int) -> bytes:
        """Returns the frame that says that the grant of this stream ends in `seconds`."""

    def bye(self, error: Refusal, retry: int) -> bytes:
        """Returns the last frame, and the end. `error`: why; `retry`: milliseconds until its client may come back."""


class Written(dict[tuple[str, ...], bytes]):
    """A message in one encoding, by the ids by which it is due; b"" by none of them, for an empty answer."""

    def __init__(self, write: Write, most: int) -> None:
        """Keeps up to `most` combinations of ids."""
        self._write = write
        self._most = most

    def __missing__(self, ids: tuple[str, ...]) -> bytes:
        if len(self) >= self._most:
            self.clear()
        body = self[ids] = self._write(ids) if ids else b""
        return body
