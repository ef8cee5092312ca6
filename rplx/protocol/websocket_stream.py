"""Streams over WebSocket (protocol page, part 11): each message is a text frame, made once for all who get it.

Clients keep the cursors of the messages themselves, so a frame says nothing of its listener, and only the heartbeat has
the composite cursor of part 10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from rplx.errors import Refusal
from rplx.messages import Message
from rplx.protocol.deflate import DEFLATE_MIN, deflated
from rplx.protocol.event_stream import event_data, mark_text
from rplx.protocol.websocket import close_frame, text_frame
from rplx.protocol.websocket_commands import at, close_of, expires, gap, opened, refused

Write = Callable[[tuple[str, ...]], bytes]


class WebSocketStream:
    """The encoding of streams over WebSocket.

    `deflate`: the client takes compressed messages. `charset`: as for `event_data`.
    """

    def __init__(self, *, deflate: bool, charset: str | None) -> None:
        self.deflate = deflate
        self._charset = charset

    def writer(self, message: Message) -> Write:
        """Returns what writes the frame of a message by some of its ids, which are sorted."""
        write = event_data(message, self._charset)
        return lambda ids: self._frame(write(ids))

    def _frame(self, text: bytes) -> bytes:
        if self.deflate and len(text) >= DEFLATE_MIN:
            return text_frame(deflated(text), deflated=True)
        return text_frame(text)

    def event(self, written: bytes, common: str, named: Mapping[str, str]) -> bytes:
        """Returns the frame of a message, which is the same for all."""
        return written

    def opened(self, common: str, named: Mapping[str, str], position: str, gaps: Sequence[str]) -> bytes:
        """Returns the frame that answers a command: the position of channels without a cursor, and gaps (part 7.4)."""
        return self._frame(opened(position, gaps))

    def gap(self, ids: Sequence[str]) -> bytes:
        """Returns the frame that says that messages of `ids` are missing before those that follow."""
        return self._frame(gap(ids))

    def refused(self, ids: Sequence[str]) -> bytes:
        """Returns the frame that says that `ids` may not be listened to (part 12)."""
        return self._frame(refused(ids))

    def expires(self, seconds: int) -> bytes:
        """Returns the frame that says that the grant of this stream ends in `seconds`."""
        return self._frame(expires(seconds))

    def heartbeat(self, common: str, named: Mapping[str, str]) -> bytes:
        """Returns the frame that says where the client stands, and keeps a quiet connection from being cut."""
        return self._frame(at(mark_text(common, named)))

    def bye(self, error: Refusal, retry: int) -> bytes:
        """Returns the close for `error`. `retry`: milliseconds after which the client may come back."""
        return close_frame(*close_of(error, -(-retry // 1000)))


def takes_deflate(encoding: object) -> bool:
    """Returns whether the client of a stream in this encoding may send compressed messages."""
    return isinstance(encoding, WebSocketStream) and encoding.deflate


@cache
def websocket_stream(*, deflate: bool, charset: str | None) -> WebSocketStream:
    """Returns the one encoding of streams of this kind."""
    return WebSocketStream(deflate=deflate, charset=charset)
