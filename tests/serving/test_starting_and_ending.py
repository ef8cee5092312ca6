"""What a server is started with, and how it ends: descriptors, signals, NOTIFY_SOCKET."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lines.wire import Wire
from tests.live import LiveServer
from tests.redis_server import AVAILABLE, RedisServer, free_port
from tests.serving.test_workers import children
from tests.system.test_privileges import as_root
from tests.waiting import accepts, eventually

PATIENCE = 60.0  # seconds until something that has to come is missed
OLD = ("-c", "import sys; from rplx.cli.old_command import main; sys.exit(main())")

needs_redis = pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")
KINDS = ["serve", "demo", pytest.param("workers", marks=needs_redis), "old"]


class Starter:
    """Starts the server in each of its forms, from a file that can be changed."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.file = folder / "configuration"
        self.options = ["drain = 0.2"]
        self.configure()

    def configure(self, timeout: str = "50") -> None:
        if self.kind == "old":
            self.file.write_text(
                '%CONFIG = (WAIT_ADDR => ["127.0.0.1:0"], IN_ADDR => ["127.0.0.1:0"], SU_USER => "",'
                f" WAIT_TIMEOUT => {timeout}, VERBOSITY => 1);\n"
            )
        else:
            self.file.write_text("\n".join(["[server]", *self.options, "[wait]", f"timeout = {timeout}\n"]))

    def start(self, shell: str = "") -> LiveServer:
        if self.kind == "old":
            return LiveServer(str(self.file), command=(), addresses=False, program=OLD, shell=shell)
        command = "demo" if self.kind == "demo" else "serve"
        return LiveServer("--config", str(self.file), command=(command,), shell=shell)


@pytest.fixture(params=KINDS)
def starter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Starter]:
    made = Starter(request.param, tmp_path)
    if made.kind != "workers":
        yield made
        return
    with RedisServer() as redis:
        made.options += ["workers = 2", "[engine]", f'url = "{redis.url}"']
        made.configure()
        yield made


def serves(server: LiveServer) -> None:
    wire = Wire(server)
    wire.send("5:a", '"heard"')
    assert b'"heard"' in wire.poll("1:a")


def assert_ends(server: LiveServer, how: signal.Signals = signal.SIGTERM) -> None:
    """It ends itself: nobody has to kill it."""
    server.process.send_signal(how)
    assert server.process.wait(PATIENCE) == 0
    server.stop()
    assert not [line for line in server.log if "Traceback" in line or "Error:" in line], "\n".join(server.log)


def troubles(server: LiveServer) -> list[str]:
    return [line for line in server.log if "NOTIFY_SOCKET" in line]


@contextmanager
def systemd(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(path))
        made.settimeout(PATIENCE)
        yield made


