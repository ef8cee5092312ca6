"""Bytes of one connection -> requests: each case whole, byte by byte, cut anywhere, and with bytes behind it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.errors import BadRequest, HeadTooLarge, TooLarge
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.request_reader import RequestReader, State
from tests.protocol.feeding import bytewise, outcome, split_at

HOST = b"Host: h\r\n"

# name, bytes, (method, target, version, body, keep_alive)
WHOLE = [
    ("get", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", ("GET", b"/", "1.1", b"", True)),
    ("marker", b"GET /?identifier=5:a HTTP/1.1\r\n" + HOST + b"\r\n", ("GET", b"/?identifier=5:a", "1.1", b"", True)),
    ("1.0", b"GET / HTTP/1.0\r\n\r\n", ("GET", b"/", "1.0", b"", False)),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", ("GET", b"/", "1.1", b"", False)),
    ("blanks behind a host", b"GET / HTTP/1.1\r\nHost: h \t \r\n\r\n", ("GET", b"/", "1.1", b"", True)),
    ("1.0 asks to stay", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", ("GET", b"/", "1.0", b"", False)),
    ("close", b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", ("GET", b"/", "1.1", b"", False)),
    ("Close", b"GET / HTTP/1.1\r\nHost: h\r\nCONNECTION: x, Close\r\n\r\n", ("GET", b"/", "1.1", b"", False)),
    ("line feeds", b"GET / HTTP/1.1\nHost: h\n\n", ("GET", b"/", "1.1", b"", True)),
    ("mixed ends", b"GET / HTTP/1.1\r\nHost: h\n\r\n", ("GET", b"/", "1.1", b"", True)),
    ("blank lines before", b"\r\n\r\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", ("GET", b"/", "1.1", b"", True)),
    (
        "length",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab\r\nc",
        ("POST", b"/", "1.1", b"ab\r\nc", True),
    ),
    ("length 0", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", ("POST", b"/", "1.1", b"", True)),
    ("1.0 length", b"POST / HTTP/1.0\r\nContent-length: 2\r\n\r\n{}", ("POST", b"/", "1.0", b"{}", False)),
    (
        "chunked",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ("POST", b"/", "1.1", b"\r\nabc", True),
    ),
    (
        "trailers",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
        ("POST", b"/", "1.1", b"a", True),
    ),
    (
        "absolute form",
        b"GET http://h/?identifier=a HTTP/1.1\r\nHost: h\r\n\r\n",
        ("GET", b"http://h/?identifier=a", "1.1", b"", True),
    ),
    (
        "upgrade is not taken",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ("GET", b"/", "1.1", b"", True),
    ),
    ("long token method", b"OPTIONS /x HTTP/1.1\r\nHost: h\r\n\r\n", ("OPTIONS", b"/x", "1.1", b"", True)),
]


def reader(**options: bool) -> RequestReader:
    return RequestReader(512, 256, **options)


def essence(request: HttpRequest) -> tuple[str, bytes, str, bytes, bool]:
    return request.method, request.target, request.version, request.body, request.keep_alive


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in WHOLE], ids=[case[0] for case in WHOLE])
def test_a_whole_request(data: bytes, expected: tuple[str, bytes, str, bytes, bool]) -> None:
    whole, refused, state = outcome(reader(), [data])
    assert not refused
    assert [essence(request) for request in whole] == [expected]
    assert state is (State.START if expected[4] else State.CLOSED)
    assert outcome(reader(), bytewise(data)) == (whole, "", state)


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in WHOLE], ids=[case[0] for case in WHOLE])
def test_with_bytes_behind_it(data: bytes, expected: tuple[str, bytes, str, bytes, bool]) -> None:
    """A kept connection goes on with its next request; behind one that closes nothing counts."""
    behind = b"POST /next HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nz"
    for portions in ([data + behind], [data, behind], bytewise(data + behind)):
        requests, refused, _ = outcome(reader(), portions)
        assert not refused
        assert essence(requests[0]) == expected
        assert [request.body for request in requests[1:]] == ([b"z"] if expected[4] else [])


@pytest.mark.parametrize("data", [case[1] for case in WHOLE], ids=[case[0] for case in WHOLE])
def test_less_than_the_whole_is_no_request(data: bytes) -> None:
    for length in range(len(data)):
        requests, refused, _ = outcome(reader(), [data[:length]])
        assert (requests, refused) == ([], "")


@given(
    st.lists(st.integers(1, 1200), max_size=12), st.lists(st.sampled_from(range(len(WHOLE))), min_size=1, max_size=6)
)
def test_cut_anywhere_gives_the_same(places: list[int], cases: list[int]) -> None:
    data = b"".join(WHOLE[case][1] for case in cases)
    assert outcome(reader(), split_at(data, places)) == outcome(reader(), [data])


@given(st.binary(max_size=300), st.lists(st.integers(1, 300), max_size=8))
def test_whatever_comes_breaks_nothing(data: bytes, places: list[int]) -> None:
    whole = outcome(reader(until_end=True), [data], end=True)
    assert outcome(reader(until_end=True), split_at(data, places), end=True) == whole


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("Connection: Upgrade\r\nUpgrade: websocket", [b"websocket"]),
        ("connection: keep-alive, upgrade\r\nUPGRADE:\tWebSocket ", [b"WebSocket"]),
        ("Upgrade: h2c\r\nConnection: Upgrade\r\nUpgrade: websocket", [b"h2c", b"websocket"]),
        ("Upgrade: websocket", [b"websocket"]),
        ("Connection: Upgrade\r\nX-Upgrade: websocket", []),
        ("Connection: Upgrade\r\nX-Upgrade: websocket\r\nUpgrade: h2c", [b"h2c"]),
    ],
)
def test_an_upgrade_is_found_as_it_came(lines: str, found: list[bytes]) -> None:
    """A header that only looks like it asks for nothing: a proxy that takes Upgrade off hands others on."""
    data = b"GET / HTTP/1.1\r\nHost: h\r\n%b\r\nX-Last: 1\r\n\r\n" % lines.encode()
    for portions in ([data], bytewise(data), [data[:40], data[40:]]):
        (request,), refused, _ = outcome(reader(), portions)
        assert not refused
        assert [value for name, value in request.headers if name == b"upgrade"] == found
        assert request.header(b"x-last") == b"1"


REFUSED = [
    ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", BadRequest),
    ("0.9 in 1.x clothes", b"GET / HTTP/0.9\r\n\r\n", BadRequest),
    ("2.0", b"PRI * HTTP/2.0\r\n\r\n", BadRequest),
    ("two lengths", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", BadRequest),
    (
        "length and chunked",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        BadRequest,
    ),
    ("signed length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", BadRequest),
    ("length of letters", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", BadRequest),
    ("1.0 chunked", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BadRequest),
    ("bad chunk", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BadRequest),
    ("header without colon", b"GET / HTTP/1.1\r\nHost: h\r\nnonsense\r\n\r\n", BadRequest),
    ("space before colon", b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", BadRequest),
    ("a method that begins with a digit", b"0GET / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
    ("a lower-case method", b"get / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
    ("a wrong host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BadRequest),
    ("empty length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", BadRequest),
    ("connect", b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
    ("long head", b"GET /" + b"x" * 600 + b" HTTP/1.1\r\nHost: h\r\n\r\n", HeadTooLarge),
    ("long body", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 257\r\n\r\n", TooLarge),
    ("long chunk", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n101\r\n" + b"x" * 257, TooLarge),
]


@pytest.mark.parametrize(("data", "error"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_refused_request(data: bytes, error: type[Exception]) -> None:
    _, whole, _ = outcome(reader(), [data])
    assert whole.startswith(f"{error.__name__}: ")
    _, pieces, _ = outcome(reader(), bytewise(data))
    assert pieces.startswith(f"{error.__name__}: ")


@given(
    st.lists(st.integers(1, 1500), max_size=12),
    st.lists(st.sampled_from([case[1] for case in WHOLE if case[2][4]]), max_size=4),
    st.sampled_from(REFUSED),
)
def test_those_before_a_refused_one_are_served(places: list[int], before: list[bytes], refused: tuple) -> None:
    data = b"".join(before) + refused[1]
    requests, text, state = outcome(reader(), split_at(data, places))
    assert len(requests) == len(before)
    assert text.startswith(f"{refused[2].__name__}: ")
    assert state is State.CLOSED


class TestLimits:
    def test_a_head_of_exactly_head_max_bytes(self) -> None:
        start, end = b"GET /", b" HTTP/1.1\r\nHost: h\r\n\r\n"
        fits = start + b"x" * (512 - len(start + end)) + end
        assert len(outcome(reader(), [fits])[0]) == 1
        one_more = fits.replace(b"/x", b"/xx")
        assert outcome(reader(), [one_more])[1] == "HeadTooLarge: request head longer than 512 bytes (wait.head_max)"
        assert (
            outcome(reader(), bytewise(one_more))[1]
            == "HeadTooLarge: request head longer than 512 bytes (wait.head_max)"
        )

    def test_a_first_line_too_long_that_only_begins_like_http(self) -> None:
        line = b"POST / HTTP?" + b"x" * 512 + b"\n"
        for portions in ([line], bytewise(line)):
            assert outcome(reader(), portions)[1] == "HeadTooLarge: request head longer than 512 bytes (wait.head_max)"
        text = line[:512] + b"\n"
        assert outcome(reader(), [text]) == outcome(reader(), bytewise(text)) == ([], "", State.TEXT)

    @pytest.mark.parametrize("frame", ["length", "chunked", "until the end"])
    def test_a_body_of_exactly_body_max_bytes(self, frame: str) -> None:
        def request(size: int) -> bytes:
            head = {"length": b"Content-Length: %d\r\n" % size, "chunked": b"Transfer-Encoding: chunked\r\n"}
            body = b"x" * size
            if frame == "chunked":
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
            return b"POST / HTTP/1.1\r\nHost: h\r\n" + head.get(frame, b"") + b"\r\n" + body

        fits, refused, _ = outcome(reader(until_end=True), [request(256)], end=True)
        assert (len(fits), refused) == (1, "")
        assert outcome(reader(until_end=True), [request(257)], end=True)[:2] == (
            [],
            "TooLarge: body longer than 256 bytes (wait.body_max)",
        )


class TestEnd:
    """Where the client's sending half ends."""

    def test_a_body_without_length_ends_there(self) -> None:
        for portions in (
            [b"POST / HTTP/1.1\r\nHost: h\r\n\r\n", b"a\r\n", b"\r\nb"],
            [b"POST / HTTP/1.1\nHost: h\n\na\r\n\r\nb"],
        ):
            requests, refused, state = outcome(reader(until_end=True), portions, end=True)
            assert ([essence(request) for request in requests], refused) == (
                [("POST", b"/", "1.1", b"a\r\n\r\nb", False)],
                "",
            )
            assert state is State.CLOSED

    def test_an_empty_content_length_counts_as_none(self) -> None:
        for length in (b"Content-Length:", b"Content-Length: ", b"content-LENGTH:\t"):
            head = b"POST / HTTP/1.1\r\nHOST: h\r\n" + length + b"\r\nX-Realplexor: identifier=a\r\n\r\n"
            for portions in ([head + b"{}"], bytewise(head + b"{}")):
                requests, refused, _ = outcome(reader(until_end=True), portions, end=True)
                assert ([request.body for request in requests], refused) == ([b"{}"], "")
                assert requests[0].header(b"x-realplexor") == b"identifier=a"

    @pytest.mark.parametrize("rest", [b"", b"a", b"ab"])
    def test_a_body_cut_short_is_refused_whole(self, rest: bytes) -> None:
        data = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n" + rest
        assert outcome(reader(until_end=True), [data], end=True)[:2] == ([], "BadRequest: the request was cut short")

    def test_a_head_cut_short_is_refused(self) -> None:
        assert outcome(reader(), [b"GET / HTTP/1.1\r\nHost: h\r\n"], end=True)[:2] == (
            [],
            "BadRequest: the request was cut short",
        )

    @pytest.mark.parametrize("data", [b"", b"\r\n", b"\n\n"])
    def test_nothing_is_no_error(self, data: bytes) -> None:
        assert outcome(reader(), [data], end=True)[:2] == ([], "")


