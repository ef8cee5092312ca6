"""The old command on the wire and in its log, as an old site leans on both (protocol page, parts 2 to 5)."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from passlib.hash import apr_md5_crypt

from tests.legacy.test_legacy_daemon import PROGRAM, TIME, Daemon, child_of, daemon, messages
from tests.lines.wire import Wire, blocks, http, in_order
from tests.live import LiveServer
from tests.waiting import eventually

__all__ = ["daemon"]

COUNTERS = re.compile(r"(\w+)=(\d+)")


def steps(wire: Wire, since: int) -> list[tuple[str, dict[str, str]]]:
    """The log's lines since then, without times and addresses, each with its counters."""
    log = wire.server.log[since:]
    found = []
    for line, counters in zip(log[0::2], log[1::2], strict=False):
        line = re.sub(r" 127\.0\.0\.1:\d+:", "", re.sub(f"^{TIME}", "", line))
        found.append((line, dict(COUNTERS.findall(counters))))
    return found


class TestLog:
    def test_a_send(self, daemon: Daemon) -> None:
        wire = daemon.start()
        listeners = [wire.listen("5:a,6:a"), wire.listen("5:b")]
        wire.server.wait_for(r"\[5:b\] registered")
        wire.server.wait_for("connection closed")  # of the command that asked whether it is ready
        since = len(wire.server.log) // 2 * 2
        sender = wire.on_in(b"identifier=7:a,7:c,*a\n")
        wire.server.wait_for("parsed IDs; limiters")
        sender.sock.sendall(b"\n1")
        sender.sock.shutdown(1)
        sender.rest()
        assert listeners[0].rest() == blocks(({"a": "7"}, "1"))
        wire.server.wait_for(r"\[5:a,\(and 1 more\)\] connection closed")
        wire.server.wait_for(r"IN: .* connection closed")
        found = steps(wire, since)
        assert [line for line, _ in found][:8] == [
            "IN: DEBUG: connection opened",
            "IN: DEBUG: read 22 bytes",
            "IN: DEBUG: parsed IDs; limiters are (a)",
            "IN: DEBUG: read 2 bytes",
            "IN: DEBUG: added data for [a,c]",
            f"<- sending 1 responses ({len(blocks(({'a': '7'}, '1')))} bytes) from [a, c] (print=1, shutdown=1)",
            "IN: DEBUG: connection closed",
            "WAIT: DEBUG: [5:a,(and 1 more)] connection closed",
        ]
        assert found[3][1]["data_to_send"] == found[3][1]["cleanup_timers"] == "0"
        assert found[4][1]["data_to_send"] == found[4][1]["cleanup_timers"] == "2"

    def test_a_poll_that_is_answered_at_once(self, daemon: Daemon) -> None:
        wire = daemon.start()
        wire.send("7:a", "1")
        poll = wire.on_wait(b"identifier=5:a\n")
        poll.rest()
        wire.server.wait_for(r"WAIT: .*connection closed")
        lines = [re.sub(r" 127\.0\.0\.1:\d+:", "", line) for line in messages(wire)]
        lines = [line for line in lines if line.startswith(("WAIT: DEBUG", "<-"))]
        assert lines[:2] == ["WAIT: DEBUG: connection opened", "WAIT: DEBUG: read 15 bytes"]
        assert lines[2] == "WAIT: DEBUG: [5:a] registered"
        assert lines[3].startswith("<- sending 1 responses")
        assert lines[4] == "WAIT: DEBUG: [5:a] connection closed"
        assert len(lines) == 5

    @pytest.mark.parametrize(
        ("request_", "expected"),
        [
            (b"identifier=a\n", ["DEBUG: parsed IDs", "DEBUG: passed empty HTTP body, ignored"]),
            (b"identifier=a\n\n", ["DEBUG: parsed IDs", "DEBUG: passed empty HTTP body, ignored"]),
            (b"X-Realplexor: identifier=\n\n1", ["DEBUG: parsed IDs"]),
            (
                b"X-Realplexor: identifier=\r\n\r\nonline  a   b \r\n\r\n",
                [
                    "DEBUG: parsed IDs",
                    "DEBUG: received aux command: ONLINE a   b",
                    "DEBUG: sending 0 online identifiers",
                ],
            ),
            (
                http("POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier=", b"WATCH"),
                ["DEBUG: parsed IDs", "DEBUG: received aux command: WATCH", "DEBUG: sending 1 events"],
            ),
            (
                http("POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier=5:a", b"1"),
                ["DEBUG: parsed IDs", "DEBUG: added data for [a]"],
            ),
            (b"STATS", ["DEBUG: received aux command: STATS", "DEBUG: sending stats"]),
        ],
    )
    def test_a_back_end(self, daemon: Daemon, request_: bytes, expected: list[str]) -> None:
        wire = daemon.start()
        client = wire.on_in(request_, end=True)
        client.rest()
        wire.server.wait_for(rf"{client.peer}: DEBUG: connection closed$")
        lines = [line.partition(f"{client.peer}: ")[2] for line in messages(wire) if client.peer in line]
        assert [line for line in lines if not re.search("connection|read", line)] == expected
        assert not any("read 0 bytes" in line for line in lines)

    def test_logins(self, daemon: Daemon) -> None:
        daemon.conf.with_name("users").write_text(f"me:{apr_md5_crypt.hash('pw')}\n")
        daemon.configure("USERS_FILE => 'users',")
        server = LiveServer(str(daemon.conf), command=(), addresses=False, program=PROGRAM)
        daemon.servers.append(server)
        wire = Wire(server)
        for request, expected in (
            (
                b"identifier=me:x@5:me_a\n\n1",
                ['DEBUG: parsed IDs; login is "me"', "ERROR: invalid password for login: me"],
            ),
            (b"identifier=a\n\n1", ["DEBUG: parsed IDs", "ERROR: access denied for guest user"]),
            (
                b"identifier=me:pw@\n\nONLINE",
                [
                    'DEBUG: parsed IDs; login is "me"',
                    "DEBUG: received aux command: ONLINE",
                    "DEBUG: sending 0 online identifiers",
                ],
            ),
        ):
            client = wire.on_in(request, end=True)
            client.rest()
            wire.server.wait_for(rf"{client.peer}: DEBUG: connection closed$")
            lines = [line.partition(f"{client.peer}: ")[2] for line in messages(wire) if client.peer in line]
            assert [line for line in lines if not re.search("connection|read", line)] == expected

    def test_handles_have_12_digits(self, daemon: Daemon) -> None:
        wire = daemon.start()
        listener = wire.listen("5:a")
        stats = wire.command("STATS")
        assert re.search(r"^a => \(0x[0-9a-f]{12}\)$", stats, re.MULTILINE)
        assert re.search(r"^\(0x[0-9a-f]{12}\) => 5:a$", stats, re.MULTILINE)
        listener.close()

    def test_a_server_that_is_started_again_says_so(self, daemon: Daemon) -> None:
        wire = daemon.start()
        since = len(wire.server.log)
        os.kill(child_of(daemon.pid()), signal.SIGKILL)
        wire.server.wait_for(r"The server ended with status -9\.")
        wire.command("ONLINE")
        expected = (
            r"^The server ended with status -9\.$",
            r"^Starting\. Opened files limit \(ulimit -n\): \d+\.$",
            rf"^CONFIG: appending configuration from {daemon.conf}$",
            rf"^WAIT: listening 127\.0\.0\.1:{wire.wait[1]}$",
            rf"^IN: listening 127\.0\.0\.1:{wire.in_[1]}$",
            r"^IN: .*received aux command: ONLINE$",
        )
        eventually(
            lambda: in_order([re.sub(f"^{TIME}", "", line) for line in wire.server.log[since:]], *expected), True
        )


