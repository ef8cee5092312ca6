"""RequestReader as each line sets it: however the bytes are cut, the requests are the same."""

from __future__ import annotations

from collections.abc import Iterator

from rplx.protocol.http_request import HttpRequest
from rplx.protocol.request_reader import RequestReader, State
from tests.fuzz.inputs import plain, repeated
from tests.protocol.feeding import bytewise, outcome, split_at
from tests.protocol.test_request_reader import REFUSED, WHOLE

SIZE = 16384  # what the WAIT line reads at once
CUTS_MAX = 8
BYTEWISE_MAX = 512  # bytes that are fed one by one as well
NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


def seeds() -> Iterator[bytes]:
    for data in [case[1] for case in (*WHOLE, *REFUSED)]:
        yield plain(b"\0\0" + data)
        yield plain(b"\x01\x02\0\x11\0\x30" + data)
    yield repeated(b"\0\0" + NEXT)
    yield repeated(b"\0\0POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na")


def readers(flags: int) -> list[tuple[RequestReader, bool]]:
    """Fresh ones of one setting: as many as are needed for the comparison."""
    head_max, body_max = (512, 256) if flags & 2 else (8192, 204800)
    if flags & 1:
        return [RequestReader(body_max, body_max, until_end=True, need_host=False) for _ in range(3)]
    return [RequestReader(head_max, body_max, old_ends=bool(flags & 4)) for _ in range(3)]


def told(reader: RequestReader, portions: list[bytes], *, end: bool = False) -> tuple[list[HttpRequest], bool, State]:
    """What came of it; not by which of two rules a request was refused that breaks both."""
    requests, refused, state = outcome(reader, portions, end=end)
    return requests, bool(refused), state


def check(data: bytes) -> None:
    flags, cuts, data = data[:1], data[1:2], data[2:]
    count = min((cuts or b"\0")[0], CUTS_MAX)
    places = [int.from_bytes(data[2 * i : 2 * i + 2], "little") for i in range(count)]
    data = data[2 * count :]
    whole, cut, bytes_ = readers((flags or b"\0")[0])
    expected = told(whole, [data])
    text = whole.text
    assert told(cut, split_at(data, places)) == expected
    assert cut.text == text or expected[1]
    if len(data) <= BYTEWISE_MAX:
        assert told(bytes_, bytewise(data)) == expected
    if expected[2] is State.START and not expected[1]:  # in sync: the next request is whole and alone
        requests = whole.feed(NEXT)
        assert whole.error is None
        if whole.until_end:
            assert (requests, whole.state) == ([], State.UNTIL_END)
            assert whole.head().target == b"/next"
        else:
            assert [request.target for request in requests] == [b"/next"]
    elif expected[2] is State.CLOSED:
        assert told(whole, [NEXT])[0] == []
    assert told(cut, [], end=True) == told(bytes_, [], end=True) or len(data) > BYTEWISE_MAX
