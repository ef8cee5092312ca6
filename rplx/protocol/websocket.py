"""WebSocket frames (RFC 6455, 5): what a client sends becomes values, and what it is sent becomes bytes.

Pure: bytes in, values out. A reader that is idle holds nothing of its connection and may serve another, so that one
that waits for messages keeps no reader.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from rplx.protocol.deflate import BadDeflate, TooLong, inflated

MESSAGE_MAX = 65536
"""Bytes of a client's message: of all its fragments together, and of what they inflate to."""

CONTROL_MAX = 125  # bytes of a control frame's payload (5.5)
REASON_MAX = CONTROL_MAX - 2  # bytes of a close frame's reason

_FIN, _RSV1, _RSV2_OR_3, _OPCODE = 0x80, 0x40, 0x30, 0x0F
_MASKED, _LENGTH = 0x80, 0x7F
_TWO_BYTES, _EIGHT_BYTES = 126, 127  # lengths that say how long the length is
_MESSAGES = (0x1, 0x2)  # opcodes that begin a message
_CONTROL = 0x8  # the bit of an opcode that makes it a control frame's


class Opcode(enum.IntEnum):
    """The kinds of frames (5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class Code(enum.IntEnum):
    """The close codes (7.4) that are used here by name."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005  # stands for a close frame without a code, and is in none
    INVALID_DATA = 1007
    TOO_BIG = 1009


_CODES_OF_THE_PROTOCOL = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015)))  # those that a frame may have, by IANA


@dataclass(frozen=True, slots=True)
class Text:
    """A whole text message."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping, which is answered by a pong with the same payload."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """A close frame. `code` is NO_STATUS where it has none."""

    code: int
    reason: str = ""


Received = Text | Ping | Close


class BadFrame(ValueError):
    """What came breaks the protocol, so the connection is closed with `code`."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class FrameReader:
    """Reads the frames of one client. With `deflate` its messages may be compressed (RFC 7692).

    `whole` counts what has come whole: messages, and control frames that stand between two of them. `error` is set when
    something came that ends the connection; `closed` then, too, and behind a close frame. What
    follows either is ignored.
    """

    __slots__ = ("_buffer", "_is_deflated", "_message", "_needed", "closed", "deflate", "error", "whole")

    def __init__(self, *, deflate: bool = False) -> None:
        self.deflate = deflate
        self._buffer = bytearray()  # a frame that is not whole yet
        self._needed = 0  # bytes that the buffer has to hold before there is anything to do
        self._message: bytearray | None = None  # the fragments of a message that goes on
        self._is_deflated = False  # whether they are compressed
        self.whole = 0
        self.closed = False
        self.error: BadFrame | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is half read and more may come."""
        return not self._buffer and self._message is None and not self.closed

    def feed(self, data: bytes) -> list[Received]:
        """Takes what has come, and returns what is whole now, in order. Pongs are left out.

        What breaks the protocol is found in `error`; what came before it is returned.
        """
        received: list[Received] = []
        if self.closed:
            return received
        source: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            source = self._buffer
            if len(source) < self._needed:
                return received
        begin = 0
        try:
            while not self.closed and (end := self._read(source, begin, received)):
                begin = end
        except BadFrame as error:
            self.error = error
            self.closed = True
        if self.closed:
            self._buffer, self._message = bytearray(), None
        elif source is self._buffer:
            del self._buffer[:begin]
        else:
            self._buffer += data[begin:]
        return received

    def _read(self, data: bytes | bytearray, begin: int, received: list[Received]) -> int:
        """Reads the frame at `begin`, and returns where it ends; 0 if it is not whole. Raises BadFrame."""
        head = data[begin : begin + 14]
        if len(head) < 2:
            self._needed = 2
            return 0
        opcode = self._check(head[0], head[1])
        size, length = 2, head[1] & _LENGTH
        if length >= _TWO_BYTES:
            size = 4 if length == _TWO_BYTES else 10
            if len(head) < size:
                self._needed = size
                return 0
            length = _long_length(head[2:size])
        size += 4
        if not opcode & _CONTROL and length + len(self._message or b"") > MESSAGE_MAX:
            raise BadFrame(Code.TOO_BIG, f"a message of more than {MESSAGE_MAX} bytes")
        if len(data) - begin < size + length:
            self._needed = size + length
            return 0
        start = begin + size
        payload = unmasked(bytes(data[start : start + length]), bytes(head[size - 4 : size]))
        if opcode & _CONTROL:
            self._take_control(opcode, payload, received)
        else:
            self._take_fragment(head[0], payload, received)
        if self._message is None:
            self.whole += 1
        return start + length

    def _check(self, first: int, second: int) -> int:
        """Judges the first two bytes of a frame, and returns its opcode. Raises BadFrame."""
        opcode = first & _OPCODE
        if first & _RSV2_OR_3 or (first & _RSV1 and not (self.deflate and opcode in _MESSAGES)):
            raise BadFrame(Code.PROTOCOL_ERROR, "a reserved bit is set")
        if not second & _MASKED:
            raise BadFrame(Code.PROTOCOL_ERROR, "a frame is not masked")
        if opcode & _CONTROL:
            if opcode > Opcode.PONG:
                raise BadFrame(Code.PROTOCOL_ERROR, "an unknown opcode")
            if not first & _FIN:
                raise BadFrame(Code.PROTOCOL_ERROR, "a control frame in fragments")
            if second & _LENGTH > CONTROL_MAX:
                raise BadFrame(Code.PROTOCOL_ERROR, f"a control frame of more than {CONTROL_MAX} bytes")
        elif opcode > Opcode.BINARY:
            raise BadFrame(Code.PROTOCOL_ERROR, "an unknown opcode")
        elif (opcode == Opcode.CONTINUATION) is (self._message is None):
            raise BadFrame(Code.PROTOCOL_ERROR, "a fragment without a message, or a message within another")
        elif opcode == Opcode.BINARY:
            raise BadFrame(Code.UNSUPPORTED_DATA, "messages are text here")
        return opcode

    def _take_control(self, opcode: int, payload: bytes, received: list[Received]) -> None:
        """Raises BadFrame."""
        if opcode == Opcode.PING:
            received.append(Ping(payload))
        elif opcode == Opcode.CLOSE:
            received.append(_close_of(payload))
            self.closed = True

    def _take_fragment(self, first: int, payload: bytes, received: list[Received]) -> None:
        """Takes a fragment, which may be a whole message. Raises BadFrame."""
        is_last = first & _FIN
        if self._message is None:
            self._is_deflated = bool(first & _RSV1)
            if not is_last:
                self._message = bytearray(payload)
                return
        else:
            self._message += payload
            if not is_last:
                return
            payload, self._message = bytes(self._message), None
        received.append(Text(_text_of(_inflated(payload) if self._is_deflated else payload)))


def _long_length(data: bytes | bytearray) -> int:
    """Returns a length of two or eight bytes. Raises BadFrame if it would fit into fewer, or is negative."""
    length = int.from_bytes(data, "big")
    if length < (_TWO_BYTES if len(data) == 2 else 1 << 16):
        raise BadFrame(Code.PROTOCOL_ERROR, "a length in more bytes than it needs")
    if length >> 63:
        raise BadFrame(Code.PROTOCOL_ERROR, "a length of more than 63 bits")
    return length


def _inflated(payload: bytes) -> bytes:
    """Raises BadFrame."""
    try:
        return inflated(payload, MESSAGE_MAX)
    except TooLong:
        raise BadFrame(Code.TOO_BIG, f"a message of more than {MESSAGE_MAX} bytes") from None
    except BadDeflate:
        raise BadFrame(Code.INVALID_DATA, "a message that cannot be inflated") from None


def _text_of(data: bytes) -> str:
    """Raises BadFrame."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadFrame(Code.INVALID_DATA, "a text that is not UTF-8") from None


