"""The command `rplx`: what it prints, where, and its exit status."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rplx
from rplx.cli.command import main
from rplx.client import Realplexor
from tests import redis_server
from tests.clients.stub import StubConnection, StubServer, answering
from tests.live import LiveServer
from tests.waiting import eventually

Capture = pytest.CaptureFixture[str]


def run(*arguments: str, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
    """`rplx` in a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "rplx", *arguments],
        input=stdin,
        capture_output=True,
        timeout=120,
        env={**os.environ, **environ},
        start_new_session=True,
        check=False,
    )


def address(server: StubServer) -> str:
    return "%s:%d" % server.address


def body(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def refusing(status: str, text: str) -> StubServer:
    def conversation(connection: StubConnection, number: int) -> None:
        connection.read()
        connection.answer(text, status, "Connection: close\r\n")

    return StubServer(conversation)


def test_version_and_help(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rplx {rplx.__version__}\n"
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in (
        "serve",
        "demo",
        "send",
        "online",
        "watch",
        "stats",
        "listen",
        "doctor",
        "grant",
        "history",
        "migrate-config",
    ):
        assert f"\n    {name}" in shown
        assert main([name, "--help"]) == 0
        capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["sned"], "invalid choice: 'sned'"),
        (["send"], "the following arguments are required: ID[,ID...]"),
        (["send", "--no-such"], "the following arguments are required"),
        (["online", "--no-such"], "unrecognized arguments: --no-such"),
        (["serve", "--set", "wait.timeout"], '"wait.timeout" is not OPTION=VALUE'),
        (["listen", "a", "--count", "0"], '"0" is not a whole number above 0'),
        (["listen", "a", "--transport", "pigeon"], "invalid choice: 'pigeon'"),
        (["online", "--timeout", "nan"], '"nan" is not a number of seconds'),
        (["send", "abc", "hello"], "rplx send: the message is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (["send", "abc", "hello"], "to send it as a text, quote it twice: '\"hello\"'"),
        (["send", "a b", "1"], 'rplx send: Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "a b" given'),
        (["send", "a,", "1"], 'rplx send: Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "" given'),
        (["send", "x:abc", "1"], 'rplx send: Cursor must be numeric, "x" given'),
        (
            ["send", "abc", "1", "--limit-to", "d/f"],
            'rplx send: Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "d/f" given',
        ),
        (
            ["send", "abc", "1", "--limit-to", ""],
            'rplx send: Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "" given',
        ),
        (["online", "a/b"], 'rplx online: Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "a/b" given'),
        (["watch", "--from", "x"], 'rplx watch: Position value must be numeric, "x" given'),
        (["online", "--in", "nowhere"], 'rplx online: --in or RPLX_IN: "nowhere" is not HOST:PORT'),
        (["listen", "abc", "--wait", "ftp://h/"], "rplx listen: WAIT URL must be http://HOST:PORT/"),
        (["migrate-config", "no-such.conf"], "no-such.conf: cannot read the configuration file: No such file"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str, capsys: Capture) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert text in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


class TestSend:
    def test_receipt(self, capsys: Capture) -> None:
        with StubServer(answering("abc 1795346940.571800\ndef 5\n")) as server:
            assert main(["send", "--in", address(server), "abc,5:def", '{"a": 1.10}', "--limit-to", "x,y"]) == 0
            assert capsys.readouterr().out == "abc 1795346940.571800\ndef 5\n"
            assert main(["send", "--in", address(server), "abc,def", "null", "--json"]) == 0
            assert json.loads(capsys.readouterr().out) == {"abc": "1795346940.571800", "def": "5"}
        assert b"identifier=abc,5:def,*x,*y\r\n" in server.requests[0]
        assert body(server.requests[0]) == b'{"a": 1.10}'

    @pytest.mark.parametrize("arguments", [["abc"], ["abc", "-"]])
    def test_from_stdin(self, arguments: list[str]) -> None:
        with StubServer(answering("abc 1\n")) as server:
            done = run("send", "--in", address(server), *arguments, stdin='{"k": "ж"}\n'.encode())
            assert (done.returncode, done.stdout, done.stderr) == (0, b"abc 1\n", b"")
            assert body(server.requests[0]) == '{"k": "ж"}'.encode()

    @pytest.mark.parametrize("stdin", [b"", b"hello", b'{"a": NaN}', b"\xff"])
    def test_stdin_that_is_not_json(self, stdin: bytes) -> None:
        done = run("send", "abc", stdin=stdin)
        assert done.returncode == 2
        assert done.stderr.startswith(b"rplx send: stdin is not JSON: ")

    def test_refused(self, capsys: Capture) -> None:
        with refusing("413 Content Too Large", "more than 204800 bytes\n") as server:
            assert main(["send", "--in", address(server), "abc", "1"]) == 1
        assert capsys.readouterr() == ("", "rplx send: 413 Content Too Large: more than 204800 bytes\n")

    def test_partly_stored(self, capsys: Capture) -> None:
        with StubServer(answering("abc 5\n")) as server:
            assert main(["send", "--in", address(server), "abc,def", "1"]) == 1
        assert capsys.readouterr() == ("abc 5\n", "rplx send: not stored in def: not owned by this login\n")


class TestAddressAndLogin:
    def test_connection_refused_says_where_and_how_to_change_it(self, capsys: Capture) -> None:
        port = redis_server.free_port()
        assert main(["stats", "--in", f"127.0.0.1:{port}"]) == 1
        assert capsys.readouterr().err == (
            f"rplx stats: 127.0.0.1:{port}: Connection refused "
            "(is the server running there? another address: --in HOST:PORT or RPLX_IN)\n"
        )
        assert main(["listen", "abc", "--wait", f"127.0.0.1:{port}"]) == 1
        assert "another address: --wait URL or RPLX_WAIT)" in capsys.readouterr().err

    def test_address_from_the_environment(self) -> None:
        with StubServer(answering("abc 2\n")) as server:
            done = run("online", RPLX_IN=address(server))
            assert (done.returncode, done.stdout) == (0, b"abc 2\n")

    def test_login_and_namespace(self, capsys: Capture) -> None:
        with StubServer(answering("dk_n_abc 2\n")) as server:
            arguments = ["--in", address(server), "--login", "dk:p:w", "--namespace", "n_", "a"]
            assert main(["online", *arguments]) == 0
            assert capsys.readouterr().out == "abc 2\n"
        assert b"X-Realplexor: identifier=dk:p:w@\r\n" in server.requests[0]
        assert body(server.requests[0]) == b"ONLINE dk_n_a\n"

    def test_password_from_the_environment(self) -> None:
        with StubServer(answering("")) as server:
            assert run("online", "--in", address(server), "--login", "dk", RPLX_PASSWORD="geheim").returncode == 0
            assert b"identifier=dk:geheim@\r\n" in server.requests[0]

    def test_no_password_and_no_terminal(self) -> None:
        """Stdin is not read for one: it holds the message."""
        done = run("send", "--login", "dk", "abc", stdin=b'"secret"')
        assert done.returncode == 2
        assert done.stderr == (
            b"rplx send: no terminal to ask for the password on; give --login dk:PASSWORD or RPLX_PASSWORD\n"
        )

    def test_password_is_asked_for(self) -> None:
        """On a terminal of its own, without an echo."""
        with StubServer(answering("")) as server:
            child, terminal = os.forkpty()
            if child == 0:
                os.environ.pop("RPLX_PASSWORD", None)
                arguments = ["online", "--in", address(server), "--login", "dk"]
                os.execv(sys.executable, [sys.executable, "-m", "rplx", *arguments])
            shown = b""
            while b"Password for dk: " not in shown:
                shown += os.read(terminal, 1000)
            time.sleep(0.1)
            os.write(terminal, b"geheim\n")
            assert os.waitpid(child, 0)[1] == 0
            shown += os.read(terminal, 1000)
            os.close(terminal)
            assert b"geheim" not in shown
            assert b"identifier=dk:geheim@\r\n" in server.requests[0]


class TestQuestions:
    def test_online_json(self, capsys: Capture) -> None:
        with StubServer(answering("abc 2\ndef 0\n")) as server:
            assert main(["online", "--in", address(server), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"abc": 2, "def": 0}

    def test_stats(self, capsys: Capture) -> None:
        text = "[data_to_send]\nabc => [20: 3b]\n\n[connected_fhs]\n"
        with StubServer(answering(text)) as server:
            assert main(["stats", "--in", address(server)]) == 0
            assert capsys.readouterr().out == text
            assert main(["stats", "--in", address(server), "--json"]) == 0
            assert json.loads(capsys.readouterr().out) == {"data_to_send": {"abc": "[20: 3b]"}, "connected_fhs": {}}

    def test_watch_once(self, capsys: Capture) -> None:
        with StubServer(answering("FAKE 12:FAKE\n", "online 11:abc\noffline 12:def\n")) as server:
            assert main(["watch", "--in", address(server), "--once"]) == 0
            assert capsys.readouterr().out == "FAKE 12:FAKE\n"
        with StubServer(answering("online 11:abc\noffline 12:def\n")) as server:
            assert main(["watch", "--in", address(server), "--once", "--from", "10", "a", "d"]) == 0
            assert capsys.readouterr().out == "online 11:abc\noffline 12:def\n"
            assert body(server.requests[0]) == b"WATCH 10 a d\n"
            assert main(["watch", "--in", address(server), "--once", "--from", "10", "--json"]) == 0
            first, second = map(json.loads, capsys.readouterr().out.splitlines())
            assert first == {"event": "online", "pos": "11", "id": "abc"}
            assert second == {"event": "offline", "pos": "12", "id": "def"}

    def test_watch_follows_until_ctrl_c(self) -> None:
        """Lines come while it runs, also into a pipe."""
        with StubServer(answering("FAKE 10:FAKE\n", "online 11:abc\n", "", "offline 12:abc\n", "")) as server:
            command = [sys.executable, "-m", "rplx", "watch", "--in", address(server), "--interval", "0.05"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                assert process.stdout.readline() == b"online 11:abc\n"
                assert process.stdout.readline() == b"offline 12:abc\n"
                process.send_signal(signal.SIGINT)
                assert process.wait(120) == 0
                assert process.stderr.read() == b""

    def test_reader_that_ends_early(self) -> None:
        """`rplx watch | head -1` ends without a complaint."""
        lines = "".join(f"online {number}:abc\n" for number in range(11, 5000))
        with StubServer(answering(lines)) as server:
            command = [sys.executable, "-m", "rplx", "watch", "--in", address(server), "--from", "10"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                assert process.stdout.readline() == b"online 11:abc\n"
                process.stdout.close()
                assert process.wait(120) == 0
                assert process.stderr.read() == b""


class TestListen:
    def test_prints_messages(self, capsys: Capture) -> None:
        answers = (
            " \r\n",
            ' \r\n[{"ids": {"n_a": "7", "n_b": "8.5"}, "data": {"k": "ж"}}, {"ids": {"n_a": "9"}, "data": 1}]',
        )
        for form, shown in (
            ([], '7:a,8.5:b {"k": "ж"}\n9:a 1\n'),
            (["--json"], '{"ids": {"a": "7", "b": "8.5"}, "data": {"k": "ж"}}\n{"ids": {"a": "9"}, "data": 1}\n'),
        ):
            with StubServer(answering(*answers)) as server:
                options = ["--wait", address(server), "--namespace", "n_", "--count", "2"]
                assert main(["listen", "a,5:b", *options, *form]) == 0
                assert capsys.readouterr().out == shown
                stream, position, *_ = server.requests
                assert stream.startswith(b"GET /?identifier=n_a,5:n_b&stream&client=")
                assert position.startswith(b"GET /?identifier=n_a,5:n_b&json&position HTTP/1.1\r\n")

    @pytest.mark.parametrize(
        ("transport", "targets"),
        [("auto", ["stream", "json&position"]), ("stream", ["stream"]), ("poll", ["json&position"])],
    )
    def test_the_transport(self, transport: str, targets: list[str], capsys: Capture) -> None:
        answers = (" \r\n", ' \r\n[{"ids": {"a": "7"}, "data": 1}]')
        with StubServer(answering(*answers)) as server:
            status = main(["listen", "a", "--wait", server.url, "--count", "1", "--transport", transport])
            asked = [request.split(b" ")[1].decode().partition("&client=")[0] for request in server.requests]
        assert asked[: len(targets)] == [f"/?identifier=a&{target}" for target in targets]
        if transport == "stream":
            assert status == 1
            assert capsys.readouterr().err.endswith("the server has no event streams\n")
        else:
            assert status == 0
            assert capsys.readouterr().out == "7:a 1\n"

    def test_gap_and_refusal(self, capsys: Capture) -> None:
        def gap(connection: StubConnection, number: int) -> None:
            connection.read()
            connection.answer(" \r\n", headers="X-Realplexor-Cursor: 5\r\nX-Realplexor-Gap: a\r\n")
            connection.read()
            connection.answer("Empty identifier passed\n", "400 Bad Request", "Connection: close\r\n")

        with StubServer(gap) as server:
            assert main(["listen", "1:a", "--wait", server.url]) == 1
        assert capsys.readouterr().err == (
            "rplx listen: messages may have been missed in a\nrplx listen: 400 Bad Request: Empty identifier passed\n"
        )


class TestMigrateConfig:
    def test_prints_toml(self, tmp_path: Path, capsys: Capture) -> None:
        old = tmp_path / "old.conf"
        old.write_text("$CONFIG{WAIT_TIMEOUT} = 60 * 2;\nreturn 1;\n")
        assert main(["migrate-config", str(old)]) == 0
        assert "[wait]\n" in (shown := capsys.readouterr().out)
        assert "timeout = 120" in shown

    def test_names_what_cannot_be_read(self, tmp_path: Path, capsys: Capture) -> None:
        old = tmp_path / "old.conf"
        old.write_text("$CONFIG{WAIT_TIMEOUT} = 'x';\n$CONFIG{IN_TIMEOUT} = 'y';\n")
        assert main(["migrate-config", str(old)]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line.partition(": ")[0] for line in lines] == [f"{old}:1", f"{old}:2"]


def test_starts_without_gevent() -> None:
    """`rplx send` has nothing to wait for: neither gevent nor the server is imported."""
    program = (
        "import sys, rplx.cli.command; import rplx.client; "
        "sys.exit('gevent' in sys.modules or 'rplx.options.reading' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_broken_stdin_is_not_read_twice(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """A message given as an argument leaves stdin alone."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"nonsense")))
    with StubServer(answering("abc 1\n")) as server:
        assert main(["send", "--in", address(server), "abc", "5"]) == 0
    assert capsys.readouterr().out == "abc 1\n"


class TestHealth:
    def test_waits_for_the_server(self) -> None:
        assert run("health", "--set", "wait.listen=127.0.0.1:1", "--wait", "0.3").returncode == 1
        wait = f"127.0.0.1:{redis_server.free_port()}"
        command = [sys.executable, "-m", "rplx", "health", "--set", f"wait.listen={wait}", "--wait", "60"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as waiting:
            with LiveServer("--wait", wait, "--in", "127.0.0.1:0", addresses=False):
                assert waiting.communicate(timeout=120)[0] == f"{wait} answers\n".encode()
            assert waiting.returncode == 0

    @pytest.mark.skipif(not redis_server.AVAILABLE and not os.environ.get("CI"), reason="needs redis-server")
    @pytest.mark.parametrize("users", ["", "bob:secret\n"])
    def test_tells_that_redis_is_away(self, users: str, tmp_path: Path) -> None:
        file = tmp_path / "users"
        file.write_text(users)
        given = ("--set", f"users.file={file}") if users else ()
        with redis_server.RedisServer() as redis:
            engine = ("--set", f"engine.url={redis.url}")
            with LiveServer(*engine, *given) as server:
                at = [f"wait.listen={server.wait[0]}:{server.wait[1]}", f"in.listen={server.in_[0]}:{server.in_[1]}"]
                arguments = ("health", *engine, "--set", at[0], "--set", at[1])
                assert run(*arguments).returncode == 0
                redis.kill()
                eventually(lambda: run(*arguments).returncode, 1)
                told = run(*arguments).stderr
                assert re.match(rb"rplx health: 127\.0\.0\.1:\d+: answered 503: Redis does not answer", told)

    def test_an_in_line_is_no_wait_line(self) -> None:
        with LiveServer() as server:
            asked = run("health", "--set", f"wait.listen={server.in_[0]}:{server.in_[1]}")
        assert asked.returncode == 1
        assert re.match(rb"rplx health: 127\.0\.0\.1:\d+: answered 405, as no WAIT line does", asked.stderr)

    def test_a_server_of_a_version_without_health(self) -> None:
        def older(connection: StubConnection, number: int) -> None:
            connection.answer("", "404 Not Found" if b"/health" in connection.read() else "200 OK")

        with StubServer(older) as server:
            where = address(server)
            options = ["--set", f"wait.listen={where}", "--set", f"in.listen={where}"]
            assert main(["health", *options, "--set", "engine.url=redis://127.0.0.1:1/0"]) == 0
        lines = [request.partition(b" HTTP")[0] for request in server.requests]
        assert lines == [b"GET /health", b"GET /?identifier=SCRIPT", b"POST /"]


class TestLive:
    def test_send_listen_online_watch(self, capsys: Capture) -> None:
        with LiveServer() as server:
            in_, wait = ("{}:{}".format(*at) for at in (server.in_, server.wait))
            command = [sys.executable, "-m", "rplx", "listen", "abc", "--wait", wait, "--count", "1"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as listening:

                def online() -> str:
                    assert main(["online", "--in", in_]) == 0
                    return capsys.readouterr().out

                eventually(online, "abc 1\n")
                assert main(["send", "--in", in_, "abc,def", '{"k": 1}']) == 0
                cursor = capsys.readouterr().out.split()[1]
                assert listening.communicate(timeout=120)[0] == f'{cursor}:abc {{"k": 1}}\n'.encode()
            assert main(["watch", "--in", in_, "--once", "--from", "10"]) == 0
            assert capsys.readouterr().out == "online 11:abc\n"
            assert main(["stats", "--in", in_, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["data_to_send"] == dict.fromkeys(
                ("abc", "def"), f"[{cursor}: 8b]"
            )

    def test_a_page_is_no_channel_to_listen_to(self, capsys: Capture) -> None:
        with LiveServer() as server:
            assert main(["listen", "SCRIPT", "--wait", "{}:{}".format(*server.wait)]) == 2
        error = 'rplx listen: "SCRIPT" is not a channel of this server: as the first id it asks for a page\n'
        assert capsys.readouterr().err == error

    def test_serve_names_all_problems_at_once(self, tmp_path: Path) -> None:
        file = tmp_path / "rplx.toml"
        file.write_text('[wait]\ntimeout = "x"\n')
        done = run(
            "serve", "--config", str(file), "--in", "nowhere", "--set", "no.such=1", "--workers", "x", RPLX_IN="h:1"
        )
        assert done.returncode == 2
        assert done.stdout == b""
        lines = done.stderr.decode().splitlines()
        assert len(lines) == 4
        for start in (f"{file}:2: wait.timeout", "--set in.listen", "--set no.such", "--set server.workers"):
            assert [line for line in lines if line.startswith(start)], (start, lines)

    def test_port_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            done = run("serve", "--wait", "127.0.0.1:0", "--in", address)
        assert done.returncode == 2
        assert address in done.stderr.decode()
        assert "--in" in done.stderr.decode()

    def test_flags_become_options(self) -> None:
        with LiveServer("--verbose", "--set", "history.max_messages=2") as server:
            client = Realplexor(*server.in_)
            client.send_many([("abc", number) for number in range(5)])
            assert client.stats()["data_to_send"]["abc"].count("[") == 2
            server.wait_for(r"^\[.*\] IN: 127\.0\.0\.1:\d+: DEBUG: added data for \[abc\]$")