class TestPlainText:
    """What has no HTTP request line is plain text, kept as it came."""

    @pytest.mark.parametrize(
        "data",
        [
            b"identifier=abc\n",
            b"online \r\n\r\n",
            b"ONLINE a b",
            b"WATCH",
            b"Watch 5",
            b"X-Realplexor: identifier=abc\n\n{}",
            b"POST\n\nx",
            b"GET / HTTP",
            b"\x00\xff",
            b"{}",
        ],
    )
    def test_text(self, data: bytes) -> None:
        for portions in ([data], bytewise(data), [data[:1], data[1:]]):
            fed = reader(until_end=True)
            assert outcome(fed, portions, end=True) == ([], "", State.TEXT)
            assert fed.text == data

    def test_blank_lines_before_it_are_skipped(self) -> None:
        fed = reader()
        assert outcome(fed, [b"\r\n\r\nidentifier=abc\n"]) == ([], "", State.TEXT)
        assert fed.text == b"identifier=abc\n"


def test_a_reader_serves_the_next_connection_after_reset() -> None:
    fed = reader()
    assert len(outcome(fed, [b"GET /1 HTTP/1.0\r\n\r\n"])[0]) == 1
    fed.reset()
    requests, refused, _ = outcome(fed, [b"GET /2 HTTP/1.0\r\n\r\n"])
    assert ([request.target for request in requests], refused) == ([b"/2"], "")


