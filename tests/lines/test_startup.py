"""Starting and ending `rplx serve`: what is wrong is said at once, and by which option to change it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lines.wire import CLOSED, Wire, http
from tests.live import LiveServer
from tests.waiting import accepts, eventually


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`rplx serve` that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "rplx", "serve", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def run_until(*arguments: str, port: int) -> str:
    """All that `rplx serve` prints until it is interrupted, once `port` is served."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rplx", "serve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        eventually(lambda: accepts(("127.0.0.1", port)))
        with socket.create_connection(("127.0.0.1", port), timeout=120) as sock:
            sock.sendall(b"identifier=SCRIPT\n")
            assert sock.recv(100)
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=120)[0]
    finally:
        process.kill()


class TestWhatIsWrong:
    def test_a_port_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
            wait, in_ = taken.getsockname()[1], other.getsockname()[1]
            done = serve("--wait", f"127.0.0.1:{wait}", "--in", f"127.0.0.1:{in_}")
        assert done.returncode in (1, 2)
        shown = done.stdout + done.stderr
        assert (
            f"cannot listen on 127.0.0.1:{wait}: Address already in use; another address is set by wait.listen (--wait)"
            in shown
        )
        assert (
            f"cannot listen on 127.0.0.1:{in_}: Address already in use; another address is set by in.listen (--in)"
            in shown
        )
        assert "Traceback" not in shown

    @pytest.mark.parametrize("address", ["192.0.2.1:0", "no-such-host.invalid:0"])
    def test_an_address_that_is_not_ours(self, address: str) -> None:
        done = serve("--wait", address, "--in", "127.0.0.1:0")
        assert done.returncode in (1, 2)
        assert f"cannot listen on {address}: " in done.stderr
        assert "wait.listen (--wait)" in done.stderr
        assert "Traceback" not in done.stdout + done.stderr

    def test_all_wrong_options_at_once(self, tmp_path: Path) -> None:
        file = tmp_path / "rplx.toml"
        file.write_text('[wait]\ntimeout = "x"\nmaxlne = 5\n\n[in]\nmaxlen = -1\n[nosuch]\n')
        done = serve(
            "--config", str(file), "--set", "history.max_messages=0", "--set", "log.verbosity=9", "--wait", "nowhere"
        )
        assert done.returncode == 2
        for text in (
            f'{file}:2: wait.timeout: must be a number, is "x"',
            f'{file}:3: unknown option wait.maxlne, did you mean "maxlen"?',
            f"{file}:6: in.maxlen: must be at least 1, is -1",
            f"{file}:7: unknown section [nosuch]",
            "--set history.max_messages: must be at least 1, is 0",
            "--set log.verbosity: must be at most 3, is 9",
            '"nowhere" is not HOST:PORT',
        ):
            assert text in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""

    @pytest.mark.parametrize(
        ("setting", "text"),
        [
            ("users.file=/no/such/file", "users.file: cannot read /no/such/file: No such file or directory"),
            ("users.file=/", "users.file: cannot read /: Is a directory"),
            (
                "hooks.check_visibility=nosuch:hook",
                "hooks.check_visibility: cannot load nosuch:hook: No module named 'nosuch'",
            ),
            ("hooks.check_visibility=json:nosuch", "hooks.check_visibility: cannot load json:nosuch: "),
            ("hooks.check_visibility=json:__doc__", "hooks.check_visibility: json:__doc__ is not a function"),
            ("server.user=nosuchuser", 'server.user: there is no user "nosuchuser" on this machine'),
            ("server.workers=2", "more than one process needs an engine.url that they share"),
        ],
    )
    def test_one_wrong_option(self, setting: str, text: str) -> None:
        done = serve("--wait", "127.0.0.1:0", "--in", "127.0.0.1:0", "--set", setting)
        assert done.returncode in (1, 2)
        assert text in done.stderr
        assert "Traceback" not in done.stdout + done.stderr

    def test_a_missing_configuration_file(self) -> None:
        done = serve("--config", "/no/such.toml")
        assert done.returncode == 2
        assert "/no/such.toml: cannot read the configuration file: No such file or directory" in done.stderr


class TestAddresses:
    def test_several(self) -> None:
        with LiveServer(
            "--wait", "127.0.0.1:0", "--wait", "[::1]:0", "--in", "127.0.0.1:0", "--in", "[::1]:0", addresses=False
        ) as server:
            server.wait_for(r"WAIT: listening \[::1\]:\d+")
            match = server.wait_for(r"IN: listening \[::1\]:(\d+)")
            wire = Wire(server)
            listener = wire.listen("1:a")
            with socket.create_connection(("::1", int(match[1]))) as sender:
                sender.sendall(b"identifier=5:a\n\n1")
                sender.shutdown(socket.SHUT_WR)
                assert sender.recv(1) == b""
            assert b'"5"' in listener.rest()


