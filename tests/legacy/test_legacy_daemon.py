"""`dklab_realplexor` as init scripts and packages start it: pid file, log, reload, restart, user (parts 4 and 5)."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from passlib.hash import bcrypt

from tests.lines.wire import CLOSED, Wire, blocks, http, in_order
from tests.live import LiveServer
from tests.redis_server import free_port
from tests.soak.vitals import listening
from tests.waiting import eventually

PROGRAM = ("-c", "import sys; from rplx.cli.old_command import main; sys.exit(main())")
TIME = r"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\] "

as_root = pytest.mark.skipif(os.getuid() != 0, reason="drops privileges, so it has to have some")


class Daemon:
    """A daemon with a configuration file and a pid file of its own."""

    def __init__(self, folder: Path) -> None:
        self.conf = folder / "realplexor.conf"
        self.pidfile = folder / "realplexor.pid"
        self.servers: list[LiveServer] = []
        folder.chmod(0o755)

    def configure(self, lines: str = "", wait: str = "127.0.0.1:0", in_: str = "127.0.0.1:0", user: str = '""') -> None:
        self.conf.write_text(
            f'%CONFIG = (\n  WAIT_ADDR => ["{wait}"], IN_ADDR => ["{in_}"],\n'
            f"  SU_USER => {user},\n  {lines}\n);\nreturn 1;\n"
        )

    def start(self, *arguments: str) -> Wire:
        server = LiveServer(
            *(arguments or (str(self.conf), "-p", str(self.pidfile))), command=(), addresses=False, program=PROGRAM
        )
        self.servers.append(server)
        wire = Wire(server)
        wire.command("ONLINE")  # ready
        return wire

    def pid(self) -> int:
        return int(self.pidfile.read_text())

    def hang_up(self) -> None:
        """As init scripts do it: by the pid file."""
        os.kill(self.pid(), signal.SIGHUP)


@pytest.fixture
def daemon():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own may be read by its user alone, not by nobody
        made = Daemon(Path(folder))
        made.configure()
        yield made
        for server in made.servers:
            server.stop()


def messages(wire: Wire) -> list[str]:
    """The log without times and counters."""
    return [re.sub(f"^{TIME}", "", line) for line in wire.server.log if not line.startswith("  [")]


def child_of(pid: int) -> int:
    """The one serving process; waits for it where it is being replaced."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    eventually(lambda: len(children.read_text().split()), 1)
    return int(children.read_text())


@pytest.mark.parametrize(
    "order",
    [
        lambda d: (str(d.conf), "-p", str(d.pidfile)),
        lambda d: ("-p", str(d.pidfile), str(d.conf)),
        lambda d: (f"-p{d.pidfile}", str(d.conf)),
    ],
)
def test_start_and_end(daemon: Daemon, order: Callable[[Daemon], tuple[str, ...]]) -> None:
    wire = daemon.start(*order(daemon))
    assert daemon.pid() == wire.server.process.pid
    listener = wire.listen("1:a")
    wire.send("5:a", "1")
    assert listener.rest() == blocks(({"a": "5"}, "1"))
    assert wire.server.stop(signal.SIGINT) == 0
    assert not daemon.pidfile.exists()
    assert messages(wire)[-1] == "SIGINT received, exiting"


def test_terminate(daemon: Daemon) -> None:
    wire = daemon.start()
    listener = wire.listen("a")
    assert wire.server.stop(signal.SIGTERM) == 0
    assert listener.rest() == b""
    assert not daemon.pidfile.exists()


def test_the_log_has_the_old_form(daemon: Daemon) -> None:
    wire = daemon.start()
    wire.server.wait_for("connection closed$")
    for start in wire.server.log[0::2]:
        assert re.match(TIME, start)
    for counters in wire.server.log[1::2]:
        assert re.fullmatch(
            r"  \[pairs_by_fhs=\d+ data_to_send=\d+ connected_fhs=\d+ online_timers=\d+ cleanup_timers=\d+"
            r" events=\d+\]",
            counters,
        )
    assert in_order(
        messages(wire),
        r"^Starting\. Opened files limit \(ulimit -n\): \d+\.$",
        rf"^CONFIG: appending configuration from {daemon.conf}$",
        r"^WAIT: listening 127\.0\.0\.1:\d+$",
        r"^IN: listening 127\.0\.0\.1:\d+$",
        r"^IN: 127\.0\.0\.1:\d+: DEBUG: connection opened$",
        r"^IN: 127\.0\.0\.1:\d+: DEBUG: read 6 bytes$",
        r"^IN: 127\.0\.0\.1:\d+: DEBUG: received aux command: ONLINE$",
        r"^IN: 127\.0\.0\.1:\d+: DEBUG: sending 0 online identifiers$",
        r"^IN: 127\.0\.0\.1:\d+: DEBUG: connection closed$",
    )


