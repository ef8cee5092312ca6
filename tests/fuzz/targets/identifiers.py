"""The marker: found the same way by all that look for it, and a list that was complete stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rplx.errors import Refusal
from rplx.messages import Identifiers
from rplx.protocol.identifiers import IdentifierParser, listened_to
from tests.fuzz.inputs import plain, repeated
from tests.protocol.test_identifiers import HTTP_MARKERS, MARKERS, TEXT_MARKERS, WRONG_IDS

SIZE = 8192  # wait.head_max
PARSER = IdentifierParser()


def seeds() -> Iterator[bytes]:
    for data, *_ in MARKERS + TEXT_MARKERS + HTTP_MARKERS:
        yield plain(b"\x10" + data)
    for items, _ in WRONG_IDS:
        yield plain(b"\x10identifier=" + items)
    yield plain(b"\x20GET / HTTP/1.0\nReferer: identifier=a\nidentifier=b\n")
    yield repeated(b"\xffidentifier=a:")
    yield repeated(b"\xffidentifier=a,")


def found(search: Callable[[], Identifiers | None]) -> Identifiers | str | None:
    try:
        identifiers = search()
    except Refusal as error:
        return error.text
    if identifiers is not None:
        listened_to(identifiers)
    return identifiers


def check(data: bytes) -> None:
    cut, data = int.from_bytes(data[:1], "little"), data[1:]
    found(lambda: PARSER.in_data(data))
    for http in (False, True):
        check_growing(data, cut, http)
    if b"identifier=" in data:
        short = found(lambda: PARSER.in_target(data))
        assert short == found(lambda: PARSER._search(PARSER._url_marker, data))


def check_growing(data: bytes, cut: int, http: bool) -> None:
    early = found(lambda: PARSER.in_text(data[:cut], complete=False, http=http))
    if early is not None:
        assert found(lambda: PARSER.in_text(data, complete=False, http=http)) == early
        assert found(lambda: PARSER.in_text(data, complete=True, http=http)) == early
