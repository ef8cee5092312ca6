"""The WAIT line inside other people's applications, and publishing from there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import rplx
from rplx.client import ConnectionFailed, InvalidArgument
from rplx.errors import ConfigError
from rplx.wsgi import RealplexorMiddleware
from tests.clients.listeners import awaited, blocking, each_is_heard, php
from tests.hosts.http import Client, ask, eventually, get, messages, online, send
from tests.hosts.servers import HOOKS, LISTENING_AT, ROOT, Server, gunicorn_command, rplx_serve

FLASK = """
from flask import Flask, request
app = Flask(__name__)
@app.post("/say/<channel>")
def say(channel):
    return rplx.publish(channel, request.get_json())
@app.get("/rplx/other")
def other():
    return "the application's own"
app.wsgi_app = RealplexorMiddleware(app.wsgi_app)
"""
DJANGO = """
import json
from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", USE_TZ=True)
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path
def say(request, channel):
    return JsonResponse(rplx.publish(channel, json.loads(request.body)))
def other(request):
    return HttpResponse("the application's own")
urlpatterns = [path("say/<channel>", say), path("rplx/other", other)]
app = RealplexorMiddleware(get_wsgi_application())
"""
BOTTLE = """
import bottle
app = bottle.Bottle()
@app.post("/say/<channel>")
def say(channel):
    return rplx.publish(channel, bottle.request.json)
@app.get("/rplx/other")
def other():
    return "the application's own"
app = RealplexorMiddleware(app)
"""
PYRAMID = """
from pyramid.config import Configurator
from pyramid.response import Response
def say(request):
    return Response(json_body=rplx.publish(request.matchdict["channel"], request.json_body))
def other(request):
    return Response("the application's own")
with Configurator() as config:
    config.add_route("say", "/say/{channel}")
    config.add_route("other", "/rplx/other")
    config.add_view(say, route_name="say")
    config.add_view(other, route_name="other")
    app = RealplexorMiddleware(config.make_wsgi_app())
"""
OLD = """
import json
def old(environ, start_response):
    '''As it was written when PEP 333 was new: by the write callable, with a generator behind it.'''
    write = start_response("200 OK", [("Content-type", "text/plain")])
    if environ["PATH_INFO"].startswith("/say/"):
        data = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        write(json.dumps(rplx.publish(environ["PATH_INFO"][5:], data)).encode())
    else:
        write(b"the application's")
        yield b" own"
class Logged:
    '''Middleware around ours that forgets close().'''
    def __init__(self, app):
        self.app = app
    def __call__(self, environ, start_response):
        for part in self.app(environ, start_response):
            yield part
