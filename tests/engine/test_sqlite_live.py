"""A real server on a file, killed and started again, as back-ends, listeners and watchers see it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from rplx.engine.archive.records import ArchivedMessage, Head
from rplx.engine.sqlite import file
from tests.lines.wire import Conversation
from tests.live import LiveServer
from tests.waiting import eventually

WRONG_USAGE = 2  # the exit status for a wrong configuration
POSITION = re.compile(rb"X-Realplexor-Cursor: (\S+)\r\n")


def server(path: Path, *options: str) -> LiveServer:
    return LiveServer("--set", f"engine.url=sqlite:///{path}", "--set", "server.drain=0", *options)


def ask(live: LiveServer, data: bytes) -> bytes:
    return Conversation(live.in_, data, end=True).rest()


def answer(live: LiveServer, command: bytes) -> bytes:
    return ask(live, command + b"\n\n").partition(b"\r\n\r\n")[2]


def request(identifier: str, text: bytes) -> bytes:
    head = f"POST / HTTP/1.1\r\nHost: a\r\nX-Realplexor: identifier={identifier}\r\nContent-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


def send(live: LiveServer, identifier: str, text: bytes) -> str:
    """Sends, and gives the cursor in the first channel."""
    found = ask(live, request(identifier, text))
    assert found.startswith(b"HTTP/1.1 200 "), found
    return found.partition(b"\r\n\r\n")[2].split()[1].decode()


def poll(live: LiveServer, query: str) -> Conversation:
    return Conversation(live.wait, f"GET /?{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())


def texts(body: bytes) -> list[bytes]:
    return re.findall(rb'"data": "(.*?)"', body)


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with server(path, "--set", "history.max_messages=3") as live:
        send(live, "kept", b'"1"')
        send(live, "kept,*lim,other", b'"2"')
        trimmed = [send(live, "trimmed", b'"%d"' % number) for number in range(5)]
        at_once = poll(live, "position&identifier=quiet").rest()
        (position,) = POSITION.findall(at_once)
        live.stop(signal.SIGKILL)
    with server(path, "--set", "history.max_messages=3") as live:
        assert texts(poll(live, "position&identifier=0:kept").rest()) == [b"1"]
        assert texts(poll(live, "position&identifier=0:kept,0:lim,0:other").rest()) == [b"1", b"2"]
        for cursor, gap in ((trimmed[0], True), (trimmed[1], False), (trimmed[4], False)):
            found = poll(live, f"position&identifier={cursor}:trimmed").rest()
            assert (b"\r\nX-Realplexor-Gap: trimmed\r\n" in found) == gap
        found = poll(live, f"position&identifier={position.decode()}:quiet,{position.decode()}:trimmed").rest()
        assert b"X-Realplexor-Gap" not in found
        assert float(POSITION.findall(found)[0]) > float(position)


def test_a_listener_comes_back_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with server(path) as live:
        cursor = send(live, "abc", b'"before"')
        assert poll(live, f"identifier={cursor}:abc").until(b"\r\n\r\n")
        live.stop(signal.SIGKILL)
    with server(path) as live:
        listener = poll(live, f"identifier={cursor}:abc")
        head = listener.until(b"\r\n\r\n")
        assert b"X-Realplexor-Gap" not in head
        eventually(lambda: answer(live, b"ONLINE"), b"abc 1\n")
        send(live, "abc", b'"after"')
        assert texts(listener.rest()) == [b"after"]


def test_a_watcher_goes_on_from_its_position_and_who_was_online_has_its_grace_time(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with server(path) as live:
        listeners = [poll(live, f"identifier={id}") for id in ("stays", "leaves")]
        eventually(lambda: sorted(answer(live, b"ONLINE").split()), [b"1", b"1", b"leaves", b"stays"])
        told = answer(live, b"WATCH 10")
        assert sorted(re.findall(rb"online \d+:(\w+)", told)) == [b"leaves", b"stays"]
        live.stop(signal.SIGKILL)
        del listeners
    with server(path, "--set", "presence.offline_timeout=5") as live:
        back = poll(live, "identifier=stays")
        assert sorted(answer(live, b"ONLINE").split()[::2]) == [b"leaves", b"stays"]
        eventually(lambda: answer(live, b"WATCH 12"), b"offline 13:leaves\n")
        assert answer(live, b"ONLINE") == b"stays 1\n"
        assert answer(live, b"WATCH 10") == told.splitlines(keepends=True)[b"stays" not in told.splitlines()[0]] + (
            b"offline 13:leaves\n"
        )
        back.close()


def test_a_restart_in_order_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with server(path) as live:
        cursors = [send(live, "abc", b'"%d"' % number) for number in range(3)]
        live.stop(signal.SIGTERM)
    assert not path.with_name("history.db-wal").exists()  # all is in the file
    with server(path) as live:
        assert texts(poll(live, f"identifier={cursors[0]}:abc").rest()) == [b"1", b"2"]


def test_a_second_server_is_told_who_has_the_file(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with server(path) as live:
        with server(path) as second:
            second.wait_for(f"engine.url: .*history.db is held by process {live.process.pid}: end that one")
            assert second.process.wait() == WRONG_USAGE
        assert send(live, "abc", b"1")


def test_a_server_waits_for_the_end_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with server(path) as live:
        send(live, "abc", b'"1"')
        with server(path, "--set", "server.drain=30") as second:
            second.wait_for(f"is held by process {live.process.pid}, waiting for its end")
            live.stop(signal.SIGKILL)
            assert texts(poll(second, "position&identifier=0:abc").rest()) == [b"1"]


def test_what_expires_is_gone_after_a_restart_too(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with server(path, "--set", "history.expire_after=0.5", "--set", "log.connections=true") as live:
        cursor = send(live, "abc", b'"1"')
        eventually(lambda: texts(poll(live, "position&identifier=0:abc").rest()), [])
        live.wait_for(r"\[abc\] cleaned")
        send(live, "other", b'"behind it"')  # is written when this returns, and so is what came before
        live.stop(signal.SIGKILL)
    with server(path) as live:
        found = poll(live, f"position&identifier={float(cursor) - 1:f}:abc").rest()
        assert texts(found) == []
        assert b"X-Realplexor-Gap: abc\r\n" in found
        assert b"X-Realplexor-Gap" not in poll(live, f"position&identifier={cursor}:abc").rest()


def test_pipelined_sends_and_commands_are_answered_in_their_order(tmp_path: Path) -> None:
    """The sends of one connection share transactions; a command counts behind the sends before it."""
    with server(tmp_path / "history.db", "--set", "history.max_messages=300") as live:
        requests = [request(f"c{number % 7}", b'"%d"' % number) for number in range(200)]
        requests[50:50] = [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nSTATS"]
        requests[20:20] = [request("c0", b"no json")]
        back_end = Conversation(live.in_, b"".join(requests))
        answers = [back_end.answer() for _ in requests]
        assert answers[20][0].startswith(b"HTTP/1.1 400 ")
        told = answers[51][1]
        assert told.count(b"b]") == 50
        sent = [body.split() for head, body in answers if head.startswith(b"HTTP/1.1 200 ") and body != told]
        assert [id for id, _ in sent] == [b"c%d" % (number % 7) for number in range(200)]
        assert [cursor for _, cursor in sent] == sorted({cursor for _, cursor in sent})
        found = texts(poll(live, "position&identifier=0:c0").rest())
        assert found == [b"%d" % number for number in range(0, 200, 7)]


def test_a_server_may_end_while_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    head = Head("1.000000", 1)
    messages = [ArchivedMessage(number, {f"c{number % 5000}": f"0.{number:06}"}, b"1") for number in range(2, 100_000)]
    file.create(str(path), [head, *messages], is_old=False)
    kept = ("--set", f"engine.url=sqlite:///{path}", "--set", "history.expire_after=0")
    at_once = "import sys; from rplx.engine.sqlite import engine; engine.START_TIMEOUT = 0"
    program = ("-c", f"{at_once}; from rplx.cli.command import main; sys.exit(main(sys.argv[1:]))")
    with LiveServer(*kept, program=program) as live:
        live.wait_for("Reading history from")
        assert live.stop(signal.SIGTERM) == 0
        assert "History is read" not in "".join(live.log)
    assert len([record for record in file.records(str(path)) if isinstance(record, ArchivedMessage)]) == len(messages)
