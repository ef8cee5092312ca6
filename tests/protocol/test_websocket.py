"""WebSocket frames: a table of RFC 6455's rules, and the same bytes read by another implementation."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from rplx.protocol.deflate import deflated
from rplx.protocol.websocket import (
    MESSAGE_MAX,
    REASON_MAX,
    Close,
    Code,
    FrameReader,
    Opcode,
    Ping,
    Received,
    Text,
    close_frame,
    pong_frame,
    text_frame,
    unmasked,
)
from tests.protocol.frames import MASK, close, frame, in_all_portions, outcome, text

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = Opcode
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10
HELLO = text("Hello")
FULL = b"x" * MESSAGE_MAX

# What comes, and what is received of it.
RIGHT: list[tuple[str, bytes, list[Received]]] = [
    ("the RFC's own example, 5.7", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", [Text("Hello")]),
    ("an empty message", text(""), [Text("")]),
    ("a mask of zeros", frame(TEXT, b"a", mask=bytes(4)), [Text("a")]),
    ("two messages", text("a") + text("b"), [Text("a"), Text("b")]),
    ("125 bytes, the last length in one byte", text("x" * 125), [Text("x" * 125)]),
    ("126 bytes, the first in two", text("x" * 126), [Text("x" * 126)]),
    ("65,535 bytes, the last in two", text("x" * 65535), [Text("x" * 65535)]),
    ("65,536 bytes, the first in eight, and the most that are taken", text(FULL), [Text(FULL.decode())]),
    ("UTF-8 of all lengths", text("aé€😀\U0010ffff\0"), [Text("aé€😀\U0010ffff\0")]),
    ("noncharacters are UTF-8", text("\ufffe\uffff"), [Text("\ufffe\uffff")]),
    ("two fragments", frame(TEXT, b"Hel", fin=False) + frame(CONTINUATION, b"lo"), [Text("Hello")]),
    (
        "a character in two fragments",
        frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b"\xac"),
        [Text("€")],
    ),
    (
        "empty fragments",
        frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION),
        [Text("")],
    ),
    (
        "control frames between fragments come first",
        frame(TEXT, b"a", fin=False) + frame(PING, b"1") + frame(PONG, b"?") + frame(CONTINUATION, b"b"),
        [Ping(b"1"), Text("ab")],
    ),
    (
        "fragments that fill a message",
        frame(TEXT, FULL[:-1], fin=False) + frame(CONTINUATION, b"x"),
        [Text(FULL.decode())],
    ),
    ("a ping without a payload", frame(PING), [Ping(b"")]),
    ("a ping of 125 bytes, which need not be UTF-8", frame(PING, b"\xff" * 125), [Ping(b"\xff" * 125)]),
    ("a pong that nobody asked for", frame(PONG, b"x"), []),
    ("a close without a code", frame(CLOSE), [Close(Code.NO_STATUS)]),
    ("a close", close(1000), [Close(1000)]),
    ("a close with a reason", close(1001, "bis später".encode()), [Close(1001, "bis später")]),
    ("a reason as long as may be", close(4000, b"r" * REASON_MAX), [Close(4000, "r" * REASON_MAX)]),
    ("nothing is read behind a close", close(1000) + HELLO + b"\xff\xff", [Close(1000)]),
    (
        "a close within a message",
        frame(TEXT, b"a", fin=False) + close(1000) + frame(CONTINUATION, b"b"),
        [Close(1000)],
    ),
]
RIGHT += [(f"close code {code}", close(code), [Close(code)]) for code in (1002, 1003, *range(1007, 1015), 3000, 4999)]

LONG_PING = frame(PING, bytes(126))
BEHIND_MESSAGE = frame(TEXT, b"a", fin=False)

# What comes, and the code with which it is answered.
WRONG: list[tuple[str, bytes, int]] = [
    ("no mask", frame(TEXT, b"Hello", mask=None), 1002),
    ("no mask on an empty frame", frame(TEXT, mask=None), 1002),
    ("no mask on a ping", frame(PING, b"x", mask=None), 1002),
    ("a continuation of nothing", frame(CONTINUATION, b"x"), 1002),
    ("a continuation of nothing, not the last", frame(CONTINUATION, b"x", fin=False), 1002),
    ("a message within another", BEHIND_MESSAGE + text("b"), 1002),
    ("a binary message within a text", BEHIND_MESSAGE + frame(BINARY, b"b"), 1002),
    ("a continuation behind the last", BEHIND_MESSAGE + 2 * frame(CONTINUATION, b"b"), 1002),
    ("a ping in fragments", frame(PING, b"x", fin=False), 1002),
    ("a pong in fragments", frame(PONG, fin=False), 1002),
    ("a close in fragments", frame(CLOSE, fin=False), 1002),
    ("a ping of 126 bytes", LONG_PING, 1002),
    ("a ping of 126 bytes, seen by its head", LONG_PING[:2], 1002),
    ("a ping with a length of eight bytes", frame(PING, width=8), 1002),
    ("a close of 126 bytes", close(1000, bytes(124)), 1002),
    ("a close of one byte", frame(CLOSE, b"\x03"), 1002),
    ("a length of two bytes that fits into one", frame(TEXT, b"x" * 125, width=2), 1002),
    ("a length of two bytes for nothing", frame(TEXT, b"", width=2), 1002),
    ("a length of eight bytes that fits into two", frame(TEXT, b"x" * 65535, width=8), 1002),
    ("a length of eight bytes that fits into one", frame(TEXT, b"x", width=8), 1002),
    ("a length of 64 bits", b"\x81\xff" + b"\x80" + bytes(7), 1002),
    ("a length of all bits", b"\x81\xff" + b"\xff" * 8, 1002),
    ("the greatest length", b"\x81\xff\x7f" + b"\xff" * 7, 1009),
    ("one byte too many", text(FULL + b"x"), 1009),
    ("one byte too many, seen by its head", text(FULL + b"x")[:10], 1009),
    ("one byte too many in fragments", frame(TEXT, FULL, fin=False) + frame(CONTINUATION, b"x"), 1009),
    ("a binary message", frame(BINARY, b"x"), 1003),
    ("an empty binary message", frame(BINARY), 1003),
    ("a binary message in fragments", frame(BINARY, b"x", fin=False), 1003),
    ("a reason that is not UTF-8", close(1000, b"\xff"), 1007),
    ("a reason that ends in a character", close(1000, "é".encode()[:1]), 1007),
    (
        "a message whose last fragment ends in a character",
        BEHIND_MESSAGE + frame(CONTINUATION, "€".encode()[:2]),
        1007,
    ),
    ("two halves of a surrogate pair", text(b"\xed\xa0\xbd\xed\xb8\x80"), 1007),
]
WRONG += [(f"opcode {opcode}", frame(opcode), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)]
WRONG += [
    (f"reserved bits {bits:#x} with opcode {opcode}", frame(opcode, bits=bits), 1002)
    for opcode in Opcode
    for bits in (RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3)
]
WRONG += [
    (f"close code {code}", close(code), 1002)
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
]
NOT_UTF_8 = {
    "a lone continuation byte": b"\x80",
    "an overlong slash": b"\xc0\xaf",
    "an overlong zero": b"\xe0\x80\x80",
    "an overlong character of four bytes": b"\xf0\x80\x80\x80",
    "a surrogate": b"\xed\xa0\x80",
    "a character beyond the last": b"\xf4\x90\x80\x80",
    "a byte of no character": b"\xff",
    "a character of five bytes": b"\xf8\x88\x80\x80\x80",
    "a character that is cut": "😀".encode()[:3],
}
WRONG += [
    (f"{name}, {place} a text", text(before + data + behind), 1007)
    for name, data in NOT_UTF_8.items()
    for place, before, behind in (
        ("at the beginning of", b"", b"abc"),
        ("within", b"ab", b"c"),
        ("behind", b"abc", b""),
    )
]


@pytest.mark.parametrize(("data", "received"), [case[1:] for case in RIGHT], ids=[case[0] for case in RIGHT])
def test_what_is_right(data: bytes, received: list[Received]) -> None:
    goes_on = not any(isinstance(one, Close) for one in received)
    assert in_all_portions(data) == (received, None, goes_on)


@pytest.mark.parametrize(("data", "code"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong(data: bytes, code: int) -> None:
    received, *end = in_all_portions(data)
    assert end == [code, False]
    # What came before counts, and what comes behind does not.
    before: list[Received] = [Text("Hello"), Ping(b"1")]
    assert in_all_portions(HELLO + frame(PING, b"1") + data + HELLO) == (before + received, code, False)


def test_each_byte_of_a_frame_may_come_alone_with_others_behind() -> None:
    data = HELLO + frame(TEXT, b"a" * 300)
    for at in range(len(data) + 1):
        assert outcome([data[:at], data[at:]])[0] == [Text("Hello"), Text("a" * 300)]


def test_an_idle_reader_holds_nothing() -> None:
    reader = FrameReader()
    for data in (HELLO, frame(PING, b"x"), frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b")):
        reader.feed(data)
        assert reader.is_idle
    for data in (b"\x81", HELLO[1:-1]):
        reader.feed(data)
        assert not reader.is_idle
    assert reader.feed(HELLO[-1:]) == [Text("Hello")]
    assert reader.is_idle
    reader.feed(frame(TEXT, b"a", fin=False))
    assert not reader.is_idle
    reader.feed(close(1000))
    assert not reader.is_idle


# -- compressed messages


def packed(message: bytes, *, cut: int = 0) -> bytes:
    """A compressed message, in two fragments if `cut`."""
    data = deflated(message)
    if not cut:
        return frame(TEXT, data, bits=RSV1)
    return frame(TEXT, data[:cut], bits=RSV1, fin=False) + frame(CONTINUATION, data[cut:])


DEFLATED: list[tuple[str, bytes, list[Received], int | None]] = [
    ("the RFC's own example, 7.2.3.1", frame(TEXT, bytes.fromhex("f248cdc9c90700"), bits=RSV1), [Text("Hello")], None),
    (
        "the same in two fragments",
        frame(TEXT, bytes.fromhex("f248cd"), bits=RSV1, fin=False) + frame(CONTINUATION, bytes.fromhex("c9c90700")),
        [Text("Hello")],
        None,
    ),
    (
        "a block without compression, 7.2.3.3",
        frame(TEXT, bytes.fromhex("000500faff48656c6c6f00"), bits=RSV1),
        [Text("Hello")],
        None,
    ),
    ("a last block, 7.2.3.4", frame(TEXT, bytes.fromhex("f348cdc9c9070000"), bits=RSV1), [Text("Hello")], None),
    ("two blocks, 7.2.3.5", frame(TEXT, bytes.fromhex("f24805000000ffffcac9c90700"), bits=RSV1), [Text("Hello")], None),
    ("an empty one", packed(b""), [Text("")], None),
    ("one that is not compressed", HELLO, [Text("Hello")], None),
    ("in fragments", packed(b"Hello", cut=3), [Text("Hello")], None),
    ("each by itself", packed(b"Hello") + packed(b"Hello"), [Text("Hello"), Text("Hello")], None),
    ("as long as may be", packed(FULL), [Text(FULL.decode())], None),
    ("one byte too many", packed(FULL + b"x"), [], 1009),
    ("a thousand times too many", packed(FULL * 1000), [], 1009),
    ("no blocks at all", frame(TEXT, b"\xff\xff\xff", bits=RSV1), [], 1007),
    ("something behind the last block", frame(TEXT, bytes.fromhex("f348cdc9c9070000") + b"x", bits=RSV1), [], 1007),
    ("no UTF-8 inside", packed(b"\xff"), [], 1007),
    ("the bit on a continuation", frame(TEXT, b"", bits=RSV1, fin=False) + frame(CONTINUATION, bits=RSV1), [], 1002),
    ("the bit on a ping", frame(PING, bits=RSV1), [], 1002),
    ("a binary message", frame(BINARY, deflated(b"x"), bits=RSV1), [], 1003),
    ("another bit", frame(TEXT, bits=RSV2), [], 1002),
]


@pytest.mark.parametrize(
    ("data", "received", "code"), [case[1:] for case in DEFLATED], ids=[case[0] for case in DEFLATED]
)
def test_compressed(data: bytes, received: list[Received], code: int | None) -> None:
    assert in_all_portions(data, deflate=True) == (received, code, code is None)


# -- what is sent


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_frames_that_are_sent(size: int) -> None:
    data = b"x" * size
    assert text_frame(data) == Frame(TheirOpcode.TEXT, data).serialize(mask=False)
    assert text_frame(data, deflated=True) == b"\xc1" + text_frame(data)[1:]
    if size <= 125:
        assert pong_frame(data) == Frame(TheirOpcode.PONG, data).serialize(mask=False)


def test_a_close_that_is_sent() -> None:
    assert close_frame(1000) == b"\x88\x02\x03\xe8"
    assert close_frame(Code.NO_STATUS) == b"\x88\x00"
    assert close_frame(4000, "why") == b"\x88\x05\x0f\xa0why"
    cut = close_frame(4000, "€" * 100)
    assert cut[2:4] + "€".encode() * 41 == cut[2:]
    assert cut[1] == 125


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_a_mask_is_taken_off_as_it_is_put_on(data: bytes, mask: bytes) -> None:
    slowly = bytes([byte ^ mask[index % 4] for index, byte in enumerate(data)])
    assert unmasked(data, mask) == slowly
    assert unmasked(slowly, mask) == data


# -- beside another implementation

opcodes = st.sampled_from([*Opcode, *Opcode, TEXT, TEXT, CONTINUATION, PING, 3, 11])
payloads = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.binary(max_size=140),
    st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xed", b"x" * 126, b"x" * 400]),
)
frames = st.builds(
    frame,
    opcodes,
    payloads,
    fin=st.sampled_from([True, True, False]),
    bits=st.sampled_from([0] * 15 + [RSV1, RSV2, RSV3]),
    mask=st.sampled_from([MASK, MASK, MASK, b"abcd", bytes(4), bytes(4), None]),
)


def read_by_another(data: bytes) -> tuple[list[Received], int | None]:
    """What `websockets` makes of these bytes, in our words. It hands on fragments, which are put together here."""
    protocol = ServerProtocol(state=State.OPEN, max_size=MESSAGE_MAX)
    protocol.receive_data(data)
    received: list[Received] = []
    fragments = bytearray()
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        payload = bytes(event.data)
        if event.opcode is TheirOpcode.BINARY:
            return received, 1003
        if event.opcode in (TheirOpcode.TEXT, TheirOpcode.CONT):
            fragments += payload
            if event.fin:
                try:
                    received.append(Text(fragments.decode()))
                except UnicodeDecodeError:
                    return received, 1007
                fragments.clear()
        elif event.opcode is TheirOpcode.PING:
            received.append(Ping(payload))
        elif event.opcode is TheirOpcode.CLOSE:
            received.append(
                Close(int.from_bytes(payload[:2], "big"), payload[2:].decode()) if payload else Close(Code.NO_STATUS)
            )
            return received, None
    wrong = protocol.parser_exc
    assume("incomplete fragmented message" not in str(wrong))  # a close between fragments, which 5.4 allows
    return received, None if wrong is None else int(protocol.close_sent.code)  # type: ignore[union-attr]


@settings(max_examples=300)
@given(st.lists(frames, max_size=6), st.integers(1, 60), st.binary(max_size=30))
def test_the_same_as_another_implementation(parts: list[bytes], cut: int, behind: bytes) -> None:
    data = b"".join(parts)
    received, code, goes_on = in_all_portions(data)
    theirs, their_code = read_by_another(data)
    assert (received, code) == (theirs, their_code)
    if not goes_on:  # then what is behind changes nothing
        assert in_all_portions(data + behind) == (received, code, goes_on)
    part, part_code, _ = in_all_portions(data[:-cut])
    assert part == received[: len(part)]
    assert part_code in (None, code)
