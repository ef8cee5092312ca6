"""Compressed messages: what another implementation makes of ours, and we of its, within bounds."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.protocol.deflate import WINDOW_BITS, BadDeflate, TooLong, deflated, inflated

TAIL = b"\0\0\xff\xff"
messages = st.one_of(st.binary(max_size=500), st.text(max_size=9).map(lambda text: text.encode() * 300))


@given(messages)
def test_there_and_back(message: bytes) -> None:
    assert inflated(deflated(message), len(message)) == message


@given(messages)
def test_a_window_as_small_as_promised_reads_it(message: bytes) -> None:
    message *= 20
    assert zlib.decompressobj(wbits=-WINDOW_BITS).decompress(deflated(message) + TAIL) == message


@given(messages, st.integers(9, 15), st.integers(0, 9))
def test_what_others_compress(message: bytes, bits: int, level: int) -> None:
    compressor = zlib.compressobj(level, wbits=-bits)
    data = compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert inflated(data[:-4], len(message)) == message


@given(messages.filter(bool))
def test_one_byte_too_many(message: bytes) -> None:
    with pytest.raises(TooLong):
        inflated(deflated(message), len(message) - 1)


@given(st.binary(max_size=300))
def test_anything_is_bounded(data: bytes) -> None:
    try:
        assert len(inflated(data, 100)) <= 100
    except (BadDeflate, TooLong):
        pass
