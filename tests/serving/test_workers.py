"""`rplx serve --workers N` with a real Redis: one master, a listening socket for each worker, one of IN for all."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rplx.serving import supervisor
from tests.comers import Comers
from tests.lines.wire import CLOSED, Conversation, Wire, http
from tests.live import LiveServer
from tests.redis_server import AVAILABLE, RedisServer
from tests.waiting import eventually, once_below

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")

WORKERS = 3
LISTENERS = 24  # so many that each worker has some: with three workers, one is left out once in 5,000 runs
POSITION = http("GET /?identifier=a&position HTTP/1.0")
PATIENCE = 60.0  # seconds until something that has to come is missed


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with RedisServer() as server:
        yield server.url


@pytest.fixture
def workers(redis: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """A server on a Redis prefix of its own; its options can be changed in `rplx.toml` of `tmp_path`."""
    write(tmp_path, redis, request.node.name)
    with LiveServer("--config", str(tmp_path / "rplx.toml")) as server:
        eventually(lambda: len(children(server)), WORKERS, PATIENCE)
        yield server
        assert not [line for line in server.log if "Traceback" in line or "Error:" in line], "\n".join(server.log)


def write(folder: Path, redis: str, name: str, count: int = WORKERS, title: str = "rplx", **wait: str) -> None:
    prefix = re.sub(r"\W", "", name)
    lines = [
        "[server]", f"workers = {count}", "drain = 0.5", f"title = '{title}'", "[presence]", "offline_timeout = 1",
        "[engine]", f'url = "{redis}?prefix={prefix}"', "[wait]", *(f"{key} = {value}" for key, value in wait.items()),
    ]  # fmt: skip
    (folder / "rplx.toml").write_text("\n".join(lines) + "\n")


SLOW_HOOK = """
import time
from pathlib import Path
while Path({path!r}).exists():
    time.sleep(0.01)
def visible(ids, message, listener):
    return True
"""


class Held:
    """Servers whose workers do not come to serve while they are held: the operator's hook is not loaded then."""

    def __init__(self, folder: Path, redis: str) -> None:
        self._folder, self._redis = folder, redis
        self._path = folder / "hold"
        (folder / "slow_hook.py").write_text(SLOW_HOOK.format(path=str(self._path)))

    def hold(self) -> None:
        self._path.touch()

    def let_go(self) -> None:
        self._path.unlink()

    def write(self, title: str) -> None:
        write(self._folder, self._redis, "held", title=title)
        with (self._folder / "rplx.toml").open("a") as file:
            file.write('[hooks]\ncheck_visibility = "slow_hook:visible"\n')

    def server(self, title: str) -> LiveServer:
        self.write(title)
        return LiveServer("--config", str(self._folder / "rplx.toml"))