app = Logged(RealplexorMiddleware(old))
"""
APPLICATIONS = {"flask": FLASK, "django": DJANGO, "bottle": BOTTLE, "pyramid": PYRAMID, "old": OLD}
IMPORTS = "import rplx\nfrom rplx.wsgi import RealplexorMiddleware\n"
PYWSGI = """
from gevent import monkey; monkey.patch_all()
from site_under_test import app
from gevent.pywsgi import WSGIServer
from rplx import runtime
server = WSGIServer(("127.0.0.1", 0), app, log=None)
server.start()
runtime.serve().start_in()
print(f"WAIT: listening 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


@pytest.fixture(
    scope="module", params=[f"{name}-{server}" for name in APPLICATIONS for server in ("gunicorn", "pywsgi")]
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    name, _, server = request.param.partition("-")
    folder = tmp_path_factory.mktemp(name)
    (folder / "site_under_test.py").write_text(IMPORTS + APPLICATIONS[name])
    options = {"RPLX_WAIT_TIMEOUT": "300"}
    if server == "gunicorn":
        child = Server(
            gunicorn_command(*HOOKS, application="site_under_test:app"), options, wait=LISTENING_AT, cwd=folder
        )
    else:
        child = Server([sys.executable, "-c", PYWSGI], options, cwd=folder)
    with child:
        yield child
    assert not [line for line in child.log if "Traceback" in line or "Error" in line], "\n".join(child.log)


def say(server: Server, channel: str, data: object) -> dict[str, str]:
    body = json.dumps(data).encode()
    head = f"POST /say/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = ask(server.wait, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert answer.status == "200 OK", answer
    found: dict[str, str] = json.loads(answer.body)
    return found


@pytest.mark.parametrize("path", ["/rpl", "/rpl/"])
def test_a_poll_gets_what_the_application_publishes(site: Server, path: str, prefix: str) -> None:
    client = Client(site.wait, get(f"{path}?identifier={prefix}a"))
    eventually(lambda: online(site.in_).get(f"{prefix}a") == 1)
    cursor = say(site, f"{prefix}a", {"text": "hé"})[f"{prefix}a"]
    body = f' \r\n[\n  {{\n    "ids": {{ "{prefix}a": "{cursor}" }},\n    "data": {{"text":"hé"}}\n  }}\n]'
    assert client.read().body == body.encode()
    client.close()
    say(site, f"{prefix}a", 2)
    assert messages(ask(site.wait, get(f"{path}?identifier={cursor}:{prefix}a")).body) == [2]


@pytest.mark.parametrize("transport", ["auto", "stream", "poll"])
def test_back_ends_listen_to_it(site: Server, transport: str) -> None:
    assert site.wait
    assert site.in_
    url = "http://{}:{}/rpl/".format(*site.wait)
    with ExitStack() as stack:
        kinds = [blocking, awaited, *([php] if shutil.which("php") else [])]
        each_is_heard(site.in_, [stack.enter_context(kind(url, transport, {})) for kind in kinds])


def test_the_applications_own_pages(site: Server) -> None:
    for path in ("/rplx/other", "/rplx/other?identifier=abc"):
        assert ask(site.wait, get(path)).body == b"the application's own"


def test_back_ends_send_to_it(site: Server) -> None:
    client = Client(site.wait, get("/rpl/?identifier=abc", "Connection: close"))
    client.read_until(b" \r\n")
    send(site.in_, "abc", b'"from outside"')
    assert messages(client.read().body) == ["from outside"]


def test_a_hang_up_is_noticed(site: Server) -> None:
    client = Client(site.wait, get("/rpl?identifier=gone"))
    eventually(lambda: online(site.in_).get("gone") == 1)
    client.close()
    eventually(lambda: online(site.in_).get("gone") == 0)


def test_refusals_and_the_page_for_old_clients(site: Server) -> None:
    assert ask(site.wait, get("/rpl/")).body.startswith(b"Empty identifier passed; listen with ?identifier=CHANNEL")
    assert ask(site.wait, get("/rpl/more")).status == "404 Not Found"
    assert ask(site.wait, get("/rpl/health")).body == b"ok\n"
    page = ask(site.wait, get("/rpl/?identifier=IFRAME"))
    assert page.status == "200 OK"
    assert b'"/rpl/"' in page.body


@pytest.mark.parametrize("path", ["", "/", "rpl"])
def test_wrong_paths(path: str) -> None:
    with pytest.raises(ValueError, match="path must begin with"):
        RealplexorMiddleware(lambda environ, start_response: [], path=path)


async def an_asgi_application(scope: object, receive: object, send: object) -> None:
    """What Starlette's and Django's applications are."""


class AnAsgiApplication:
    async def __call__(self, scope: object, receive: object, send: object) -> None:
        """As FastAPI's class has it."""


@pytest.mark.parametrize("app", [an_asgi_application, AnAsgiApplication(), None, "app"])
def test_what_is_no_wsgi_application_is_told_at_once(app: Any) -> None:
    with pytest.raises(TypeError, match="goes around a WSGI application"):
        RealplexorMiddleware(app)


def test_without_gevent_the_application_works_on() -> None:
    program = f"""
{IMPORTS}{BOTTLE}
from wsgiref.simple_server import make_server
server = make_server("127.0.0.1", 0, app)
print(f"WAIT: listening 127.0.0.1:{{server.server_port}}", flush=True)
server.serve_forever()
"""
    with (
        rplx_serve() as daemon,
        Server(
            [sys.executable, "-c", program],
            {"RPLX_IN": "%s:%d" % daemon.in_},
            in_=None,
        ) as child,
    ):
        assert ask(child.wait, get("/rplx/other")).body == b"the application's own"
        child.wait_for("rplx: polls are not served: a poll would hold a whole thread")
        assert ask(child.wait, get("/rpl/?identifier=abc")).status == "503 Service Unavailable"
        assert ask(child.wait, get("/rpl/health")).status == "503 Service Unavailable"
        say(child, "abc", 1)  # goes to the IN line of rplx serve
        assert messages(ask(daemon.wait, get("/?identifier=1:abc")).body) == [1]


# -- publish


THREADS = """
import threading, time
import gevent
from gevent.pywsgi import WSGIServer
import rplx
from rplx import runtime
from rplx.client import RealplexorError
from rplx.wsgi import application
runtime.serve().start_in()
def publish():
    for number in range(20):
        rplx.publish("abc", number)
    for wrong in ("a b", []):
        try: rplx.publish(wrong, 1)
        except RealplexorError as error: print(type(error).__name__, error, flush=True)
    try: rplx.publish("abc", "x" * 300_000)
    except RealplexorError as error: print(type(error).__name__, error, flush=True)
thread = threading.Thread(target=publish)
server = WSGIServer(("127.0.0.1", 0), application, log=None)
server.start()
print(f"WAIT: listening 127.0.0.1:{server.server_port}", flush=True)
gevent.spawn_later(0.3, thread.start)
gevent.spawn_later(0.3, gevent.get_hub().threadpool.spawn, rplx.publish, "pool", "from gevent's threads")
server.serve_forever()
"""


def test_publish_from_any_thread() -> None:
    with Server([sys.executable, "-c", THREADS]) as child:
        client = Client(child.wait, get("/?identifier=abc"))
        assert messages(client.read().body) == [0]
        child.wait_for(r'InvalidArgument Identifier must match .*, "a b" given')
        child.wait_for("InvalidArgument No identifier given")
        child.wait_for("Refused 413 Content Too Large: message longer than 204800 bytes")
        assert messages(ask(child.wait, get("/?identifier=1:abc")).body) == list(range(20))
        assert messages(ask(child.wait, get("/?identifier=1:pool")).body) == ["from gevent's threads"]


def publish_in_a_child(options: dict[str, str], arguments: str) -> str:
    program = f"import rplx; print(rplx.publish({arguments}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=options, timeout=120, check=True
    )
    return done.stdout


@pytest.mark.parametrize("variable", ["RPLX_IN", "RPLX_IN_LISTEN"])
def test_publish_from_another_process(variable: str) -> None:
    with rplx_serve() as server:
        options = {variable: "%s:%d" % server.in_}
        publish_in_a_child(options, "{'abc': 5, 'def': '6.50'}, [1, None]")
        publish_in_a_child(options, "'abc', 'limited', limit_to='vip'")
        body = ask(server.wait, get("/?identifier=1:abc,1:def")).body.decode()
        assert '"ids": { "abc": "5", "def": "6.50" },\n    "data": [1,null]' in body
        assert messages(body.encode()) == [[1, None]]
        assert messages(ask(server.wait, get("/?identifier=6:abc,vip")).body) == ["limited"]


def test_publish_with_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPLX_IN", "127.0.0.1:1")
    with pytest.raises(ConnectionFailed, match=r"^127\.0\.0\.1:1: .* run `rplx serve`, .*RPLX_IN"):
        rplx.publish("abc", 1)
    with pytest.raises(InvalidArgument):
        rplx.publish("a b", 1)
    monkeypatch.setenv("RPLX_IN", "nowhere")
    with pytest.raises(ConfigError, match='RPLX_IN: "nowhere" is not HOST:PORT'):
        rplx.publish("abc", 1)
