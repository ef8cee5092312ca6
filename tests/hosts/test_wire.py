"""The WAIT line over HTTP is the same in every server that it runs in: the standalone one, gunicorn, gevent.pywsgi.

What differs is of the server in front: Date, Server, Connection, and how the end of a body is told.
"""

from __future__ import annotations

import re
import time

import pytest

from tests.hosts.http import Answer, Client, ask, eventually, get, messages, online, send
from tests.hosts.servers import Server
from tests.lines.test_poll import HISTORY, LIVE, NOTHING, Sent
from tests.lines.wire import own
from tests.waiting import once_below

OF_THE_SERVER = {"date", "server", "connection", "transfer-encoding", "keep-alive"}
POLL_HEADERS = {
    "cache-control": "no-store, no-cache, must-revalidate, no-transform",
    "x-accel-buffering": "no",
    "expires": "Mon, 26 Jul 1997 05:00:00 GMT",
    "content-type": "text/javascript; charset=utf-8",
    "x-content-type-options": "nosniff",
    "vary": "Origin",
}
OLD_POLL_HEADERS = {
    name: value.removesuffix(", no-transform") for name, value in POLL_HEADERS.items() if name != "x-accel-buffering"
}
CLOSE = "Connection: close"
UNTOUCHED = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}
KINDS = {  # what the request says, and whether its answer comes in one piece
    "kept": (("1.1", ()), True),
    "close": (("1.1", (CLOSE,)), False),
    "HTTP/1.0": (("1.0", ()), False),
    "HTTP/1.0 keep-alive": (("1.0", ("Connection: keep-alive",)), False),
}


def poll(ids: str, kind: str = "kept") -> bytes:
    version, headers = KINDS[kind][0]
    return get(f"/?identifier={ids}", *headers, version=version)


def ours(answer: Answer) -> dict[str, str]:
    """The headers that the application gives; the length of a body counts only where it says where the body ends."""
    return {name: value for name, value in answer.headers.items() if name not in OF_THE_SERVER}


def check_poll(answer: Answer, body: bytes, kind: str) -> None:
    headers = ours(answer)
    assert answer.status == "200 OK"
    assert re.fullmatch(r"\d{5,}\.\d{2,}", headers.pop("x-realplexor-cursor"))
    headers.pop("x-realplexor-gap", None)
    length = headers.pop("content-length", None)
    if KINDS[kind][1]:
        assert length == str(len(body))
    assert headers == (OLD_POLL_HEADERS if kind.startswith("HTTP/1.0") else POLL_HEADERS)
    assert answer.body == body


def listen(server: Server, ids: str, kind: str = "close") -> Client:
    """A listener that is registered when this returns."""
    count = sum(online(server.in_).get(id.lstrip("*").rpartition(":")[2], 0) for id in ids.split(","))
    client = Client(server.wait, poll(ids, kind))
    names = {id.lstrip("*").rpartition(":")[2] for id in ids.split(",")}
    eventually(lambda: sum(online(server.in_).get(name, 0) for name in names) > count)
    return client


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sent", "asked", "body"), [row[1:] for row in HISTORY], ids=[row[0] for row in HISTORY])
def test_history(server: Server, prefix: str, sent: Sent, asked: str, body: bytes, kind: str) -> None:
    for ids, message in sent:
        send(server.in_, ids.replace("~", prefix), message.encode())
    answer = ask(server.wait, poll(asked.replace("~", prefix), kind))
    check_poll(answer, b" \r\n" + own(body, prefix), kind)


@pytest.mark.parametrize(("sent", "asked"), [row[1:] for row in NOTHING], ids=[row[0] for row in NOTHING])
def test_nothing_due(server: Server, prefix: str, sent: Sent, asked: str) -> None:
    for ids, message in sent:
        send(server.in_, ids.replace("~", prefix), message.encode())
    answer = ask(server.wait, get(f"/?identifier={asked.replace('~', prefix)}&position=1"))
    check_poll(answer, b" \r\n", "kept")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("waiting", "ids", "message", "body"), [row[1:] for row in LIVE], ids=[row[0] for row in LIVE])
def test_live(server: Server, prefix: str, waiting: str, ids: str, message: str, body: bytes, kind: str) -> None:
    client = listen(server, waiting.replace("~", prefix), kind)
    send(server.in_, ids.replace("~", prefix), message.encode())
    check_poll(client.read(), b" \r\n" + own(body, prefix), kind)
    client.close()