@pytest.mark.parametrize("verbosity", [0, 1])
def test_verbosity(daemon: Daemon, verbosity: int) -> None:
    daemon.configure(f"VERBOSITY => {verbosity},")
    if verbosity:
        wire = daemon.start()
        assert not any(
            line.startswith("[") and "20" in line[:30] for line in wire.server.log if "registered" not in line
        )
        return
    process = subprocess.Popen(
        [sys.executable, *PROGRAM, str(daemon.conf)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    eventually(lambda: len(listening(process.pid)), 2)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120)[0] == b""


@contextlib.contextmanager
def taken(host: str, port: int) -> Iterator[None]:
    """While this port is in use: by us, or by somebody else, such as another run of this test, if that does not end."""
    held: list[socket.socket] = []

    def hold() -> bool:
        with contextlib.suppress(OSError):
            held.append(socket.create_server((host, port)))
        return bool(held)

    with contextlib.suppress(AssertionError):
        eventually(hold)
    yield
    for sock in held:
        sock.close()


def test_a_missing_configuration_is_skipped(tmp_path: Path) -> None:
    """The old server went on with its defaults; here they cannot be had, as something serves there already."""
    with taken("0.0.0.0", 8088), taken("127.0.0.1", 10010):
        done = subprocess.run(
            [sys.executable, *PROGRAM, str(tmp_path / "no.conf")],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert f"CONFIG: file {tmp_path}/no.conf does not exist, skipping" in done.stdout
    assert "cannot listen on 0.0.0.0:8088: Address already in use" in done.stderr
    assert "cannot listen on 127.0.0.1:10010: Address already in use" in done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr


def test_a_pid_file_that_cannot_be_written(daemon: Daemon) -> None:
    done = subprocess.run(
        [sys.executable, *PROGRAM, "-p", "/no/such/dir/pid", str(daemon.conf)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot write the pid file /no/such/dir/pid: No such file or directory" in done.stderr


class TestReload:
    def test_options_that_change_while_serving(self, daemon: Daemon) -> None:
        daemon.configure('CHARSET => "utf-8", MAX_DATA_FOR_ID => 30,')
        wire = daemon.start()
        child = child_of(wire.server.process.pid)
        waiting = wire.listen("1:a")
        daemon.configure('CHARSET => "windows-1251", MAX_DATA_FOR_ID => 1,')
        daemon.hang_up()
        wire.server.wait_for(r"SIGHUP received, reloading the config$")
        wire.server.wait_for(r"Option CHARSET is changed: utf-8 -> windows-1251$")
        wire.server.wait_for(r"Option MAX_DATA_FOR_ID is changed: 30 -> 1$")
        for cursor in ("5", "6"):
            wire.send(f"{cursor}:b", cursor)
        late = wire.on_wait(b"identifier=1:b\n").rest()
        assert late == CLOSED.replace(b"utf-8", b"windows-1251") + blocks(({"b": "6"}, "6"))
        wire.send("5:a", "1")  # who waited then still does
        assert waiting.rest() == blocks(({"a": "5"}, "1"))
        assert child_of(wire.server.process.pid) == child

    def test_a_new_address_restarts_the_server(self, daemon: Daemon) -> None:
        wire = daemon.start()
        old_wait = wire.wait
        listener = wire.listen("a")
        port = free_port()
        daemon.configure(wait=f"127.0.0.1:{port}", in_=f"127.0.0.1:{wire.in_[1]}")
        daemon.hang_up()
        wire.server.wait_for(rf"Option WAIT_ADDR is changed: 127\.0\.0\.1:0 -> 127\.0\.0\.1:{port}$")
        assert listener.rest() == b""  # answered as if its time had come
        wire.server.wait_for(rf"WAIT: listening 127\.0\.0\.1:{port}$")
        wire.wait = ("127.0.0.1", port)

        def serves() -> bool:
            try:
                wire.listen("1:b").close()
            except (ConnectionError, AssertionError):
                return False
            return True

        eventually(serves)
        assert daemon.pid() == wire.server.process.pid
        with pytest.raises(ConnectionError):
            socket.create_connection(old_wait)

    def test_a_broken_file_changes_nothing(self, daemon: Daemon) -> None:
        wire = daemon.start()
        daemon.conf.write_text("%CONFIG = (\n  WAIT_TIMEOUT => foo(),\n);\n")
        daemon.hang_up()
        wire.server.wait_for(rf"ERROR: {daemon.conf}:2: WAIT_TIMEOUT: ")
        wire.server.wait_for("the old configuration stays in force")
        wire.listen("a").close()


class TestSupervision:
    def test_a_server_that_dies_is_started_again(self, daemon: Daemon) -> None:
        wire = daemon.start()
        child = child_of(daemon.pid())
        os.kill(child, signal.SIGKILL)
        wire.server.wait_for(r"The server ended with status -9\.")
        wire.listen("1:a").close()  # nobody is refused meanwhile: the listening sockets live on
        assert child_of(daemon.pid()) != child
        assert wire.server.stop(signal.SIGINT) == 0

    def test_no_server_without_its_supervisor(self, daemon: Daemon) -> None:
        wire = daemon.start()
        child = child_of(daemon.pid())
        wire.server.process.kill()
        eventually(lambda: Path(f"/proc/{child}").exists(), False)

    @pytest.mark.parametrize("limit", ["0.5", "10"])
    def test_more_memory_than_allowed_restarts_it(self, daemon: Daemon, limit: str) -> None:
        daemon.configure(f"MAX_MEM_MB => {limit},")
        wire = daemon.start()
        child = child_of(daemon.pid())
        found = wire.server.wait_for(
            rf"Daemon process uses (\d+) MB of memory which is larger than {re.escape(limit)} MB\. Killing\.\.\.$"
        )
        assert int(found[1]) > 10
        wire.server.wait_for(r"Normally terminated\.$")
        eventually(lambda: child_of(daemon.pid()) != child, True)
        lines = [line for line in messages(wire) if re.search("Daemon|SIG|terminated", line)]
        assert [line.partition(" uses")[0] for line in lines[:3]] == [
            "Daemon process",
            "SIGINT received, exiting",
            "Normally terminated.",
        ]


class TestProcess:
    def test_its_name(self, daemon: Daemon) -> None:
        wire = daemon.start()
        for pid in (daemon.pid(), child_of(wire.server.process.pid)):
            assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == b"dklab_realplexor"
            assert Path(f"/proc/{pid}/comm").read_text() == "dklab_realplexo\n"  # the kernel keeps 15 characters

    @as_root
    def test_privileges_are_dropped(self, daemon: Daemon) -> None:
        daemon.configure(user='"nobody"')
        wire = daemon.start()
        wire.server.wait_for('Switching current user to unprivileged "nobody"$')
        status = Path(f"/proc/{child_of(daemon.pid())}/status").read_text()
        assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.MULTILINE)
        assert re.search(r"^Gid:\t(\d+)\t\1\t\1\t\1$", status, re.MULTILINE)
        assert not re.search(r"^Groups:.*\b0\b", status, re.MULTILINE)
        assert wire.on_in(http("POST /?identifier=5:a HTTP/1.1\nHost: h", b"1")).answer()[1] == b"a 5\n"

    @as_root
    def test_pages_are_served_as_nobody(self, daemon: Daemon) -> None:
        """Also where only root can read the Python that runs this, as under /root."""
        daemon.configure(user='"nobody"')
        assert b"Dklab_Realplexor" in daemon.start().on_wait(b"identifier=SCRIPT\n").rest()

    @as_root
    def test_logins_are_checked_as_nobody(self, daemon: Daemon) -> None:
        users = daemon.conf.with_name("users")
        users.write_text(f"me:{bcrypt.using(rounds=4).hash('pw')}\n")
        daemon.configure(f'USERS_FILE => "{users}",', user='"nobody"')
        server = LiveServer(str(daemon.conf), command=(), addresses=False, program=PROGRAM)
        daemon.servers.append(server)
        wire = Wire(server)
        assert wire.on_in(http("POST /?identifier=me:pw@5:me_a HTTP/1.1\nHost: h", b"1")).answer()[1] == b"me_a 5\n"

    @as_root
    def test_reload_as_nobody(self, daemon: Daemon) -> None:
        daemon.configure(user='"nobody"')
        wire = daemon.start()
        daemon.configure("MAX_DATA_FOR_ID => 1,", user='"nobody"')
        daemon.hang_up()
        wire.server.wait_for(r"Option MAX_DATA_FOR_ID is changed: 30 -> 1$")

    @as_root
    def test_a_new_user_restarts_the_server(self, daemon: Daemon) -> None:
        wire = daemon.start()
        child = child_of(daemon.pid())
        daemon.configure(user='"nobody"', wait=f"127.0.0.1:{wire.wait[1]}", in_=f"127.0.0.1:{wire.in_[1]}")
        daemon.hang_up()
        wire.server.wait_for(r"Option SU_USER is changed:  -> nobody$")
        wire.server.wait_for('Switching current user to unprivileged "nobody"$')
        wire.command("ONLINE")
        assert child_of(daemon.pid()) != child