class TestEnd:
    def test_interrupt(self) -> None:
        with LiveServer() as server:
            Wire(server).command("ONLINE")
            assert server.stop(signal.SIGINT) == 0
            server.wait_for(r"^SIGINT received, exiting$")

    def test_terminate_answers_the_waiting_polls(self) -> None:
        with LiveServer("--set", "server.drain=0.5") as server:
            wire = Wire(server)
            text = wire.listen("a")
            kept = wire.on_wait(http("GET /?identifier=a HTTP/1.1\nHost: h"))
            idle = wire.on_wait(http("GET /?identifier=SCRIPT HTTP/1.1\nHost: h"))
            idle.answer()
            eventually(lambda: wire.online("a"), "a 2\n")
            assert server.stop(signal.SIGTERM) == 0
            assert text.rest() == b""
            assert kept.answer()[1] == b" \r\n"
            assert (kept.rest(), idle.rest()) == (b"", b"")
            server.wait_for(r"SIGTERM received, answering 2 waiting polls and exiting")

    def test_a_send_under_way_is_carried_out(self) -> None:
        with LiveServer("--set", "server.drain=1") as server:
            wire = Wire(server)
            sender = wire.on_in(b"POST /?identifier=5:a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n[1")
            wire.command("ONLINE")
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("SIGTERM received")
            sender.send(b"]")
            assert sender.answer()[1] == b"a 5\n"


class TestSignalsRightAfterTheStart:
    """Whoever saw `listening` may send a signal: the process is neither killed by it nor ends with a wrong status."""

    def test_interrupt(self) -> None:
        with LiveServer() as server:
            assert server.stop(signal.SIGINT) == 0

    def test_reload(self) -> None:
        with LiveServer() as server:
            server.process.send_signal(signal.SIGHUP)
            Wire(server).command("ONLINE")
            server.wait_for("SIGHUP received")


class TestReload:
    def test_options_count_from_then_on(self, tmp_path: Path) -> None:
        file = tmp_path / "rplx.toml"
        file.write_text("[wait]\ntimeout = 300\n")
        with LiveServer("--config", str(file)) as server:
            wire = Wire(server)
            waiting = wire.listen("1:a")
            file.write_text('[wait]\ntimeout = 1\ncharset = "koi8-r"\n[history]\nmax_messages = 1\n')
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("^SIGHUP received, reloading the config$")
            server.wait_for(r"^Option wait\.timeout is changed: 300 -> 1$")
            server.wait_for(r"^Option wait\.charset is changed: utf-8 -> koi8-r$")
            server.wait_for(r"^Option history\.max_messages is changed: 30 -> 1$")
            wire.send("5:a", "1")
            wire.send("6:a", "2")
            assert b'"5"' in waiting.rest()
            late = wire.on_wait(b"identifier=b\n")
            assert late.rest() == CLOSED.replace(b"utf-8", b"koi8-r")
            assert wire.on_wait(b"identifier=1:a\n").rest().count(b'"data"') == 1

    def test_a_wrong_file_changes_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "rplx.toml"
        file.write_text("")
        with LiveServer("--config", str(file)) as server:
            wire = Wire(server)
            waiting = wire.listen("1:a")
            file.write_text("[wait]\ntimeout = 1\nnosuch = 1\n")
            server.process.send_signal(signal.SIGHUP)
            server.wait_for(rf"^ERROR: {file}:3: unknown option wait\.nosuch")
            server.wait_for("^ERROR: the old configuration stays in force$")
            wire.send("5:a", "1")
            assert b'"5"' in waiting.rest()
            assert server.process.poll() is None

    def test_what_cannot_change_while_serving_is_said(self, tmp_path: Path) -> None:
        file = tmp_path / "rplx.toml"
        file.write_text("")
        with LiveServer("--config", str(file)) as server:
            Wire(server).command("ONLINE")
            file.write_text('[server]\ntitle = "other"\n')
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("server.title will count from the next restart on")

    def test_a_users_file_is_read_again(self, tmp_path: Path) -> None:
        users = tmp_path / "users"
        users.write_text(":\n")
        with LiveServer("--set", f"users.file={users}") as server:
            wire = Wire(server)
            wire.send("5:a", "1")
            users.write_text("# nobody\n")
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("^SIGHUP received")
            eventually(lambda: wire.ask(b"identifier=a\n\n1")[:30], b"HTTP/1.0 403 Access Deined\r\nCo")