@pytest.mark.parametrize("kind", ["close", "HTTP/1.0", "HTTP/1.0 keep-alive"])
def test_the_head_comes_before_any_message_and_the_end_behind_it(server: Server, prefix: str, kind: str) -> None:
    client = Client(server.wait, poll(f"{prefix}a", kind))
    client.read_until(b" \r\n")
    send(server.in_, f"{prefix}a", b'"late"')
    assert messages(client.read().body) == ["late"]
    assert client.ended()


def test_nothing_for_the_timeout(server: Server, prefix: str) -> None:
    def wait() -> float:
        begin = time.monotonic()
        clients = {kind: Client(server.wait, poll(f"{prefix}a&timeout=1.5", kind)) for kind in KINDS}
        for kind, client in clients.items():
            check_poll(client.read(), b" \r\n", kind)
        return time.monotonic() - begin

    took: list[float] = []
    once_below(5, lambda: took.append(wait()) or took[-1])
    assert min(took) >= 1.5


def test_many_polls_on_one_connection(server: Server, prefix: str) -> None:
    client = Client(server.wait)
    cursor = "1"
    for number in range(5):
        client.send(poll(f"{cursor}:{prefix}a"))
        cursor = send(server.in_, f"{prefix}a", b"%d" % number)[f"{prefix}a"]
        assert messages(client.read().body) == [number]


def test_polls_sent_ahead(server: Server, prefix: str) -> None:
    client = Client(server.wait, poll(f"{prefix}a") + poll(f"{prefix}b"))
    eventually(lambda: online(server.in_).get(f"{prefix}a") == 1)
    send(server.in_, f"{prefix}a", b'"first"')
    assert messages(client.read().body) == ["first"]
    eventually(lambda: online(server.in_).get(f"{prefix}b") == 1)
    send(server.in_, f"{prefix}b", b'"second"')
    assert messages(client.read().body) == ["second"]


