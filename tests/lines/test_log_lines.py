"""The log that operators grep (protocol page, part 4)."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from passlib.hash import apr_md5_crypt

from tests.lines.test_startup import run_until
from tests.lines.wire import Conversation, Wire, http, in_order, settings
from tests.live import LiveServer
from tests.redis_server import free_port
from tests.waiting import eventually

OPTIONS = settings(
    "log.connections=true",
    "presence.offline_timeout=0.01",
    "wait.timeout=600",
)


def lines_of(wire: Wire, conversation: Conversation, end: str = "connection closed") -> list[str]:
    """The lines of one connection, with `LINE: ` before and its address taken off, up to the end."""
    wire.server.wait_for(rf"{conversation.peer}: DEBUG: (\[.*\] )?{end}$")
    marked = [line for line in wire.server.log if f" {conversation.peer}: " in line]
    return [line.replace(f" {conversation.peer}:", "") for line in marked]


class TestWait:
    def test_a_listener(self, wire: Wire, prefix: str) -> None:
        request = f"identifier=5:{prefix}a\n"
        listener = wire.listen(f"5:{prefix}a")
        wire.send(f"6:{prefix}a", '"x"')
        body = listener.rest()
        assert lines_of(wire, listener) == [
            "WAIT: DEBUG: connection opened",
            f"WAIT: DEBUG: read {len(request)} bytes",
            f"WAIT: DEBUG: [5:{prefix}a] registered",
            f"WAIT: DEBUG: [5:{prefix}a] connection closed",
        ]
        wire.server.wait_for(
            rf"^<- sending 1 responses \({len(body)} bytes\) from \[{prefix}a\] \(print=1, shutdown=1\)$"
        )

    def test_several_channels(self, wire: Wire, prefix: str) -> None:
        listener = wire.listen(f"5:{prefix}a,{prefix}b,{prefix}c")
        listener.close()
        assert f"WAIT: DEBUG: [5:{prefix}a,(and 2 more)] registered" in lines_of(wire, listener)

    def test_without_a_cursor_it_has_the_drawn_one(self, wire: Wire, prefix: str) -> None:
        listener = wire.listen(f"{prefix}a")
        listener.close()
        assert re.search(rf"\[\d{{10}}\.\d{{6}}:{prefix}a\] registered", "\n".join(lines_of(wire, listener)))

    def test_history(self, wire: Wire, prefix: str) -> None:
        for number in (5, 6, 7):
            wire.send(f"{number}:{prefix}a,{number}:{prefix}b", str(number))
        listener = wire.on_wait(f"identifier=5:{prefix}a,6:{prefix}b\n".encode())
        body = listener.rest().partition(b" \r\n")[2]
        lines_of(wire, listener)
        wire.server.wait_for(
            rf"^<- sending 2 responses \({len(body)} bytes\) from \[{prefix}a, {prefix}b\] \(print=1, shutdown=1\)$"
        )

    @pytest.mark.parametrize("kind", ["IFRAME", "SCRIPT"])
    def test_pages(self, wire: Wire, kind: str) -> None:
        client = wire.on_wait(f"identifier={kind}\n".encode())
        client.rest()
        assert f"WAIT: DEBUG: {kind} marker received, sending content" in lines_of(wire, client)

    @pytest.mark.parametrize(
        "request_", [b"identifier=\n", http("GET /?identifier= HTTP/1.1\nHost: h\nConnection: close")]
    )
    def test_no_channel(self, wire: Wire, request_: bytes) -> None:
        client = wire.on_wait(request_)
        client.rest()
        client.close()
        assert "WAIT: ERROR: Empty identifier passed" in lines_of(wire, client)

    def test_overflow(self, wire: Wire) -> None:
        client = wire.on_wait(b"x" * 5121)
        client.rest()
        assert "WAIT: ERROR: overflow (received 5121 bytes total)" in lines_of(wire, client)


class TestIn:
    @pytest.mark.parametrize(
        ("ids", "steps"),
        [
            ("5:~a", ["DEBUG: parsed IDs", "DEBUG: added data for [~a]"]),
            ("5:~a,~b", ["DEBUG: parsed IDs", "DEBUG: added data for [~a,~b]"]),
            ("5:~a,*~l,*~m", ["DEBUG: parsed IDs; limiters are (~l, ~m)", "DEBUG: added data for [~a]"]),
        ],
    )
    def test_send(self, wire: Wire, prefix: str, ids: str, steps: list[str]) -> None:
        data = f"identifier={ids}\n\n1".replace("~", prefix)
        sender = wire.on_in(data.encode(), end=True)
        sender.rest()
        lines = lines_of(wire, sender)
        assert [line for line in lines if " bytes" not in line] == [
            "IN: DEBUG: connection opened",
            *[f"IN: {step}".replace("~", prefix) for step in steps],
            "IN: DEBUG: connection closed",
        ]
        assert sum(int(number) for number in re.findall(r"read (\d+) bytes", "\n".join(lines))) == len(data)

    @pytest.mark.parametrize("data", [b"identifier=a\n1", b"hello"])
    def test_no_body(self, wire: Wire, data: bytes) -> None:
        sender = wire.on_in(data, end=True)
        sender.rest()
        assert any(line.endswith("passed empty HTTP body, ignored") for line in lines_of(wire, sender))

    @pytest.mark.parametrize(
        ("command", "received", "sending"),
        [
            ("ONLINE\n\n", "ONLINE", r"sending \d+ online identifiers"),
            ("online ~a ~b\n\n", "ONLINE ~a ~b", "sending 0 online identifiers"),
            ("WATCH\n\n", "WATCH", r"sending \d+ events"),
            ("watch 99999\n\n", "WATCH 99999", r"sending \d+ events"),
            ("STATS\n\n", "STATS", "sending stats"),
        ],
    )
    def test_commands(self, wire: Wire, prefix: str, command: str, received: str, sending: str) -> None:
        sender = wire.on_in(command.replace("~", prefix).encode())
        sender.rest()
        lines = lines_of(wire, sender)
        assert f"IN: DEBUG: received aux command: {received}".replace("~", prefix) in lines
        assert re.fullmatch(f"IN: DEBUG: {sending}", lines[-2])

    @pytest.mark.parametrize("length", [204801])
    def test_overflow(self, wire: Wire, length: int) -> None:
        sender = wire.on_in(b"identifier=a\n\n" + b"1" * (length - 14))
        sender.rest()
        assert any("ERROR: overflow (received" in line for line in lines_of(wire, sender))

    def test_users(self, tmp_path: Path) -> None:
        (tmp_path / "users").write_text(f"me:{apr_md5_crypt.hash('pw')}\n")
        with LiveServer("--set", f"users.file={tmp_path}/users", "--set", "log.connections=true") as server:
            wire = Wire(server)
            sender = wire.on_in(b"identifier=me:pw@5:me_a,5:b,*l\n\n1", end=True)
            sender.rest()
            lines = lines_of(wire, sender)
            assert in_order(
                lines,
                r'IN: DEBUG: parsed IDs; limiters are \(l\); login is "me"$',
                r"IN: DEBUG: skipping not owned \[b\] for login me$",
                r"IN: DEBUG: added data for \[me_a\]$",
            )
            for marker, text in (
                ("a", "access denied for guest user"),
                ("you:pw@a", "unknown login: you"),
                ("me:x@a", "invalid password for login: me"),
            ):
                sender = wire.on_in(f"identifier={marker}\n\n1".encode(), end=True)
                sender.rest()
                assert f"IN: ERROR: {text}" in lines_of(wire, sender)


@pytest.mark.parametrize("count", [20, 3000])  # 3000 take more than one turn of a delivery
def test_order_within_one_send(wire: Wire, prefix: str, count: int) -> None:
    """`added data`, every `<- sending`, the IN connection's end, then each listener's end."""
    listeners = [wire.listen(f"5:{prefix}a") for _ in range(count)]
    before = len(wire.server.log)
    sender = wire.on_in(f"identifier=6:{prefix}a\n\n1".encode(), end=True)
    sender.rest()
    for listener in listeners:
        listener.rest()
    eventually(lambda: sum(f"[5:{prefix}a] connection closed" in line for line in wire.server.log), count)
    patterns = ("added data", "<- sending", "IN: .*closed", "WAIT: .*closed")
    steps = [
        next((number for number, pattern in enumerate(patterns) if re.search(pattern, line)), None)
        for line in wire.server.log[before:]
    ]
    found = [step for step in steps if step is not None]
    assert found.count(1) == count
    assert found == sorted(found)


def test_timers(wire: Wire, prefix: str) -> None:
    wire.listen(f"{prefix}a").close()
    wire.server.wait_for(rf"^\[{prefix}a\] is now offline$")


class TestVerbosity:
    TIME = r"\[(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\] "
    COUNTERS = (
        r"  \[pairs_by_fhs=(\d+) data_to_send=(\d+) connected_fhs=(\d+) online_timers=(\d+) cleanup_timers=(\d+)"
        r" events=(\d+)\]"
    )

    def test_0_prints_nothing(self, tmp_path: Path) -> None:
        wait, in_ = free_port(), free_port()
        out = run_until(
            "--wait",
            f"127.0.0.1:{wait}",
            "--in",
            f"127.0.0.1:{in_}",
            "--set",
            "log.verbosity=0",
            "--set",
            "log.connections=true",
            port=wait,
        )
        assert out == ""

    def test_1_prints_the_message(self) -> None:
        with LiveServer("--set", "log.verbosity=1") as server:
            assert re.fullmatch(r"Starting\. Opened files limit \(ulimit -n\): \d+\.", server.log[0])
            told = "History is in memory and ends with the process; --set engine.url=sqlite:///FILE keeps it"
            assert server.log[1] == told
            assert re.fullmatch(r"WAIT: listening 127\.0\.0\.1:\d+", server.log[2])
            assert re.fullmatch(r"IN: listening 127\.0\.0\.1:\d+", server.log[3])

    def test_of_history_in_memory_nothing_is_told_where_it_is_on_disk_or_a_sandbox(self, tmp_path: Path) -> None:
        for more in (("--set", f"engine.url=sqlite:///{tmp_path}/history.db"), ("--demo",)):
            with LiveServer(*more) as server:
                assert not any("History is in memory" in line for line in server.log)

    def test_2_prints_the_time_before_it(self) -> None:
        with LiveServer("--set", "log.verbosity=2", "--set", "log.connections=true") as server:
            Wire(server).send("5:a", "1")
            server.wait_for("connection closed")
            assert all(re.match(self.TIME + r"\S", line) for line in server.log)

    def test_3_prints_counters_behind_it(self) -> None:
        with LiveServer("--set", "log.verbosity=3", "--set", "log.connections=true") as server:
            wire = Wire(server)
            wire.send("5:a", "1")
            listeners = [wire.listen("9:a,9:b"), wire.listen("9:b")]
            wire.send("5:c", "1")
            server.stop(signal.SIGINT)
            messages, counters = server.log[0::2], server.log[1::2]
            assert all(re.match(self.TIME, line) for line in messages)
            assert all(re.fullmatch(self.COUNTERS, line) for line in counters)
            match = re.fullmatch(self.COUNTERS, counters[-1])
            assert match
            assert match.groups() == ("2", "2", "2", "2", "2", "2")
            assert messages[-1].endswith("SIGINT received, exiting")
            assert listeners


def test_control_characters_of_a_client_do_not_make_lines(wire: Wire) -> None:
    sender = wire.on_in(b"ONLINE a\x1b[2J\x00b\x85\n\n")
    sender.rest()
    told = r"received aux command: ONLINE a\x1b[2J\x00b"
    eventually(lambda: any(told in line for line in lines_of(wire, sender)), True)