def test_without_host_the_connection_ends_where_one_is_needed() -> None:
    data = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    assert [request.keep_alive for request in outcome(reader(), [data])[0]] == [False]
    assert [request.keep_alive for request in outcome(reader(need_host=False), [data])[0]] == [True]


@pytest.mark.parametrize("name", [b"Host", b"Expect", b"X-Realplexor", b"Origin", b"Connection"])
def test_blanks_around_a_value_are_no_part_of_it(name: bytes) -> None:
    data = b"GET / HTTP/1.0\r\n" + name + b": \t a \t \r\n\r\n"
    for portions in ([data], bytewise(data)):
        (request,) = outcome(reader(), portions)[0]
        assert request.header(name.lower()) == b"a"


def test_an_expectation_with_blanks_behind_it() -> None:
    one = reader()
    one.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue \r\n\r\n")
    assert one.expects_continue


class TestOldEnds:
    """How old listeners end their requests."""

    @pytest.mark.parametrize(
        ("data", "target", "body"),
        [
            (b"GET /a HTTP/1.1\r\nHost: h\r\n", b"/a", b""),
            (b"GET /a HTTP/1.1\r\nHost: h\r\nX: cut he", b"/a", b""),
            (b"GET /a HTTP/1.1\nHost: h\n", b"/a", b""),
            (b"GET /a HTTP/1.0\r\n", b"/a", b""),
            (b"POST /a HTTP/1.1\r\nHost: h\r\n\r\nbo\r\n\r\ndy", b"/a", b"bo\r\n\r\ndy"),
            (b"POST /a HTTP/1.1\r\nHost: h\r\n", b"/a", b""),
        ],
    )
    def test_the_end_of_the_connection_ends_head_and_body(self, data: bytes, target: bytes, body: bytes) -> None:
        for portions in ([data], bytewise(data)):
            requests, refused, state = outcome(reader(old_ends=True), portions, end=True)
            assert refused == ""
            assert [(one.target, one.body, one.keep_alive) for one in requests] == [(target, body, False)]
            assert state is State.CLOSED

    def test_a_body_with_a_length_is_cut_short_as_ever(self) -> None:
        data = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
        for portions in ([data], [data + b"\r\nabc"]):
            assert outcome(reader(old_ends=True), portions, end=True)[1] == "BadRequest: the request was cut short"