def test_whatever_else_it_sends_is_ignored(server: Server, prefix: str) -> None:
    client = listen(server, f"{prefix}a")
    for _ in range(3):
        client.send(b"\0\xffGET / HTTP/1.1\r\n\r\n")
        time.sleep(0.05)
    send(server.in_, f"{prefix}a", b'"whole"')
    assert messages(client.read().body) == ["whole"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hang_up_is_noticed_at_once(server: Server, prefix: str, kind: str) -> None:
    stays = listen(server, f"{prefix}a", kind)

    def hang_up() -> float:
        gone = listen(server, f"{prefix}a", kind)
        begin = time.monotonic()
        gone.close()
        eventually(lambda: online(server.in_).get(f"{prefix}a") == 1)
        return time.monotonic() - begin

    once_below(0.5, hang_up)
    send(server.in_, f"{prefix}a", b'"for who stayed"')
    assert messages(stays.read().body) == ["for who stayed"]


def test_a_hang_up_behind_a_request_sent_ahead(server: Server, prefix: str) -> None:
    client = listen(server, f"{prefix}a", "kept")
    client.send(poll(f"{prefix}b"))
    client.close()
    eventually(lambda: online(server.in_).get(f"{prefix}a", 0) == 0)


def post(body: bytes, *headers: str, target: str = "/") -> bytes:
    head = [f"POST {target} HTTP/1.1", "Host: localhost", CLOSE, *headers, "", ""]
    return "\r\n".join(head).encode() + body


MARKERS = [
    ("post", post(b"identifier=1:~a\n", "Content-Length: {}")),
    ("post, chunked", post(b"b\r\nidentifier=\r\n4\r\n1:~a\r\n0\r\n\r\n", "Transfer-Encoding: chunked")),
    ("post, marker in the target", post(b"", "Content-Length: 0", target="/?=identifier=1:~a")),
    ("post, marker in the target, body unread", post(b"x" * 100, "Content-Length: {}", target="/?identifier=1:~a")),
    ("the old clients' targets", get("/?1234?identifier=1:~a", CLOSE)),
    ("percent-decoded", get("/?identifier=1%3A~a%2C1%3a~b", CLOSE)),
    ("behind others", get("/?x=1&identifier=1:~a&ncrnd=123", CLOSE)),
    ("not in Referer", get("/?identifier=1:~a", "Referer: http://localhost/?identifier=IFRAME", CLOSE)),
]


@pytest.mark.parametrize("request_", [row[1] for row in MARKERS], ids=[row[0] for row in MARKERS])
def test_where_the_marker_counts(server: Server, prefix: str, request_: bytes) -> None:
    send(server.in_, f"5:{prefix}a", b'"here"')
    if b"chunked" in request_:
        request_ = request_.replace(b"4\r\n1:~a\r\n", b"%x\r\n1:%ba\r\n" % (3 + len(prefix), prefix.encode()))
    request_ = own(request_, prefix)
    request_ = request_.replace(b"{}", b"%d" % len(request_.partition(b"\r\n\r\n")[2]))
    answer = ask(server.wait, request_)
    body = f' \r\n[\n  {{\n    "ids": {{ "{prefix}a": "5" }},\n    "data": "here"\n  }}\n]'
    check_poll(answer, body.encode(), "close")


EMPTY = (
    "Empty identifier passed; listen with ?identifier=CHANNEL, and load the script of a page from ?identifier=SCRIPT"
)
REFUSALS = [
    ("no channel", get("/?identifier="), "400 Bad Request", EMPTY),
    ("no marker", get("/"), "400 Bad Request", EMPTY),
    ("marker in Cookie alone", get("/", "Cookie: identifier=abc"), "400 Bad Request", EMPTY),
    ("another path", get("/favicon.ico"), "404 Not Found", "nothing is served at this path"),
    ("PUT", get("/?identifier=abc").replace(b"GET", b"PUT"), "405 Method Not Allowed",
     "PUT is not served here; use GET or POST"),
    ("foreign preflight", get("/", "Origin: https://evil.example", "Access-Control-Request-Method: GET").replace(
        b"GET / ", b"OPTIONS / "), "403 Forbidden", "this origin is not among wait.allowed_origins"),
    ("long body", post(b"x" * 6001, "Content-Length: 6001"), "413 Content Too Large", "body longer than 6000 bytes (wait.body_max)"),  # noqa: E501
    ("long id", get("/?identifier=" + "a" * 129), "400 Bad Request", "a channel id is longer than 128 characters (wait.id_max)"),  # noqa: E501
    ("many ids", get("/?identifier=" + ",".join(f"a{n}" for n in range(501))), "413 Content Too Large",
     "more than 500 channels in one list (wait.max_ids)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "status", "text"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_refusals(server: Server, request_: bytes, status: str, text: str) -> None:
    answer = ask(server.wait, request_)
    assert (answer.status, answer.body.decode()) == (status, f"{text}\n")
    headers = ours(answer)
    for name in ("x-content-type-options", "vary"):
        headers.pop(name, None)  # not where the standalone server refuses by itself
    expected = {"content-type": "text/plain", "content-length": str(len(text) + 1), **UNTOUCHED}
    if status.startswith("405"):
        expected["allow"] = "GET, POST"
    assert headers == expected


def test_head_of_a_poll_is_refused(server: Server) -> None:
    answer = ask(server.wait, get("/?identifier=abc").replace(b"GET", b"HEAD"), head_only=True)
    assert answer.status == "405 Method Not Allowed"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("target", ["/?identifier=IFRAME", "/?identifier=SCRIPT", "/", "/none", "/health"])
def test_the_answer_to_head_is_the_head_of_what_get_gives(server: Server, target: str, version: str) -> None:
    request = get(target, CLOSE, version=version)
    full = ask(server.wait, request)
    client = Client(server.wait, request.replace(b"GET", b"HEAD", 1))
    answer = client.read(head_only=True)
    assert answer.status == full.status
    assert ours(answer) == ours(full) | {"content-length": str(len(full.body))}
    assert client.ended(), client.pending


def test_a_post_without_a_length(server: Server) -> None:
    answer = ask(server.wait, post(b""))
    assert (answer.status, answer.body) == ("411 Length Required", b"a POST needs a Content-Length\n")


def test_a_body_cut_short(server: Server) -> None:
    client = Client(server.wait, post(b"identifier=abc", "Content-Length: 100"))
    client.end()
    try:
        answer = client.read()
    except AssertionError:  # the standalone server has nobody left to tell
        assert client.pending == b""
    else:
        assert (answer.status, answer.body) == ("400 Bad Request", b"the request was cut short\n")


@pytest.mark.parametrize(("id", "kind"), [("IFRAME", "text/html"), ("SCRIPT", "text/javascript")])
def test_pages(server: Server, id: str, kind: str) -> None:
    answer = ask(server.wait, get(f"/?identifier={id}&HOST=h"))
    assert answer.status == "200 OK"
    headers = ours(answer)
    assert headers["content-type"] == f"{kind}; charset=utf-8"
    old = ours(ask(server.wait, get(f"/?identifier={id}", version="1.0")))
    assert (old["expires"], old["cache-control"]) == ("Wed, 08 Jul 2037 22:53:52 GMT", "public")
    assert int(headers["content-length"]) == len(answer.body) > 500
    if id == "IFRAME":
        assert headers == {**old, "content-length": headers["content-length"]}
        known = f"If-Modified-Since: {headers['last-modified']}"
    else:
        assert (headers["cache-control"], headers.get("expires")) == ("public, max-age=3600", None)
        known = f"If-None-Match: {headers['etag']}"
    same = ask(server.wait, get(f"/?identifier={id}", known))
    assert (same.status, same.body) == ("304 Not Modified", b"")
    head = ask(server.wait, get(f"/?identifier={id}").replace(b"GET", b"HEAD"), head_only=True)
    assert (head.status, head.headers["content-length"]) == ("200 OK", headers["content-length"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("target", ["/health", "/health?identifier=quiet_probe"])
def test_health(server: Server, method: str, target: str) -> None:
    """Part 9.5."""
    answer = ask(server.wait, get(target).replace(b"GET", method.encode()), head_only=method == "HEAD")
    assert answer.status == "200 OK"
    assert answer.body == (b"" if method == "HEAD" else b"ok\n")
    assert ours(answer) == {
        "content-type": "text/plain",
        "content-length": "3",
        **UNTOUCHED,
        "x-content-type-options": "nosniff",
        "x-realplexor-client": "peer",
    }
    assert "quiet_probe" not in online(server.in_)


def test_options_of_a_load_balancer(server: Server) -> None:
    answer = ask(server.wait, get("/").replace(b"GET", b"OPTIONS"))
    assert (answer.status, answer.body) == ("200 OK", b"")
    assert ours(answer) == {"allow": "GET, POST, OPTIONS", "content-type": "text/plain", "content-length": "0"}


def test_a_preflight(server: Server) -> None:
    request = get("/", "Origin: https://example.com", "Access-Control-Request-Method: POST").replace(b"GET", b"OPTIONS")
    answer = ask(server.wait, request)
    assert answer.status == "204 No Content"
    assert answer.headers["access-control-allow-origin"] == "https://example.com"


def test_an_allowed_origin(server: Server, prefix: str) -> None:
    send(server.in_, f"{prefix}a", b"1")
    answer = ask(server.wait, get(f"/?identifier=1:{prefix}a", "Origin: https://example.com"))
    assert answer.headers["access-control-allow-origin"] == "https://example.com"
    assert messages(answer.body) == [1]


def test_offline_in_its_time(server: Server, prefix: str) -> None:
    listen(server, f"{prefix}a").close()
    eventually(lambda: f"{prefix}a" not in online(server.in_))


def test_a_crowd(server: Server, prefix: str) -> None:
    clients = [Client(server.wait, poll(f"{prefix}a", kind)) for kind in KINDS for _ in range(100)]
    eventually(lambda: online(server.in_).get(f"{prefix}a") == len(clients))
    send(server.in_, f"{prefix}a", b'"for all"')
    assert all(messages(client.read().body) == ["for all"] for client in clients)
    eventually(lambda: online(server.in_).get(f"{prefix}a", 0) == 0)


DIFFERS = {  # of a poll by HTTP/1.1 that closes, and of one by HTTP/1.0: the version answered, the server's own headers
    "rplx": [(b"HTTP/1.1", {"connection"}), (b"HTTP/1.1", {"connection"})],
    "gunicorn": [
        (b"HTTP/1.1", {"connection", "date", "server", "transfer-encoding"}),
        (b"HTTP/1.0", {"connection", "date", "server"}),
    ],
    "pywsgi": [(b"HTTP/1.1", {"connection", "date", "transfer-encoding"}), (b"HTTP/1.1", {"connection", "date"})],
}


def test_what_differs(server: Server, prefix: str, request: pytest.FixtureRequest) -> None:
    for kind, (version, names) in zip(
        ("close", "HTTP/1.0"), DIFFERS[request.node.callspec.params["server"]], strict=True
    ):
        client = Client(server.wait, poll(f"{prefix}a", kind))
        assert client.read_until(b"\r\n\r\n").startswith(version)
        send(server.in_, f"{prefix}a", b"1")
        answer = client.read()
        assert answer.headers.keys() - ours(answer).keys() == names
        assert answer.headers["connection"] == "close"
