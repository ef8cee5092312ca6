"""Both lines at paths instead of ports (part 9.7)."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rplx.client import (
    ConnectionFailed,
    Dklab_Realplexor,
    Dklab_Realplexor_Exception,
    InvalidArgument,
    Realplexor,
)
from rplx.net.unix_sockets import UnixSocket
from tests.lines.wire import Wire, blocks, http, settings
from tests.live import LiveServer
from tests.waiting import eventually

GET = http("GET /?identifier=1:a HTTP/1.1\nHost: h")


def start(folder: Path, *arguments: str) -> LiveServer:
    lines = ("--wait", f"unix:{folder}/wait", "--in", f"unix:{folder}/in")
    return LiveServer(*lines, *arguments, addresses=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    with start(tmp_path, "--verbose", "--set", "wait.max_connections_per_address=1") as made:
        yield made


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environ}
    line = [sys.executable, "-m", "rplx", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, env=env, check=False)


def test_a_guest_sends_and_listeners_are_not_counted_by_address(server: LiveServer) -> None:
    wire = Wire(server)
    kept = [wire.on_wait(GET) for _ in range(3)]
    eventually(lambda: wire.online("a"), "a 3\n")
    wire.send("5:a", '"heard"')
    for one in kept:
        assert one.answer()[1] == b" \r\n" + blocks(({"a": "5"}, '"heard"'))
    assert wire.poll("1:a") == blocks(({"a": "5"}, '"heard"'))
    server.wait_for(r"WAIT: unix:\d+: .*connection opened")
    server.wait_for(r"IN: unix:\d+: ")


def test_a_reader_that_takes_nothing_is_dropped(tmp_path: Path) -> None:
    options = ("--set", "wait.write_timeout=0.2", "--set", "in.maxlen=9000000")
    with start(tmp_path, *options) as server:
        wire = Wire(server)
        silent = wire.on_wait(GET)
        eventually(lambda: wire.online("a"), "a 1\n")
        wire.send("a", '"' + "x" * 8_000_000 + '"')
        server.wait_for("WAIT: unix: dropped, as it read nothing")
        silent.close()


def test_health_and_clients(server: LiveServer, tmp_path: Path) -> None:
    options = ("--set", f"wait.listen=unix:{tmp_path}/wait", "--set", f"in.listen=unix:{tmp_path}/in")
    done = run("health", *options)
    assert (done.returncode, done.stdout) == (0, f"unix:{tmp_path}/wait answers\n"), done.stderr
    assert run("send", "a", '"1"', RPLX_IN=f"unix:{tmp_path}/in").returncode == 0
    publishes = "import rplx; rplx.publish('a', 2)"
    for named in ({"RPLX_IN": f"unix:{tmp_path}/in"}, {"RPLX_IN_LISTEN": f"unix:{tmp_path}/in"}):
        env = {**os.environ, **named}
        subprocess.run([sys.executable, "-c", publishes], env=env, timeout=120, check=True)
    with Realplexor(f"unix:{tmp_path}/in") as client:
        client.send("a", "3")
        client.send("a", "4")
        with pytest.raises(InvalidArgument, match="wait must be given"):
            client.listen("a")
        with client.listen({"a": 1}, f"unix:{tmp_path}/wait") as listener:
            assert [next(listener).data for _ in range(5)] == ["1", 2, 2, "3", "4"]
    Dklab_Realplexor(f"unix:{tmp_path}/in", 443).send("a", "5")
    assert Dklab_Realplexor(f"unix:{tmp_path}/in", 0).cmdOnline("none") == []
    heard = run("listen", "1:a", "--count", "6", "--wait", f"unix:{tmp_path}/wait")
    assert [line.partition(" ")[2] for line in heard.stdout.splitlines()] == ['"1"', "2", "2", '"3"', '"4"', '"5"']
    with pytest.raises(ConnectionFailed, match=f"unix:{tmp_path}/none: "):
        Realplexor(f"unix:{tmp_path}/none").send("a", "5")
    assert run("health", "--set", f"wait.listen=unix:{tmp_path}/none").returncode == 1
    assert "fd:wait" in run("health", "--set", "wait.listen=fd:wait").stderr


@pytest.mark.parametrize("place", ["unix:", "unix:in.sock", "unix:/" + "x" * 107, "unix:/\0"])
def test_a_path_where_no_socket_can_be(place: str) -> None:
    wanted = "unix:/PATH must be an absolute path of 107 bytes at most"
    for call in (lambda: Realplexor(place), lambda: Realplexor().listen("a", place)):
        with pytest.raises(InvalidArgument, match=wanted):
            call()
    with pytest.raises(Dklab_Realplexor_Exception, match=wanted):
        Dklab_Realplexor(place, 10010)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("send", "a", "1", "--in", "unix:in"), 2, "the path of a socket is absolute"),
        (("send", "a", "1", "--in", "unix:/" + "x" * 107), 2, "unix:/PATH must be an absolute path of 107 bytes"),
        (("send", "a", "1", "--in", "unix:/none", "--tls"), 2, "unix:/none: there is no TLS on such sockets"),
        (("send", "a", "1", "--in", "unix:/none"), 1, "unix:/none: No such file or directory (is the server running"),
        (("listen", "a", "--wait", "unix:none"), 2, "unix:/PATH must be an absolute path"),
        (("listen", "a", "--wait", "unix:/none"), 1, "unix:/none: No such file or directory (is the server running"),
        (("health", "--set", "wait.listen=unix:none"), 2, "the path of a socket is absolute"),
        (("health", "--set", "wait.listen=unix:/none"), 1, "unix:/none: No such file or directory (is the server"),
    ],
)
def test_what_the_command_line_says_of_wrong_paths(arguments: tuple[str, ...], status: int, text: str) -> None:
    done = run(*arguments)
    assert (done.returncode, text in done.stderr) == (status, True), done.stderr


@pytest.mark.parametrize("options", [(), ("--set", "server.max_mem_mb=4000")])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_path_is_removed_at_the_end(options: tuple[str, ...], how: signal.Signals, tmp_path: Path) -> None:
    with start(tmp_path, "--set", "server.drain=0.1", *options) as server:
        Wire(server).send("a", "1")
        assert (tmp_path / "wait").is_socket()
        assert server.stop(how) == 0
    assert not list(tmp_path.iterdir())


def test_what_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    with start(tmp_path) as server:
        server.process.kill()
        server.process.wait()
    assert (tmp_path / "wait").is_socket()
    with start(tmp_path) as server:
        Wire(server).send("a", "1")


def test_nobody_elses_path_is_taken(tmp_path: Path) -> None:
    with start(tmp_path) as server:
        (tmp_path / "file").write_text("kept")
        done = run("serve", "--wait", f"unix:{tmp_path}/wait", "--in", f"unix:{tmp_path}/file")
        assert done.returncode == 2
        assert f"cannot listen on unix:{tmp_path}/wait: Address already in use" in done.stderr
        assert f"cannot listen on unix:{tmp_path}/file: there is a file of that name that is no socket" in done.stderr
        assert (tmp_path / "file").read_text() == "kept"
        Wire(server).send("a", "1")


def test_one_that_another_server_has_taken_over_stays(tmp_path: Path) -> None:
    with start(tmp_path) as first:
        for path in tmp_path.iterdir():
            path.unlink()
        with start(tmp_path) as second:
            first.stop()
            Wire(second).send("a", "1")


def test_who_may_connect(tmp_path: Path) -> None:
    for options, mode in (((), 0o660), (("--set", "server.socket_mode=0622"), 0o622)):
        with start(tmp_path, *options):
            assert stat.S_IMODE((tmp_path / "in").stat().st_mode) == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_link_that_replaces_the_socket_gives_nobody_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of root")

    class Replaced(UnixSocket):
        def bind(self, address: object) -> None:
            (tmp_path / "wait").symlink_to(tmp_path / "secret")

    Replaced(f"{tmp_path}/wait", 0o660, "nobody").close()
    assert (tmp_path / "secret").stat().st_uid == 0


@pytest.mark.parametrize("address", ["unix:/" + "x" * 107, "fd:2", "fd:", "fd:a b", "unix:relative"])
def test_wrong_addresses(address: str) -> None:
    done = run("serve", "--check-config", "--set", f"wait.listen={address}")
    assert done.returncode == 2
    assert "wait.listen" in done.stderr


def test_who_comes_at_the_end_is_answered(tmp_path: Path) -> None:
    with start(tmp_path, "--set", "server.drain=3") as server:
        wire = Wire(server)
        waits = [wire.on_wait(GET) for _ in range(2)]
        eventually(lambda: wire.online("a"), "a 2\n")
        server.process.send_signal(signal.SIGTERM)
        assert waits[0].answer()[1] == b" \r\n"
        assert b" 503 " in wire.on_wait(GET).rest()
        wire.send("b", "1")
        assert server.process.wait(120) == 0


def test_a_trusted_proxy_names_the_client_there_too(tmp_path: Path) -> None:
    options = settings("wait.trusted_proxies=unix", "wait.max_connections_per_address=1")
    with start(tmp_path, "--verbose", *options) as server:
        wire = Wire(server)
        polls = [http(f"GET /?identifier=1:a HTTP/1.1\nHost: h\nX-Forwarded-For: 203.0.113.{n}, unix:") for n in (1, 2)]
        held = [wire.on_wait(poll) for poll in polls]
        eventually(lambda: wire.online("a"), "a 2\n")
        server.wait_for(r"WAIT: 203\.0\.113\.2:\d+: DEBUG: \[1:a\] registered")
        assert wire.on_wait(polls[0]).rest().startswith(b"HTTP/1.1 503 ")
        for one in held:
            one.close()