class TestLimitsByBytes:
    def test_a_poll_of_600_ids(self, daemon: Daemon) -> None:
        wire = daemon.start()
        listener = wire.listen(",".join(f"5:c{number}" for number in range(600)))
        wire.send("6:c599", "1")
        assert listener.rest() == blocks(({"c599": "6"}, "1"))

    @pytest.mark.parametrize(
        "items",
        [
            [f"6:c{number}" for number in range(10_001)],
            ["6:c10000", *(f"*l{number}" for number in range(12_000))],
        ],
    )
    def test_a_send_to_10_001_ids_or_with_12_000_limiters(self, daemon: Daemon, items: list[str]) -> None:
        wire = daemon.start()
        listener = wire.listen("5:c10000,5:l11999")
        wire.on_in(f"identifier={','.join(items)}\n\n1".encode(), end=True).rest()
        assert listener.rest() == blocks(({"c10000": "6"}, "1"))

    def test_an_id_of_129_characters(self, daemon: Daemon) -> None:
        wire = daemon.start()
        listener = wire.listen("5:" + "i" * 129)
        wire.send("6:" + "i" * 129, "1")
        assert listener.rest() == blocks(({"i" * 129: "6"}, "1"))


def test_no_timeout(daemon: Daemon) -> None:
    daemon.configure("WAIT_TIMEOUT => 0, IN_TIMEOUT => 0,")
    wire = daemon.start()
    listener = wire.listen("5:a")
    wire.send("6:b", "1")
    assert b'"1"' not in wire.on_wait(b"identifier=5:b\n").rest()  # the loop has turned meanwhile
    wire.send("6:a", "1")
    assert listener.rest() == blocks(({"a": "6"}, "1"))


def test_messages_in_an_old_charset_arrive_as_they_came(daemon: Daemon) -> None:
    daemon.configure("CHARSET => 'windows-1251',")
    wire = daemon.start()
    message = '"Привет"'.encode("cp1251")
    listener = wire.on_wait(b"identifier=5:a\n")
    wire.on_in(b"identifier=6:a\n\n" + message, end=True).rest()
    assert message in listener.rest()


def test_files_lie_beside_the_configuration(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    daemon.conf.with_name("mine.html").write_text("<p>$JS_WAIT_URI</p>")
    daemon.configure("IFRAME_FILE => 'mine.html',")
    assert daemon.start().on_wait(b"identifier=IFRAME\n").rest().endswith(b"<p>/</p>")