@pytest.fixture
def held(redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Held:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    return Held(tmp_path, redis)


def is_pending(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a signal that it has not taken yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = re.findall(r"(?:Sig|Shd)Pnd:\s+(\w+)", status)
    return any(int(mask, 16) & 1 << number - 1 for mask in masks)


def children(server: LiveServer) -> list[int]:
    """The workers that run, whatever has become of others."""
    text = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return [pid for pid in map(int, text.split()) if alive(pid)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def listening(port: int) -> int:
    """How many sockets listen on a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def park(server: LiveServer, id: str, count: int = LISTENERS) -> list[Conversation]:
    """Listeners that are registered, each with one worker or another."""
    listeners = [Conversation(server.wait, f"identifier={id}\n".encode()) for _ in range(count)]
    for listener in listeners:
        assert listener.exactly(len(CLOSED)) == CLOSED
    return listeners


def holders(server: LiveServer, listeners: list[Conversation]) -> dict[int, list[Conversation]]:
    """Which worker holds which listeners: by the descriptors that it has open."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9]: int(row[2].rpartition(":")[2], 16) for row in rows}  # the server's ends, by the listener's port
    found: dict[int, list[Conversation]] = {}
    by_port = {listener.sock.getsockname()[1]: listener for listener in listeners}
    for pid in children(server):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            match = re.match(r"socket:\[(\d+)\]", os.readlink(entry.path))
            listener = by_port.get(inodes.get(match[1], 0)) if match else None
            if listener is not None:
                found.setdefault(pid, []).append(listener)
    return found


def online(server: LiveServer) -> str:
    return Wire(server).command("ONLINE\n\n")


def assert_heard(listeners: list[Conversation], text: bytes) -> None:
    for listener in listeners:
        assert re.findall(rb'"data": (.*)', listener.rest()) == [text]


def test_a_socket_of_wait_for_each_worker_and_one_of_in(workers: LiveServer) -> None:
    assert listening(workers.wait[1]) == WORKERS
    assert listening(workers.in_[1]) == 1


def test_a_message_reaches_the_listeners_of_all(workers: LiveServer) -> None:
    listeners = park(workers, "abc")
    assert len(holders(workers, listeners)) == WORKERS
    eventually(lambda: online(workers), f"abc {LISTENERS}\n", PATIENCE)
    Wire(workers).send("abc", '"to all"')
    assert_heard(listeners, b'"to all"')
    Wire(workers).send("abc", '"kept"')
    for _ in range(10):  # every worker has the history
        assert re.findall(rb'"data": (.*)', Wire(workers).poll("1:abc")) == [b'"to all"', b'"kept"']
    eventually(lambda: Wire(workers).command("WATCH 10\n\n"), "offline 12:abc\n", PATIENCE)


def test_stats_shows_the_listeners_of_all(workers: LiveServer) -> None:
    listeners = park(workers, "5:abc", 12) + park(workers, "6:abc,7:def", 12)
    assert len(holders(workers, listeners)) == WORKERS
    eventually(lambda: online(workers), "abc 24\ndef 12\n", PATIENCE)

    def shown() -> tuple[list[str], dict[str, int]]:
        parts = Wire(workers).command("STATS\n\n").split("\n\n")
        rows = {part.split("\n")[0]: dict(line.split(" => ") for line in part.splitlines()[1:]) for part in parts}
        connected = {id: len(set(handles.split(", "))) for id, handles in rows["[connected_fhs]"].items()}
        return sorted(rows["[pairs_by_fhs]"].values()), connected

    # One that was busy for too long is left out.
    eventually(shown, (["5:abc"] * 12 + ["6:abc, 7:def"] * 12, {"abc": 24, "def": 12}), PATIENCE)


class TestDeath:
    def test_one_that_dies_resets_nobody_elses_connection(self, workers: LiveServer) -> None:
        listeners = park(workers, "abc")
        held = holders(workers, listeners)
        victim = min(held)
        os.kill(victim, signal.SIGKILL)
        for listener in held.pop(victim):
            with pytest.raises((ConnectionError, AssertionError)):
                listener.until(b"never")
        staying = [listener for group in held.values() for listener in group]
        # Those that the kernel has put into the dead one's queue wait for who comes in its place.
        staying += park(workers, "abc")
        eventually(lambda: len(children(workers)), WORKERS, PATIENCE)
        Wire(workers).send("abc", '"on"')
        assert_heard(staying, b'"on"')

    def test_the_delay_grows(self, workers: LiveServer) -> None:
        staying = set(children(workers)[1:])

        def seconds_until_another() -> float:
            """Kills the one that does not stay; returns the seconds until another has come in its place."""
            (other,) = set(children(workers)) - staying
            begin = time.monotonic()
            os.kill(other, signal.SIGKILL)
            eventually(lambda: alive(other), False)
            eventually(lambda: len(children(workers)), WORKERS, PATIENCE)
            return time.monotonic() - begin

        assert seconds_until_another() > 0.9
        workers.wait_for(r"The server ended with status -9\.")
        workers.wait_for(r"Starting it again in 1 s", PATIENCE)
        assert seconds_until_another() > 1.9
        workers.wait_for(r"Starting it again in 2 s", PATIENCE)

    def test_no_worker_without_its_master(self, workers: LiveServer) -> None:
        left = children(workers)
        workers.process.kill()
        eventually(lambda: [pid for pid in left if alive(pid)], [], PATIENCE)


class TestSignals:
    def test_reload_in_every_worker(self, workers: LiveServer, redis: str, tmp_path: Path) -> None:
        listeners = park(workers, "abc")
        before = children(workers)
        write(tmp_path, redis, "test_reload_in_every_worker", timeout="77")
        workers.process.send_signal(signal.SIGHUP)
        eventually(lambda: log_count(workers, "Option wait.timeout is changed: 55 -> 77"), WORKERS, PATIENCE)
        assert children(workers) == before
        Wire(workers).send("abc", '"kept"')
        assert_heard(listeners, b'"kept"')

    def test_reload_of_what_cannot_change_while_serving(self, workers: LiveServer, redis: str, tmp_path: Path) -> None:
        listeners = park(workers, "abc")
        before = set(children(workers))
        write(tmp_path, redis, "test_reload_of_what_cannot_change_while_serving", WORKERS + 2)
        workers.process.send_signal(signal.SIGHUP)
        for listener in listeners:
            assert listener.rest() == b""  # its empty answer; it asks again
        eventually(lambda: len(set(children(workers)) - before), WORKERS + 2, PATIENCE)
        assert listening(workers.wait[1]) == WORKERS + 2
        again = park(workers, "abc")
        eventually(lambda: online(workers), f"abc {LISTENERS}\n", PATIENCE)
        for listener in again:
            listener.close()

    @pytest.mark.parametrize("line", ["WAIT", "IN"])
    def test_another_number_of_workers_refuses_nobody(
        self, workers: LiveServer, redis: str, tmp_path: Path, line: str, request: pytest.FixtureRequest
    ) -> None:
        sends = http("POST /?identifier=a HTTP/1.0", b"1")
        comers = Comers(*((workers.in_, sends) if line == "IN" else (workers.wait, POSITION)))
        for count in (WORKERS - 1, WORKERS + 1, WORKERS):
            before = set(children(workers))
            write(tmp_path, redis, request.node.name, count)
            workers.process.send_signal(signal.SIGHUP)
            eventually(lambda before=before: len(set(children(workers)) - before), count, PATIENCE)  # type: ignore[misc]
            answered = len(comers.answers)
            eventually(lambda answered=answered: len(comers.answers) > answered + 100, True, PATIENCE)  # type: ignore[misc]
        assert comers.come_on
        assert line == "IN" or not comers.cut_off
        assert listening(workers.wait[1]) == WORKERS + 1  # no more than there were at once
        workers.stop()
        comers.join()

    def test_workers_are_replaced_one_after_the_other(self, workers: LiveServer, redis: str, tmp_path: Path) -> None:
        listeners = park(workers, "abc")
        before = set(children(workers))
        write(tmp_path, redis, "test_workers_are_replaced_one_after_the_other", title="other")
        workers.process.send_signal(signal.SIGHUP)
        workers.wait_for("replacing the workers one after the other, since server.title")
        deadline = time.monotonic() + PATIENCE * 2
        while set(children(workers)) & before or len(children(workers)) != WORKERS:
            assert time.monotonic() < deadline
            assert len(children(workers)) >= WORKERS
            Wire(workers).send("def", '"served"')
            Wire(workers).poll("1:def")
        for listener in listeners:
            assert listener.rest() == b""  # its empty answer; it asks again
        again = park(workers, "abc")
        Wire(workers).send("abc", '"to all"')
        assert_heard(again, b'"to all"')

    def test_a_reload_meanwhile_waits_until_all_are_replaced(
        self, workers: LiveServer, redis: str, tmp_path: Path
    ) -> None:
        park(workers, "abc")
        before = set(children(workers))
        name = "test_a_reload_meanwhile_waits_until_all_are_replaced"
        write(tmp_path, redis, name, title="other")
        workers.process.send_signal(signal.SIGHUP)
        workers.wait_for("replacing the workers one after the other, since server.title")
        write(tmp_path, redis, name, title="other", timeout="40")
        workers.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE * 2
        while (
            set(children(workers)) & before or sum("wait.timeout is changed" in line for line in workers.log) < WORKERS
        ):
            assert time.monotonic() < deadline
            assert len(children(workers)) >= WORKERS
            time.sleep(0.01)
        assert not [line for line in workers.log if "Restarting, since" in line]

    def test_one_that_ends_is_not_taken_for_a_successor_that_serves(self, held: Held) -> None:
        """No worker that serves is ended for one that is still starting, whoever else ends or starts meanwhile."""
        with held.server(title="one") as server:
            eventually(lambda: len(children(server)), WORKERS, PATIENCE)
            assert len(holders(server, park(server, "abc"))) == WORKERS  # all serve
            before = set(children(server))
            held.hold()
            held.write(title="other")
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("replacing the workers one after the other, since server.title")
            eventually(lambda: len(children(server)), WORKERS + 1, PATIENCE)
            os.kill(max(before), signal.SIGTERM)  # the one that is replaced last
            server.wait_for("Normally terminated")
            time.sleep(2 * supervisor.LOOK_EVERY)  # it has looked around since
            assert not [line for line in server.log if "Replaced, " in line]
            assert len(set(children(server)) & before) == WORKERS - 1
            held.let_go()
            eventually(lambda: set(children(server)) & before, set(), PATIENCE)
            eventually(lambda: len(children(server)), WORKERS, PATIENCE)
            Wire(server).send("abc", '"served"')

    def test_a_reload_waits_until_all_have_started(self, held: Held) -> None:
        held.hold()
        with held.server(title="one") as server:
            held.write(title="other")
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: is_pending(server.process.pid, signal.SIGHUP), False)
            before = set(children(server))
            held.let_go()
            server.wait_for("replacing the workers one after the other, since server.title", PATIENCE)
            eventually(lambda: set(children(server)) & before, set(), PATIENCE)
            eventually(lambda: len(children(server)), WORKERS, PATIENCE)
            assert not [line for line in server.log if "Restarting, since" in line]

    def test_the_old_ones_stay_where_no_new_one_serves(self, redis: str, tmp_path: Path) -> None:
        write(tmp_path, redis, "stay")
        with LiveServer("--config", str(tmp_path / "rplx.toml")) as server:
            eventually(lambda: len(children(server)), WORKERS, PATIENCE)
            before = set(children(server))
            write(tmp_path, redis, "stay", title="other")
            with (tmp_path / "rplx.toml").open("a") as file:
                file.write(f'[users]\nfile = "{tmp_path}"\n')
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("the old configuration stays in force")
            assert set(children(server)) >= before
            Wire(server).send("abc", '"served"')
            assert server.stop(signal.SIGTERM) == 0

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
    def test_the_end(self, redis: str, tmp_path: Path, how: signal.Signals) -> None:
        write(tmp_path, redis, "the_end")

        def end() -> float:
            with LiveServer("--config", str(tmp_path / "rplx.toml")) as server:
                eventually(lambda: len(children(server)), WORKERS, PATIENCE)
                listeners = park(server, "abc")
                left = children(server)
                begin = time.monotonic()
                assert server.stop(how) == 0
                took = time.monotonic() - begin
                assert not [pid for pid in left if alive(pid)]
                if how == signal.SIGTERM:
                    for listener in listeners:
                        assert listener.rest() == b""
                return took

        once_below(0.5 + supervisor.END_TIMEOUT, end)  # nobody had to be killed


def test_one_that_is_killed_before_it_serves(redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        write(tmp_path, redis, "killed")
        with LiveServer("--config", str(tmp_path / "rplx.toml")) as server:
            eventually(lambda: len(children(server)), WORKERS, PATIENCE)
            os.kill(children(server)[0], signal.SIGKILL)
            server.wait_for(r"Starting it again in 1 s", PATIENCE)
            assert systemd.recv(100) == b"READY=1"
            eventually(lambda: len(children(server)), WORKERS, PATIENCE)
            Wire(server).send("abc", '"served"')


def log_count(server: LiveServer, text: str) -> int:
    return sum(text in line for line in server.log)


def test_systemd_is_told_once_all_are_ready(redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        write(tmp_path, redis, "systemd")
        with LiveServer("--config", str(tmp_path / "rplx.toml")) as server:
            assert systemd.recv(100) == b"READY=1"
            assert len(children(server)) == WORKERS
            server.process.send_signal(signal.SIGHUP)
            assert systemd.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert systemd.recv(100) == b"READY=1"
            server.stop(signal.SIGTERM)
            assert systemd.recv(100) == b"STOPPING=1"
            systemd.setblocking(False)
            with pytest.raises(BlockingIOError):  # the workers themselves have told nothing
                systemd.recv(100)