class TestNotifySocket:
    @pytest.mark.parametrize("path", ["/no/such/folder/notify", "relative", "@rplx-nobody-listens", "/" + "x" * 200])
    def test_one_that_cannot_be_reached_is_logged_once(
        self, starter: Starter, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if path != "/no/such/folder/notify" and starter.kind != "serve":
            pytest.skip("every form tells it through the same function")
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        server = starter.start()
        try:
            serves(server)
            eventually(lambda: len(troubles(server)), 1, PATIENCE)
            starter.configure(timeout="51")
            server.process.send_signal(signal.SIGHUP)
            server.wait_for(r"Option \S+ is changed: 50 -> 51", PATIENCE)
            assert_ends(server)
            assert len(troubles(server)) == 1
        finally:
            server.stop()

    def test_one_that_goes_and_comes_back(
        self, starter: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "notify"
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        with systemd(path) as first:
            server = starter.start()
            assert first.recv(100) == b"READY=1"
        try:
            path.unlink()
            starter.configure(timeout="51")
            server.process.send_signal(signal.SIGHUP)
            server.wait_for(r"Option \S+ is changed: 50 -> 51", PATIENCE)
            server.wait_for("NOTIFY_SOCKET", PATIENCE)
            with systemd(path) as second:
                starter.configure(timeout="52")
                server.process.send_signal(signal.SIGHUP)
                told = second.recv(100)
                if told == b"READY=1":  # the end of the reload before, if that had not told it yet
                    told = second.recv(100)
                assert told.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert second.recv(100) == b"READY=1"
                server.wait_for(r"systemd is told again", PATIENCE)
            path.unlink()
            serves(server)
            assert_ends(server)
        finally:
            server.stop()

    def test_one_that_nobody_reads_holds_up_nothing(
        self, starter: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "notify"
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        with systemd(path), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.connect(str(path))
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.send(b"x")
            server = starter.start()
            try:
                serves(server)
                eventually(lambda: len(troubles(server)), 1, PATIENCE)
                assert_ends(server)
            finally:
                server.stop()


class TestSignals:
    def test_those_for_others_are_ignored(self, starter: Starter) -> None:
        with starter.start() as server:
            serves(server)
            for pid in [server.process.pid, *children(server)]:
                for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
                    os.kill(pid, number)
            serves(server)
            assert server.process.poll() is None
            assert_ends(server)

    def test_a_reload_that_fails_in_somebodys_code(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A module of hooks may raise what it likes as it is loaded."""
        file = tmp_path / "rplx.toml"
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        for number, code in enumerate(("raise KeyError('mine')", "def broken(:", "raise SystemExit(3)")):
            (tmp_path / f"broken{number}.py").write_text(code + "\n")
        file.write_text("[server]\ndrain = 0.2\n")
        with LiveServer("--config", str(file)) as server:
            for number in range(3):
                file.write_text(f'[hooks]\ncheck_visibility = "broken{number}:hook"\n[server]\ndrain = 0.2\n')
                server.process.send_signal(signal.SIGHUP)
                server.wait_for(rf"ERROR: hooks.check_visibility: cannot load broken{number}:hook: ", PATIENCE)
                eventually(lambda: sum("stays in force" in line for line in server.log), number + 1, PATIENCE)
            serves(server)
            assert_ends(server)

    @pytest.mark.parametrize("how", ["raise OSError('lost')", "gevent.sleep(1000)"])
    @pytest.mark.parametrize(
        "what", ["InServer.stop_accepting", "WaitServer.drain", "InServer.stop", "MemoryEngine.close"]
    )
    def test_sigterm_ends_whatever_fails_or_hangs_on_the_way(self, what: str, how: str) -> None:
        """A fault that nobody has foreseen is put into each step of the end."""
        code = (
            "import sys, gevent\n"
            "from rplx.serving import server\n"
            "from rplx.cli.command import main\n"
            "from rplx.engine.memory import MemoryEngine\n"
            "from rplx.in_line.server import InServer\n"
            "from rplx.wait_line.server import WaitServer\n"
            "server.END_TIMEOUT = 0.5\n"
            f"def fails(*args, **kwargs): {how}\n"
            f"{what} = fails\n"
            "sys.exit(main(sys.argv[1:]))"
        )
        with LiveServer("--set", "server.drain=0.2", program=("-c", code)) as server:
            serves(server)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE) == 0
            server.stop()
            assert bool([line for line in server.log if "ERROR: OSError" in line]) == ("OSError" in how)


class TestWrongConfiguration:
    """Exit status 2 always: service managers need not try again."""

    def run(self, kind: str, file: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        line = [*OLD, str(file)] if kind == "old" else ["-m", "rplx", "serve", "--config", str(file), *arguments]
        env = {**os.environ, **environ}
        return subprocess.run([sys.executable, *line], capture_output=True, text=True, timeout=99, env=env, check=False)

    def test_of_an_option(self, starter: Starter) -> None:
        starter.configure(timeout='"x"')
        done = self.run(starter.kind, starter.file)
        assert done.returncode == 2
        assert "Traceback" not in done.stdout + done.stderr
        assert done.stderr.startswith(str(starter.file))

    def test_that_only_a_worker_sees(self, starter: Starter, tmp_path: Path) -> None:
        starter.options.insert(1, "max_mem_mb = 1000")  # supervised
        starter.configure()
        option = "users.file" if starter.kind != "old" else "USERS_FILE"
        if starter.kind == "old":
            text = starter.file.read_text()
            starter.file.write_text(text.replace("VERBOSITY", f'USERS_FILE => "{tmp_path}", VERBOSITY'))
        else:
            with starter.file.open("a") as file:
                file.write(f'[users]\nfile = "{tmp_path}"\n')
        addresses = ["--wait", "127.0.0.1:0", "--in", "127.0.0.1:0"]
        with systemd(tmp_path / "notify") as told:
            done = self.run(starter.kind, starter.file, *addresses, NOTIFY_SOCKET=str(tmp_path / "notify"))
            told.setblocking(False)
            assert b"READY" not in received(told)
        assert done.returncode == 2, option
        assert str(tmp_path) in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr

    def test_the_journal_is_told_that_it_is_an_error(self, starter: Starter) -> None:
        starter.configure(timeout='"x"')
        command = (
            [*OLD, str(starter.file)]
            if starter.kind == "old"
            else ["-m", "rplx", "serve", "--config", str(starter.file)]
        )
        ours, theirs = socket.socketpair()
        with ours, theirs:
            found = os.fstat(theirs.fileno())
            env = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
            done = subprocess.run(
                [sys.executable, *command], stdout=theirs, stderr=theirs, env=env, timeout=120, check=False
            )
            assert done.returncode == 2
            ours.setblocking(False)
            for line in received(ours).decode().splitlines():
                assert re.match(r"<[36]>\S", line)
                assert line.startswith("<3>") == ("timeout" in line.lower())


def received(sock: socket.socket) -> bytes:
    """All that has come."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while part := sock.recv(65536):
            found += part
    return found


class TestCheckConfig:
    def check(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "rplx", "serve", "--check-config", *arguments]
        env = {**os.environ, **environ}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, check=False)
        return done.returncode, done.stdout, done.stderr

    def test_one_that_is_right_starts_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "rplx.toml"
        with socket.create_server(("127.0.0.1", 0)) as taken:  # a server runs where it will listen
            file.write_text(f'[wait]\nlisten = ["127.0.0.1:{taken.getsockname()[1]}"]\n')
            assert self.check("--config", str(file)) == (0, "The configuration is right.\n", "")

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[wait]\ntimeuot = 5\n", "{file}:2: unknown option wait.timeuot"),
            ("[wait\n", "{file}:1: "),
            ('[users]\nfile = "/no/such"\n', "/no/such"),
            ('[hooks]\ncheck_visibility = "no_such_module:hook"\n', "hooks.check_visibility: cannot load"),
            ('[engine]\nurl = "redis://host:port/0"\n', "engine.url names a host"),
            ("[server]\nworkers = 2\n", "{file}:2: server.workers: more than one process"),
            pytest.param('[server]\nuser = "no-such-user"\n', "server.user: there is no user", marks=as_root),
        ],
    )
    def test_one_that_is_wrong(self, tmp_path: Path, text: str, problem: str) -> None:
        file = tmp_path / "rplx.toml"
        file.write_text(text)
        status, out, err = self.check("--config", str(file))
        assert (status, out) == (2, "")
        assert problem.format(file=file) in err
        assert "Traceback" not in err

    def test_variables_and_flags_count(self, tmp_path: Path) -> None:
        assert self.check(RPLX_WAIT_TIMEOUT="x")[0] == 2
        assert self.check("--set", "wait.timeout=x")[0] == 2
        assert self.check("--config", str(tmp_path / "none.toml"))[0] == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_started_with_descriptors_closed(starter: Starter, closed: str, tmp_path: Path) -> None:
    """/dev/null is in their places, and in nobody else's."""
    ports = tmp_path / "ports"
    # The shell keeps what it writes on for us elsewhere: LiveServer reads the addresses from the log.
    with running(starter, closed, ports) as (process, wait, in_):
        for pid in [process.pid, *children_of(process.pid)]:
            for descriptor in closed_ones(closed):
                assert os.readlink(f"/proc/{pid}/fd/{descriptor}") == "/dev/null"
        wire = Wire(Addresses(wait, in_))  # type: ignore[arg-type]
        for _ in range(20):  # each connection logs lines: into descriptor 1, which must be nobody's socket
            wire.send("5:a", '"heard"')
            assert b'"heard"' in wire.poll("1:a")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


class Addresses:
    def __init__(self, wait: tuple[str, int], in_: tuple[str, int]) -> None:
        self.wait, self.in_ = wait, in_

    def connect(self, address: tuple[str, int], timeout: float = 60.0) -> socket.socket:
        return socket.create_connection(address, timeout=timeout)


def closed_ones(closed: str) -> list[int]:
    names = {"<&-": 0, ">&-": 1, "2>&-": 2}
    return [names[word] for word in closed.split()]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def running(
    starter: Starter, closed: str, log: Path
) -> Iterator[tuple[subprocess.Popen[bytes], tuple[str, int], tuple[str, int]]]:
    """A server whose log may be closed, so that its ports are chosen here."""
    wait, in_ = free_port(), free_port()
    if starter.kind == "old":
        text = starter.file.read_text().replace("VERBOSITY => 1", "VERBOSITY => 3")
        starter.file.write_text(
            text.replace("127.0.0.1:0", f"127.0.0.1:{wait}", 1).replace("127.0.0.1:0", f"127.0.0.1:{in_}")
        )
        arguments = [*OLD, str(starter.file)]
    else:
        command = "demo" if starter.kind == "demo" else "serve"
        arguments = ["-m", "rplx", command, "--verbose", "--config", str(starter.file)]
        arguments += ["--wait", f"127.0.0.1:{wait}", "--in", f"127.0.0.1:{in_}"]
    line = ["/bin/sh", "-c", f'exec "$0" "$@" >>{log} 2>&1 {closed}', sys.executable, *arguments]
    with subprocess.Popen(line) as process:
        try:
            eventually(lambda: accepts(("127.0.0.1", in_)), True, PATIENCE)
            yield process, ("127.0.0.1", wait), ("127.0.0.1", in_)
        finally:
            process.kill()
    assert not re.search("Traceback|Error:", log.read_text())
