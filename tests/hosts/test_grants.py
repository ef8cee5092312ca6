"""Who may listen, under every server, and by what an application says itself (protocol page, part 12)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from rplx.client import grants
from tests.hosts.http import send
from tests.hosts.servers import HOOKS, Server, gunicorn, pywsgi
from tests.hosts.test_websocket import opened
from tests.lines.wire import Conversation, http

KEY = "0123456789abcdef0123456789abcdef"
RULES = '[[channels]]\nprefix = "u_"\naccess = "grant"\n'
ACCEPT = "Accept: text/event-stream"
MIDDLEWARE = """
from gevent import monkey; monkey.patch_all()
from gevent.pywsgi import WSGIServer
from rplx import runtime
from rplx.wsgi import RealplexorMiddleware
def may_listen(environ, ids):
    print("asked", *ids, flush=True)
    if environ.get("HTTP_X_USER") == "broken":
        raise LookupError("no such session")
    return [id for id in ids if id.startswith(environ.get("HTTP_X_USER", "nobody"))]
application = RealplexorMiddleware(lambda environ, start: [b""], "/rpl", may_listen=may_listen)
runtime.serve().start_in()
server = WSGIServer(("127.0.0.1", 0), application, log=None)
server.start()
print(f"WAIT: listening 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


def grant(*channels: str, ends: float = 600.0) -> str:
    return grants.grant("42", channels, seconds=1000, key=KEY, kid="a", now=time.time() + ends - 1000)


@pytest.fixture(scope="module", params=["gunicorn", "pywsgi"])
def ruled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("grants") / "rplx.toml"
    path.write_text(RULES)
    options = {"RPLX_CONFIG": str(path), "RPLX_GRANTS_KEYS": "a=env:RPLX_GRANT_KEY", "RPLX_GRANT_KEY": KEY}
    started = gunicorn(*HOOKS, options=options) if request.param == "gunicorn" else pywsgi(options)
    with started as server:
        yield server
        assert "eyJ" not in "\n".join(server.log)


@pytest.fixture(scope="module")
def asking() -> Iterator[Server]:
    with Server([sys.executable, "-c", MIDDLEWARE], {"RPLX_GRANTS_REMEMBER": "6"}) as server:
        yield server


def asked(server: Server, target: str, *lines: str) -> Conversation:
    assert server.wait is not None
    return Conversation(server.wait, http("\n".join([f"GET {target} HTTP/1.1\nHost: h", *lines])))


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def test_polls(ruled: Server) -> None:
    send(ruled.in_, "1:u_poll", b"1")
    head, body = asked(ruled, "/?identifier=0:u_poll,u_x", bearer(grant("u_poll"))).answer()
    assert b"\r\nX-Realplexor-Refused: u_x\r\n" in head
    assert b"\r\nX-Realplexor-Grant-TTL: 59" in head
    assert b'"data": 1' in body
    head, _ = asked(ruled, "/?identifier=0:u_poll").answer()
    assert head.startswith(b"HTTP/1.1 403 ")
    head, _ = asked(ruled, "/?identifier=a", bearer(grant("a", ends=-6))).answer()
    assert head.startswith(b"HTTP/1.1 401 Unauthorized")
    assert b'\r\nWWW-Authenticate: Bearer error="invalid_token"\r\n' in head
    assert b"\r\nX-Realplexor-Cursor: " in head
    _, body = asked(ruled, "/?identifier=u_late", bearer(grant("u_late", ends=2))).answer()
    assert body == b" \r\n"


def test_streams(ruled: Server) -> None:
    stream = asked(ruled, "/?identifier=u_stream,u_x", ACCEPT, bearer(grant("u_stream", ends=4)))
    stream.until(b'event: refused\ndata: {"ids":["u_x"]}\n\n')
    stream.until(b"event: expires\n")
    send(ruled.in_, "u_stream", b"7")
    stream.until(b'"data":7}\n\n')
    stream.until(b"event: bye\n")


def test_sockets(ruled: Server) -> None:
    socket = opened(ruled, "/?identifier=u_socket")
    assert socket.heard() == {"refused": ["u_socket"]}
    socket.say({"listen": {"u_socket": None}, "grant": grant("u_*", ends=3)})
    socket.open()
    assert "expires" in socket.heard()
    send(ruled.in_, "u_socket", b"7")
    assert socket.message() == 7
    code, reason = socket.closed()
    assert (code, reason["code"]) == (4109, "grant_ended")


def test_an_application_says_who_may_listen(asking: Server) -> None:
    send(asking.in_, "1:ann_1,1:bob_1", b"1")
    head, body = asked(asking, "/rpl?identifier=0:ann_1,0:bob_1", "X-User: ann").answer()
    assert b"\r\nX-Realplexor-Refused: bob_1\r\n" in head
    assert b'"ids": { "ann_1": "1" }' in body
    head, _ = asked(asking, "/rpl?identifier=0:ann_1", bearer(grant("ann_1"))).answer()
    assert head.startswith(b"HTTP/1.1 403 ")
    before = sum(line.startswith("asked") for line in asking.log)
    stream = asked(asking, "/rpl?identifier=ann_1", "X-User: ann", ACCEPT)
    stream.until(b"event: expires\n")
    stream.until(b"event: bye\n")
    assert sum(line.startswith("asked") for line in asking.log) == before + 1
    socket = opened(asking, "/rpl?identifier=ann_1", "X-User: ann")
    socket.open()
    assert "expires" in socket.heard()
    socket.say({"listen": {"bob_1": None}})
    socket.open()
    assert socket.heard() == {"refused": ["bob_1"]}


def test_what_an_application_raises_refuses_and_is_logged(asking: Server) -> None:
    head, _ = asked(asking, "/rpl?identifier=ann_1", "X-User: broken").answer()
    assert head.startswith(b"HTTP/1.1 403 ")
    asking.wait_for("LookupError in may_listen: no such session")
