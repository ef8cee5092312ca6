"""MarkerScan says of every growing text what `IdentifierParser.in_text` says of it at that moment."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.errors import Refusal
from rplx.protocol.identifiers import IdentifierParser
from rplx.protocol.marker_scan import MarkerScan
from tests.protocol.feeding import bytewise, split_at

PARSER = IdentifierParser()
PIECES = [
    *(b"identifier=", b"identifier", b"=", b"xidentifier=", b"Referer:", b"referer: ", b"Refer", b"\n", b"\r\n", b" "),
    *(b"a", b"b1", b",", b"*", b"5:", b"1.5:", b":", b"@", b"me:pw", b"%", b"%2", b"%2c", b"%3A", b"%2a", b"%41", b"."),
    *(b"\xff", b"\t", b"&", b"POST x", b"_", b"C", b"er: ", b"er"),
    *(b"-", b"/", b"@b", b";", b'"', b"+"),
]


def judged(text: bytes, http: bool) -> bool:
    try:
        return PARSER.in_text(text, complete=False, http=http) is not None
    except Refusal:  # it is complete, and wrong
        return True


def assert_same(portions: list[bytes]) -> None:
    assert_same_in(portions, http=False)
    assert_same_in(portions, http=True)


def assert_same_in(portions: list[bytes], *, http: bool) -> None:
    scan = MarkerScan("identifier", http=http)
    text = bytearray()
    for portion in portions:
        text += portion
        complete = judged(bytes(text), http)
        assert scan.is_complete(text) is complete
        if complete:
            return


@given(st.lists(st.sampled_from(PIECES), max_size=14), st.lists(st.integers(1, 60), max_size=6))
def test_as_the_parser_says(pieces: list[bytes], places: list[int]) -> None:
    text = b"".join(pieces)
    assert_same(bytewise(text))
    assert_same(split_at(text, places))
    assert_same(pieces)


@pytest.mark.parametrize(
    "text",
    [
        b"identifier=a\n",
        b"identifier=me:pw@5:a,b ",
        b"identifier=me:pw a\n",
        b"Referer: identifier=a\nidentifier=b\n",
        b"x\nReferer: identifier=a\nReFeReR: identifier=c\n\nidentifier=b%2C%2ac\n",
        b"identifier=a%2",
        b"identifier=a%2c%2",
        b"identifier=a%2x",
        b"xidentifier=a identifier=b\n",
        b"identifier=5:a,b@c\n",
        b"identifier=\n",
        b"identifier=room-1,user.7\n",
        b"identifier=me:p&w@a-b&c@d ",
        b"identifier=a@b,c/d%20\n",
    ],
)
def test_byte_by_byte(text: bytes) -> None:
    assert_same(bytewise(text))


@pytest.mark.parametrize(
    "piece", [b"%2c", b"a", b"\n", b"x identifier", b"Referer: identifier=a\n", b"me:pw", b"%2c\n"]
)
@pytest.mark.parametrize("begin", [b"", b"identifier=", b"identifier=me:", b"Referer: "])
@pytest.mark.parametrize("http", [False, True])
def test_the_work_is_linear(begin: bytes, piece: bytes, http: bool) -> None:
    """Four times as much that comes byte by byte takes about four times as long: sixteen times were quadratic."""

    def spent(size: int) -> float:
        text = (begin + piece * size)[:size]
        best = float("inf")
        for _ in range(3):
            scan, start = MarkerScan("identifier", http=http), time.thread_time()
            grown = bytearray()
            for byte in bytewise(text):
                grown += byte
                scan.is_complete(grown)
            best = min(best, time.thread_time() - start)
        return best

    assert spent(20_000) < 9 * spent(5_000)