def _close_of(payload: bytes) -> Close:
    """Raises BadFrame, also for a code that no frame may have (7.4)."""
    if not payload:
        return Close(Code.NO_STATUS)
    code, reason = int.from_bytes(payload[:2], "big"), _text_of(payload[2:])
    if len(payload) < 2 or not (code in _CODES_OF_THE_PROTOCOL or 3000 <= code < 5000):
        raise BadFrame(Code.PROTOCOL_ERROR, "a close frame with a wrong code")
    return Close(code, reason)


def unmasked(data: bytes, mask: bytes) -> bytes:
    """Returns `data` with the four bytes of `mask` taken off it again and again, or put on it (5.3)."""
    size = len(data)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(data, "little") ^ key).to_bytes(size, "little")


# -- to the client


def text_frame(data: bytes, *, deflated: bool = False) -> bytes:
    """Returns the frame of a whole text message. `deflated`: `data` is compressed already."""
    return _frame(Opcode.TEXT | _FIN | (_RSV1 if deflated else 0), data)


def pong_frame(data: bytes) -> bytes:
    """Returns the answer to a ping with this payload."""
    return _frame(Opcode.PONG | _FIN, data)


def close_frame(code: int, reason: str = "") -> bytes:
    """Returns a close frame; NO_STATUS has neither code nor reason. A reason is cut at REASON_MAX bytes."""
    if code == Code.NO_STATUS:
        return _frame(Opcode.CLOSE | _FIN, b"")
    cut = reason.encode()[:REASON_MAX].decode(errors="ignore").encode()
    return _frame(Opcode.CLOSE | _FIN, code.to_bytes(2, "big") + cut)


def _frame(first: int, data: bytes) -> bytes:
    size = len(data)
    if size < _TWO_BYTES:
        return bytes((first, size)) + data
    if size < 1 << 16:
        return bytes((first, _TWO_BYTES)) + size.to_bytes(2, "big") + data
    return bytes((first, _EIGHT_BYTES)) + size.to_bytes(8, "big") + data
