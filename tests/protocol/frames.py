"""WebSocket frames as clients write them, right and wrong."""

from __future__ import annotations

from rplx.protocol.websocket import BadFrame, FrameReader, Opcode, Received, unmasked
from tests.protocol.feeding import bytewise, split_at

BYTEWISE_MAX = 1000  # bytes that are fed one by one; what follows comes in larger pieces
MASK = b"\x37\xfa\x21\x3d"


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0, mask: bytes | None = MASK, width: int = 0
) -> bytes:
    """A client's frame. `bits`: reserved ones. `width`: the bytes that its length has beside the usual ones."""
    size = len(payload)
    width = width or (0 if size < 126 else 2 if size < 65536 else 8)
    short = {0: size, 2: 126, 8: 127}[width]
    head = bytes([(fin << 7) | bits | opcode, (0x80 if mask is not None else 0) | short])
    length = size.to_bytes(width, "big") if width else b""
    return head + length + (b"" if mask is None else mask + unmasked(payload, mask))


def text(message: str | bytes) -> bytes:
    return frame(Opcode.TEXT, message.encode() if isinstance(message, str) else message)


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason)


Outcome = tuple[list[Received], int | None, bool]
"""What was received, the code with which the connection is closed for an error, and whether more may come."""


def outcome(portions: list[bytes], *, deflate: bool = False) -> Outcome:
    reader = FrameReader(deflate=deflate)
    received: list[Received] = []
    for portion in portions:
        received += reader.feed(portion)
    error: BadFrame | None = reader.error
    return received, None if error is None else int(error.code), not reader.closed


def in_all_portions(data: bytes, *, deflate: bool = False) -> Outcome:
    """What comes of `data` whole, byte by byte and in halves, which has to be the same."""
    whole = outcome([data], deflate=deflate)
    slowly = [*bytewise(data[:BYTEWISE_MAX]), *split_at(data[BYTEWISE_MAX:], range(997, len(data), 997))]
    assert outcome(slowly, deflate=deflate) == whole
    half = len(data) // 2
    assert outcome([data[:half], data[half:]], deflate=deflate) == whole
    return whole
