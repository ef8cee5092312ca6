"""While the server answers its waiting polls at the end, nothing hangs: who comes is answered, on both lines."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.comers import Comers
from tests.lines.wire import CLOSED, Conversation, Wire, blocks, http
from tests.live import LiveServer
from tests.waiting import eventually

LONG = 600  # seconds that the waiting polls are answered over: longer than any patience here
FILE = "[server]\ndrain = {drain}\nmax_mem_mb = {memory}\ntitle = '{title}'\n"


def get(ids: str, version: str = "1.1") -> bytes:
    return http(f"GET /?identifier={ids} HTTP/{version}\nHost: h")


@pytest.fixture(params=["SIGTERM", "a reload that restarts"])
def draining(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Wire, dict[str, Conversation]]]:
    """A server that has begun to end, and connections from before."""
    file = tmp_path / "rplx.toml"
    restarts = request.param != "SIGTERM"
    file.write_text(FILE.format(drain=LONG, memory=4000 * restarts, title="one"))
    with LiveServer("--config", str(file)) as server:
        wire = Wire(server)
        wire.send("5:due", "1")
        before = {name: wire.on_wait(get("waits")) for name in ("first", "second")}
        eventually(lambda: wire.online("waits"), "waits 2\n")
        before["idle"] = wire.on_wait(get("due&position"))
        before["idle"].answer()
        before["back-end"] = wire.on_in(http("POST /?identifier=6:x HTTP/1.1\nHost: h", b"1"))
        before["back-end"].answer()
        if restarts:
            file.write_text(FILE.format(drain=LONG, memory=4000, title="other"))
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("Restarting, since server.title")
        else:
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("SIGTERM received")
        assert before["first"].answer()[1] == b" \r\n"
        yield wire, before
        for conversation in before.values():
            conversation.close()
        server.process.kill() if not restarts else server.stop()


def test_who_comes_is_answered(draining: tuple[Wire, dict[str, Conversation]]) -> None:
    wire, before = draining
    kept = wire.on_wait(get("waits"))
    refused = kept.rest()
    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n")
    assert refused.endswith(b"\r\n\r\nthe server ends; come back when it has been started again\n")
    closed = wire.on_wait(get("waits", "1.0"))
    text = wire.on_wait(b"identifier=waits\n")
    assert closed.rest().endswith(b"\r\n\r\n \r\n")
    assert text.rest() == CLOSED
    due = wire.on_wait(get("1:due"))
    assert due.rest().endswith(b"\r\n\r\n \r\n" + blocks(({"due": "5"}, "1")))
    assert b"400 Bad Request" in wire.on_wait(get("")).rest()
    before["idle"].send(get("1:due"))
    assert before["idle"].rest().endswith(b"\r\n\r\n \r\n" + blocks(({"due": "5"}, "1")))
    assert wire.on_in(http("POST /?identifier=7:y HTTP/1.1\nHost: h", b"2")).rest().endswith(b"y 7\n")
    before["back-end"].send(http("POST /?identifier=8:y HTTP/1.1\nHost: h", b"3"))
    assert before["back-end"].answer()[1] == b"y 8\n"
    assert before["back-end"].rest() == b""
    assert wire.command("ONLINE waits\n\n") == "waits 1\n"
    wire.send("waits", '"still heard"')
    assert b'"still heard"' in before["second"].answer()[1]


@pytest.mark.parametrize("supervised", [False, True])
def test_told_again_it_ends_at_once(supervised: bool, tmp_path: Path) -> None:
    file = tmp_path / "rplx.toml"
    file.write_text(FILE.format(drain=LONG, memory=4000 * supervised, title="one"))
    with LiveServer("--config", str(file)) as server:
        wire = Wire(server)
        waiting = [wire.on_wait(get("a")) for _ in range(3)]
        eventually(lambda: wire.online("a"), "a 3\n")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("SIGTERM received, answering 3")
        assert waiting[0].answer()[1] == b" \r\n"
        assert server.stop(signal.SIGTERM) == 0
        assert waiting[2].rest() == b""


def test_a_worker_that_is_told_by_two_answers_all(tmp_path: Path) -> None:
    """A service manager sends SIGTERM to all processes, and the supervisor sends it on."""
    file = tmp_path / "rplx.toml"
    file.write_text(FILE.format(drain=1, memory=4000, title="one"))
    with LiveServer("--config", str(file)) as server:
        wire = Wire(server)
        waiting = [wire.on_wait(get("a")) for _ in range(3)]
        eventually(lambda: wire.online("a"), "a 3\n")
        worker = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("SIGTERM received, answering 3")
        os.kill(int(worker), signal.SIGTERM)
        assert server.process.wait(120) == 0
        assert all(one.answer()[1] == b" \r\n" for one in waiting)


def test_it_ends_though_clients_come_on_and_on(tmp_path: Path) -> None:
    file = tmp_path / "rplx.toml"
    file.write_text(FILE.format(drain=1, memory=0, title="one"))
    with LiveServer("--config", str(file)) as server:
        wire = Wire(server)
        waiting = [wire.on_wait(get("a")) for _ in range(3)]
        eventually(lambda: wire.online("a"), "a 3\n")
        server.process.send_signal(signal.SIGTERM)
        answered = 0
        while server.process.poll() is None:
            try:
                conversation = wire.on_wait(get("a"))
                answered += b" 503 Service Unavailable\r\n" in conversation.rest()
                conversation.close()
            except ConnectionError:  # the last one, or none listens any more
                pass
        assert answered
        assert server.stop() == 0
        assert all(one.answer()[1] == b" \r\n" for one in waiting)


@pytest.mark.parametrize("supervised", [False, True])
@pytest.mark.parametrize("line", ["WAIT", "IN"])
def test_who_has_connected_is_answered_to_the_last(line: str, supervised: bool, tmp_path: Path) -> None:
    """Clients that come as fast as they can are answered or refused; none is cut off."""
    file = tmp_path / "rplx.toml"
    file.write_text(FILE.format(drain=0.1, memory=4000 * supervised, title="one"))
    request = get("a&position", "1.0") if line == "WAIT" else http("POST /?identifier=a HTTP/1.0", b"1")
    with LiveServer("--config", str(file)) as server:
        comers = Comers(server.wait if line == "WAIT" else server.in_, request)
        assert server.stop(signal.SIGTERM) == 0
        comers.join()
    assert not comers.cut_off
    assert all(b" 200 OK\r\n" in answer for answer in comers.answers)


def test_a_worker_that_is_ended_alone_is_followed_by_one_that_takes_all(tmp_path: Path) -> None:
    file = tmp_path / "rplx.toml"
    file.write_text(FILE.format(drain=0.1, memory=4000, title="one"))
    with LiveServer("--config", str(file)) as server:
        wire = Wire(server)
        wire.send("a", "1")  # the worker is there
        worker = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
        os.kill(int(worker), signal.SIGTERM)
        server.wait_for("Normally terminated")
        for _ in range(3):
            wire.on_wait(get("a&position")).answer()
            wire.send("a", "1")
