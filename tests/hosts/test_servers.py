"""Servers in which polls cannot wait are told so; those in which they can pass wsgiref's validator."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.comers import Comers
from tests.hosts.http import Client, ask, eventually, get, messages, online, send
from tests.hosts.servers import HOOKS, Server, gunicorn, gunicorn_command
from tests.lines.wire import http
from tests.waiting import once_below

NOT_GEVENT = (
    b"a poll would hold a whole thread or process of this server, as its connections are no gevent greenlets;"
    b" use gunicorn -k gevent, gevent.pywsgi or rplx serve\n"
)
SEVERAL_PROCESSES = (
    b"several processes serve polls here, and each would keep messages of its own;"
    b" set RPLX_ENGINE_URL=redis://HOST:PORT/0, or use one process (gunicorn -w 1)\n"
)
SEVERAL_THREADS = b"this server runs loops in several threads; rplx needs all polls of a process in one\n"

WSGIREF = """
from wsgiref.simple_server import make_server
from rplx.wsgi import application
server = make_server("127.0.0.1", 0, application)
print(f"WAIT: listening 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
WSGIREF_THREADS = """
import socketserver, wsgiref.simple_server as simple
from rplx.wsgi import application
class Threads(socketserver.ThreadingMixIn, simple.WSGIServer): pass
server = simple.make_server("127.0.0.1", 0, application, Threads)
print(f"WAIT: listening 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
WAITRESS = """
import waitress
from rplx.wsgi import application
server = waitress.create_server(application, host="127.0.0.1", port=0)
print(f"WAIT: listening 127.0.0.1:{server.effective_port}", flush=True)
server.run()
"""
WAITRESS_PATCHED = "from gevent import monkey; monkey.patch_all()" + WAITRESS
CHEROOT = """
from cheroot.wsgi import Server
from rplx.wsgi import application
server = Server(("127.0.0.1", 0), application)
server.prepare()
print(f"WAIT: listening 127.0.0.1:{server.bind_addr[1]}", flush=True)
server.serve()
"""
TWO_LOOPS = """
import threading
from gevent.pywsgi import WSGIServer
from rplx.wsgi import application
def run():
    server = WSGIServer(("127.0.0.1", 0), application, log=None)
    server.start()
    print(f"WAIT: listening 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
threading.Thread(target=run).start()
run()
"""
VALIDATED = """
from wsgiref.validate import validator
from gevent.pywsgi import WSGIServer
from rplx import runtime
from rplx.wsgi import application
runtime.serve().start_in()
server = WSGIServer(("127.0.0.1", 0), validator(application), log=None)
server.start()
print(f"WAIT: listening 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


def python(program: str, *, in_: str | None = None, options: dict[str, str] | None = None) -> Server:
    return Server([sys.executable, "-W", "error::UserWarning:wsgiref", "-c", program], options, in_=in_)


def refuses_polls_alone(server: Server, why: bytes) -> None:
    """Polls are told what to use; the pages are served as anywhere, so that the browser's console can say it."""
    for target in ("/?identifier=abc", "/?identifier=5:abc,def&position"):
        answer = ask(server.wait, get(target))
        assert (answer.status, answer.body) == ("503 Service Unavailable", why)
    script = ask(server.wait, get("/?identifier=SCRIPT"))
    assert script.status == "200 OK"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert b"Dklab_Realplexor" in script.body
    frame = ask(server.wait, get("/?identifier=IFRAME"))
    assert frame.status == "200 OK"
    assert frame.headers["origin-agent-cluster"] == "?0"
    unchanged = ask(server.wait, get("/?identifier=SCRIPT", f"If-None-Match: {script.headers['etag']}"))
    assert unchanged.status.lower() == "304 not modified"
    assert ask(server.wait, get("/?identifier=a*b")).status == "400 Bad Request"
    assert ask(server.wait, get("/")).body.startswith(b"Empty identifier passed; listen with ?identifier=CHANNEL")


@pytest.mark.parametrize("program", [WSGIREF, WSGIREF_THREADS, WAITRESS, CHEROOT])
def test_threads_of_another_kind_are_refused_at_the_first_poll(program: str) -> None:
    with python(program) as server:
        refuses_polls_alone(server, NOT_GEVENT)


@pytest.mark.parametrize("worker", [["-k", "sync"], ["-k", "gthread", "--threads", "4"]])
def test_gunicorn_without_gevent_is_refused(worker: list[str]) -> None:
    with gunicorn(*worker, in_=None) as server:
        refuses_polls_alone(server, NOT_GEVENT)


def test_several_workers_with_memory_are_refused_at_the_first_poll() -> None:
    with gunicorn("-k", "gevent", "-w", "2", "--preload", in_=None) as server:
        refuses_polls_alone(server, SEVERAL_PROCESSES)


def test_a_second_loop_is_refused() -> None:
    with python(TWO_LOOPS) as server:
        found = re.compile(r"WAIT: listening 127\.0\.0\.1:(\d+)")
        eventually(lambda: len(found.findall("\n".join(server.log))) == 2)
        ports = [int(port) for port in found.findall("\n".join(server.log))]
        first = Client(("127.0.0.1", ports[0]), get("/?identifier=abc", "Connection: close"))
        assert first.read_until(b" \r\n")
        answer = ask(("127.0.0.1", ports[1]), get("/?identifier=abc"))
        assert (answer.status, answer.body) == ("503 Service Unavailable", SEVERAL_THREADS)


def test_wrong_options_are_told_to_the_operator_alone() -> None:
    with gunicorn("-k", "gevent", "--preload", options={"RPLX_WAIT_TIMEOUT": "soon"}, in_=None) as server:
        answer = ask(server.wait, get("/?identifier=abc"))
        assert answer.status == "503 Service Unavailable"
        assert answer.body == b"wrong options; the server's error log says which\n"
        server.wait_for('RPLX_WAIT_TIMEOUT: must be a number, is "soon"')


def test_patched_threads_are_greenlets_and_serve() -> None:
    with python(WAITRESS_PATCHED, options={"RPLX_WAIT_TIMEOUT": "0.3"}) as server:
        answer = ask(server.wait, get("/?identifier=abc"))
        assert (answer.status, answer.body) == ("200 OK", b" \r\n")


REFUSED_AT_START = [
    (["-k", "sync"], {}, "rplx needs gunicorn -k gevent: a sync worker cannot hold many polls"),
    (["-w", "4"], {}, "4 workers would each keep messages of their own, as engine.url is memory:;"
     " set RPLX_ENGINE_URL=redis://HOST:PORT/0, or use one worker (-w 1)"),
    (["-w", "2"], {"RPLX_ENGINE_URL": "sqlite:////nowhere/h.db"},
     "2 workers would each keep messages of their own, as engine.url is sqlite:;"
     " set RPLX_ENGINE_URL=redis://HOST:PORT/0, or use one worker (-w 1)"),
    ([], {"RPLX_WAIT_TIMEOUT": "soon", "RPLX_WAIT_TIMEOUTS": "1"},
     'RPLX_WAIT_TIMEOUTS: no option is set by this variable, did you mean "RPLX_WAIT_TIMEOUT"?'),
    ([], {"RPLX_IN_LISTEN": "192.0.2.1:1"}, "cannot listen on 192.0.2.1:1: Cannot assign requested address"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "options", "text"), REFUSED_AT_START)
def test_the_hooks_refuse_at_start(arguments: list[str], options: dict[str, str], text: str) -> None:
    child = Server(gunicorn_command(*HOOKS, *arguments), options, wait=None, in_=None)
    assert child.process.wait(120) == 1
    child.stop()
    assert text in "\n".join(child.log)
    assert not [line for line in child.log if "Traceback" in line or "Booting worker" in line]


WITHOUT_PACKAGING = """
import sys
sys.modules["packaging"] = None
from gunicorn.app.wsgiapp import run
run()
"""


def test_the_hooks_name_what_is_not_installed() -> None:
    command = [sys.executable, "-c", WITHOUT_PACKAGING, *gunicorn_command(*HOOKS)[2:]]
    child = Server(command, wait=None, in_=None)
    assert child.process.wait(120) == 1
    child.stop()
    assert "rplx: gunicorn's gevent workers need more: pip install 'rplx[gunicorn]'" in "\n".join(child.log)
    assert "Traceback" not in "\n".join(child.log)


@pytest.mark.parametrize(("arguments", "options", "text"), REFUSED_AT_START[1:3])
def test_the_application_refuses_at_start_without_hooks(
    arguments: list[str], options: dict[str, str], text: str
) -> None:
    child = Server(gunicorn_command("-k", "gevent", *arguments), options, wait=None, in_=None)
    assert child.process.wait(120) != 0  # gunicorn's own status depends on how many workers end at once
    child.stop()
    assert text in "\n".join(child.log)


@pytest.fixture(scope="module")
def validated() -> Iterator[Server]:
    with python(VALIDATED, in_=r"IN: listening (\S+):(\d+)") as server:
        yield server
    assert not [line for line in server.log if "Error" in line or "Warning" in line], "\n".join(server.log)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/?identifier=none&timeout=1"), "200 OK"),
        (get("/?identifier=none&timeout=1", "Connection: close"), "200 OK"),
        (get("/?identifier=none&timeout=1", version="1.0"), "200 OK"),
        (get("/?identifier=1:here"), "200 OK"),
        (get("/?identifier=1:here", "Connection: close"), "200 OK"),
        (get("/?identifier=here&position=1"), "200 OK"),
        (b"POST /?timeout=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 15\r\n\r\nidentifier=none", "200 OK"),
        (get("/?identifier=IFRAME"), "200 OK"),
        (get("/?identifier=SCRIPT", "Connection: close"), "200 OK"),
        (get("/"), "400 Bad Request"),
        (get("/else"), "404 Not Found"),
        (b"OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK"),
        (get("/health"), "200 OK"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", "413 Content Too Large"),
    ],
)
def test_the_validator_passes(validated: Server, request_: bytes, status: str) -> None:
    send(validated.in_, "here", b'"x"')
    assert ask(validated.wait, request_).status == status


def test_the_validator_passes_over_a_delivery_and_a_hang_up(validated: Server) -> None:
    client = Client(validated.wait, get("/?identifier=there"))
    eventually(lambda: online(validated.in_).get("there") == 1)
    send(validated.in_, "there", b'"x"')
    assert messages(client.read().body) == ["x"]
    Client(validated.wait, get("/?identifier=there")).close()


# -- how gunicorn ends


def park(server: Server, count: int) -> list[Client]:
    clients = [Client(server.wait, get("/?identifier=abc", "Connection: close")) for _ in range(count)]
    for client in clients:
        client.read_until(b" \r\n")
    return clients


@pytest.mark.parametrize(
    "hooks",
    [[*HOOKS], ["-k", "gevent"], ["-k", "gevent_pywsgi"], [*HOOKS, "--preload"]],
    ids=["with the hooks", "without", "pywsgi worker", "preloaded"],
)
def test_gunicorn_stops_gently(hooks: list[str]) -> None:
    """Not when its own patience of 30 s is over."""

    def stop() -> float:
        with gunicorn(*hooks, options={"RPLX_SERVER_DRAIN": "1"}, in_=None) as server:
            clients = [Client(server.wait, get("/?identifier=abc")) for _ in range(10)]
            clients += park(server, 20)  # who have come behind those, and have their heads
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert all(client.read().body == b" \r\n" and client.ended() for client in clients)
            assert server.process.wait(120) == 0
            return time.monotonic() - begin

    once_below(5, stop)


OWN_HOOKS = """
from rplx.gunicorn import *

def on_starting(server):
    server.log.info("own on_starting")

def post_worker_init(worker):
    worker.log.info("own post_worker_init")

def worker_exit(server, worker):
    worker.log.info("own worker_exit")
"""


def test_own_hooks_run_beside_ours(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_HOOKS)
    with gunicorn("-c", str(tmp_path / "own.py")) as server:
        send(server.in_, "5:abc", b'"by IN"')
        assert messages(ask(server.wait, get("/?identifier=1:abc")).body) == ["by IN"]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 0
        for name in ("on_starting", "post_worker_init", "worker_exit"):
            server.wait_for(f"own {name}$")


def test_a_part_of_the_hooks_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_HOOKS + 'worker_class = "gevent"\n')
    command = gunicorn_command("-c", str(tmp_path / "own.py"))
    with Server(command, wait=None, in_=None) as server:
        server.wait_for("replaces some of rplx.gunicorn's hooks")
        assert server.process.wait(120) != 0


def test_own_hooks_that_call_ours_run_them_once(tmp_path: Path) -> None:
    own = """
from rplx import gunicorn
from rplx.gunicorn import *

def on_starting(server):
    gunicorn.on_starting(server)

def post_worker_init(worker):
    gunicorn.post_worker_init(worker)
"""
    (tmp_path / "own.py").write_text(own)
    with gunicorn("-c", str(tmp_path / "own.py")) as server:
        send(server.in_, "5:abc", b'"by IN"')
        assert messages(ask(server.wait, get("/?identifier=1:abc")).body) == ["by IN"]


def test_gunicorn_stops_at_once() -> None:
    def stop() -> float:
        with gunicorn(*HOOKS) as server:
            clients = park(server, 5)
            begin = time.monotonic()
            server.process.send_signal(signal.SIGINT)
            assert all(client.read().body == b" \r\n" for client in clients)
            assert server.process.wait(120) == 0
            return time.monotonic() - begin

    once_below(3, stop)


@pytest.mark.parametrize("worker", ["gevent", "gevent_pywsgi"])
def test_back_ends_that_have_connected_are_answered_to_the_last(worker: str) -> None:
    """Those that come as fast as they can while gunicorn ends are answered or refused; none is cut off."""
    with gunicorn(*HOOKS, "-k", worker, options={"RPLX_SERVER_DRAIN": "0.1"}) as server:
        assert server.in_ is not None
        comers = Comers(server.in_, http("POST /?identifier=a HTTP/1.0", b"1"))
        assert server.stop() == 0
        comers.join()
    assert not comers.cut_off
    assert all(b" 200 OK\r\n" in answer for answer in comers.answers)


def test_back_ends_come_on_while_a_worker_follows_another() -> None:
    """No connection is refused or cut off while gunicorn replaces its worker."""
    with gunicorn(*HOOKS, options={"RPLX_SERVER_DRAIN": "0.1"}) as server:
        assert server.in_ is not None
        old = server.wait_for(r"Booting worker with pid: (\d+)")[1]
        comers = Comers(server.in_, http("POST /?identifier=a HTTP/1.0", b"1"))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(rf"\[{old}\].*Worker exiting")
        count = len(comers.answers)
        eventually(lambda: len(comers.answers) > count + 100)
        assert comers.come_on
        assert server.stop() == 0
        comers.join()
    assert not comers.cut_off


def test_gunicorn_reloads_and_keeps_both_lines() -> None:
    with gunicorn(*HOOKS, options={"RPLX_SERVER_DRAIN": "0.5"}) as server:
        clients = park(server, 3)
        old = server.wait_for(r"Booting worker with pid: (\d+)")[1]
        server.process.send_signal(signal.SIGHUP)
        assert all(client.read().body == b" \r\n" for client in clients)
        server.wait_for(rf"\[{old}\].*Worker exiting")
        send(server.in_, "5:abc", b'"new worker"')
        assert messages(ask(server.wait, get("/?identifier=1:abc")).body) == ["new worker"]


def test_a_new_master_takes_the_in_line_over() -> None:
    with gunicorn(*HOOKS, options={"RPLX_SERVER_DRAIN": "0.5"}) as server:
        server.process.send_signal(signal.SIGUSR2)
        eventually(lambda: sum("IN: listening" in line for line in server.log) == 2, timeout=120)
        assert len({line.partition("IN: ")[2] for line in server.log if "IN: " in line}) == 1
        eventually(lambda: sum("Booting worker" in line for line in server.log) == 2, timeout=120)
        new = int(next(line for line in reversed(server.log) if "IN: listening" in line).split("] [")[1])
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(120)
        send(server.in_, "5:abc", b'"new master"')
        assert messages(ask(server.wait, get("/?identifier=1:abc")).body) == ["new master"]
        os.kill(new, signal.SIGTERM)
        # By its id: it is called Master.2 until it has noticed, within a second, that it is the only one.
        eventually(lambda: f"[{new}] [INFO] Shutting down: Master" in server.log[-1], timeout=120)


def test_a_second_worker_is_refused_while_memory_serves() -> None:
    with gunicorn(*HOOKS) as server:
        server.process.send_signal(signal.SIGTTIN)
        server.wait_for("more than one worker needs RPLX_ENGINE_URL")
        time.sleep(0.5)
        assert sum("Booting worker" in line for line in server.log) == 1
        assert ask(server.wait, get("/?identifier=a&position=1")).status == "200 OK"