def test_the_head_alone_of_a_body_without_length() -> None:
    fed = reader(until_end=True)
    fed.feed(b"POST /x HTTP/1.1\r\nX-A: b\r\nHost: h\r\n\r\nbody so far")
    assert fed.state is State.UNTIL_END
    assert (fed.head().target, fed.head().header(b"x-a"), fed.head().body) == (b"/x", b"b", b"")


class TestLinear:
    """What comes byte by byte is not looked at again with each byte."""

    @pytest.mark.parametrize(
        ("begin", "piece"),
        [
            (b"GET /", b"x"),
            (b"GET / HTTP/1.1\r\nX: ", b"x"),
            (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n", b"x"),
            (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            (b"POST / HTTP/1.1\r\nHost: h\r\n\r\n", b"x"),
            (b"plain text\n", b"x"),
        ],
    )
    def test_ten_times_as_much_takes_no_hundred_times_as_long(self, begin: bytes, piece: bytes) -> None:
        def spent(size: int) -> float:
            portions = bytewise((begin + piece * size)[:size])
            best = float("inf")
            for _ in range(3):
                one = RequestReader(1 << 20, 1 << 20, until_end=True)
                start = time.thread_time()
                for portion in portions:
                    one.feed(portion)
                best = min(best, time.thread_time() - start)
                assert one.error is None
            return best

        assert spent(200_000) < 20 * spent(20_000)  # ten times as much; a hundred times were quadratic
