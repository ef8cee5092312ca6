"""Other servers that end: who polls meanwhile is told to come back when that is over (protocol page, part 9.4)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.http import Client, ask, get, messages, send
from tests.hosts.servers import HOOKS, LISTENING_AT, Server, gunicorn, gunicorn_command

LONG = 60  # seconds that the waiting polls are answered over
SPREAD = 5  # seconds over which clients come back that are refused together
OPTIONS = {"RPLX_SERVER_DRAIN": str(LONG)}

# As docs/wsgi.md has it.
PYWSGI = f"""
from gevent import monkey; monkey.patch_all()
import signal
import gevent
from gevent.pywsgi import WSGIServer
from rplx import runtime
from rplx.wsgi import application
serving = runtime.serve()
serving.start_in()
server = WSGIServer(("127.0.0.1", 0), application, log=None)
def end():
    serving.end_polls({LONG})
    server.stop(timeout=1)
    serving.stop(1)
gevent.signal_handler(signal.SIGTERM, gevent.spawn, end)
server.start()
print(f"WAIT: listening 127.0.0.1:{{server.server_port}}", flush=True)
server.serve_forever()
"""
SITE = """
from rplx.wsgi import RealplexorMiddleware
def own(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"own"]
app = RealplexorMiddleware(own)
"""


def middleware(folder: Path) -> Server:
    (folder / "site_under_test.py").write_text(SITE)
    command = gunicorn_command(*HOOKS, application="site_under_test:app")
    return Server(command, OPTIONS, wait=LISTENING_AT, cwd=folder)


STARTS: dict[str, Callable[[Path], Server]] = {
    "gunicorn": lambda _: gunicorn(*HOOKS, options=OPTIONS),
    "gunicorn's pywsgi": lambda _: gunicorn(*HOOKS, "-k", "gevent_pywsgi", options=OPTIONS),
    "pywsgi": lambda _: Server([sys.executable, "-c", PYWSGI]),
    "middleware": middleware,
}


@pytest.fixture(params=STARTS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with STARTS[request.param](tmp_path) as child:
        yield child
        child.process.send_signal(signal.SIGINT)
    assert not [line for line in child.log if "Error" in line], "\n".join(child.log)


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """The path of the WAIT line."""
    return "/rpl/" if request.node.callspec.params["server"] == "middleware" else "/"


def parked(server: Server, path: str) -> Client:
    client = Client(server.wait, get(f"{path}?identifier=waits", "Connection: close"))
    client.read_until(b" \r\n")
    return client


def idle(server: Server, path: str) -> Client:
    client = Client(server.wait, get(f"{path}?identifier=waits&position"))
    assert client.read().body == b" \r\n"
    return client


def test_a_server_that_ends(server: Server, path: str) -> None:
    send(server.in_, "5:due", b"1")
    waiting = [parked(server, path) for _ in range(3)]
    kept = {name: idle(server, path) for name in ("refused", "probe", "due", "old")}
    server.process.send_signal(signal.SIGTERM)
    assert waiting[0].read().body == b" \r\n"
    kept["refused"].send(get(f"{path}?identifier=waits"))
    kept["probe"].send(get(f"{path}health"))
    for name, text in (("refused", b"the server ends; come back when it has been started again\n"), ("probe", None)):
        answer = kept[name].read()
        assert answer.status == "503 Service Unavailable"
        assert text in (None, answer.body)
        assert int(answer.headers["retry-after"]) > SPREAD  # the rest of the end is in it
        assert kept[name].ended()
    kept["due"].send(get(f"{path}?identifier=1:due"))
    assert messages(kept["due"].read().body) == [1]
    assert kept["due"].ended()
    kept["old"].send(get(f"{path}?identifier=waits", version="1.0"))
    answer = kept["old"].read()
    assert (answer.status, answer.body) == ("200 OK", b" \r\n")
    assert kept["old"].ended()
    send(server.in_, "waits", b'"still heard"')
    assert messages(waiting[2].read().body) == ["still heard"]


@pytest.mark.parametrize("server", ["gunicorn", "gunicorn's pywsgi", "middleware"], indirect=True)
@pytest.mark.parametrize("how", ["SIGHUP", "SIGUSR2"])
def test_a_worker_that_is_followed(server: Server, path: str, how: str) -> None:
    """Polls that the old one still gets are answered within a moment, so that clients go to the new one at once."""
    old = server.wait_for(r"Booting worker with pid: (\d+)")[1]
    waiting = parked(server, path)
    kept = idle(server, path)
    server.process.send_signal(signal.Signals[how])
    if how == "SIGUSR2":
        server.wait_for(rf"Booting worker with pid: (?!{old}$)\d+")
        server.process.send_signal(signal.SIGTERM)
    assert waiting.read().body == b" \r\n"
    kept.send(get(f"{path}?identifier=waits"))
    answer = kept.read()
    assert (answer.status, answer.body) == ("200 OK", b" \r\n")
    assert kept.ended()
    server.wait_for(rf"\[{old}\].*Worker exiting")
    assert ask(server.wait, get(f"{path}?identifier=waits&position")).body == b" \r\n"
    if how == "SIGUSR2":
        new = next(line for line in reversed(server.log) if "Starting gunicorn" in line).split("] [")[1]
        os.kill(int(new), signal.SIGTERM)


def test_a_worker_with_a_file_is_followed_by_one_that_goes_on_where_it_was(tmp_path: Path) -> None:
    with gunicorn(*HOOKS, options={"RPLX_ENGINE_URL": f"sqlite:///{tmp_path}/history.db"}) as server:
        send(server.in_, "a", b'"before"')
        begin = get("/?identifier=1:a&position")
        assert messages(ask(server.wait, begin).body) == ["before"]
        old = server.wait_for(r"Booting worker with pid: (\d+)")[1]
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(rf"\[{old}\].*Worker exiting")
        send(server.in_, "a", b'"after"')
        assert messages(ask(server.wait, begin).body) == ["before", "after"]
        assert not [line for line in server.log if "rror" in line]
