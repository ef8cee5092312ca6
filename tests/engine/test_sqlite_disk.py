"""A disk that is stuck, fails or is full, under a real server: sends are refused, all else goes on, nothing is lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.test_sqlite_live import answer, ask, poll, request, send, server, texts
from tests.lines.wire import Conversation
from tests.live import LiveServer
from tests.waiting import eventually

SOURCE = Path(__file__).parent.parent / "fixtures/disk.c"
WRONG_USAGE = 2  # the exit status for a wrong configuration


class Disk:
    """The disk of a server: `mood` says how it is, see disk.c."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.path = folder / "history.db"
        self._said = folder / "mood"
        self.shell = f"export LD_PRELOAD={library} DISK_MOOD={self._said}"

    def server(self, *options: str) -> LiveServer:
        arguments = ("--set", f"engine.url=sqlite:///{self.path}", "--set", "server.drain=0", *options)
        return LiveServer(*arguments, shell=self.shell)

    def log_bytes(self) -> int:
        return self.path.with_name("history.db-wal").stat().st_size

    def mood(self, word: str) -> None:
        fresh = self._said.with_suffix(".new")
        fresh.write_text(word)
        fresh.rename(self._said)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    built = tmp_path_factory.mktemp("disk") / "disk.so"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-O1", "-o", str(built), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return built


@pytest.fixture
def disk(tmp_path: Path, library: Path) -> Iterator[Disk]:
    made = Disk(tmp_path, library)
    yield made
    made.mood("")  # or a thread that is stuck would keep its process


def is_let_in(live: LiveServer, query: str) -> Conversation:
    listener = poll(live, query)
    listener.until(b"\r\n\r\n")
    return listener


def healthy(live: LiveServer) -> bool:
    check = Conversation(live.wait, b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return check.rest().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("mood", "status", "reason", "begins", "ends"),
    [
        ("stuck", b"503", b"the disk does not answer; try again", "is stuck", "writes again"),
        ("failing", b"503", b"the disk takes no messages; try again", "takes no messages", "takes messages again"),
        ("full", b"507", b"the disk is full", "is full", "has room again"),
        ("quota", b"507", b"the disk is full", "is full", "has room again"),
    ],
)
def test_sends_are_refused_and_all_else_goes_on(
    disk: Disk, mood: str, status: bytes, reason: bytes, begins: str, ends: str
) -> None:
    with disk.server() as live:
        before = send(live, "abc", b'"before"')
        waits = is_let_in(live, f"identifier={before}:abc")
        disk.mood(mood)
        for _ in range(3):
            refused = ask(live, request("abc", b'"refused"'))
            assert refused.startswith(b"HTTP/1.1 %b " % status)
            assert refused.endswith(b"\r\n\r\n%b\n" % reason)
        live.wait_for(f"ERROR: the disk of {disk.path} {begins}")
        assert texts(poll(live, "position&identifier=0:abc").rest()) == [b"before"]
        meanwhile = is_let_in(live, f"identifier={before}:abc")
        assert healthy(live)
        assert b"abc 2\n" in answer(live, b"ONLINE")
        disk.mood("")
        eventually(lambda: ask(live, request("abc", b'"after"')).startswith(b"HTTP/1.1 200 "))
        live.wait_for(f"the disk of {disk.path} {ends}")
        for listener in (waits, meanwhile):  # one that was refused may have been stored, and is delivered then
            assert texts(listener.rest())[-1:] in ([b"refused"], [b"after"])
        kept = texts(poll(live, "position&identifier=0:abc").rest())
        assert kept[0] == b"before"
        assert kept[-1] == b"after"
        assert kept.count(b"refused") <= 1
        assert len([line for line in live.log if "the disk of" in line]) == 2
        live.stop(signal.SIGKILL)
    with disk.server() as live:
        assert texts(poll(live, "position&identifier=0:abc").rest()) == kept


def test_a_slow_disk_is_shared_by_those_who_send_at_once(disk: Disk) -> None:
    with disk.server() as live:
        disk.mood("slow 200")
        senders = [Conversation(live.in_, request(f"c{number}", b"1"), end=True) for number in range(60)]
        assert all(sender.rest().startswith(b"HTTP/1.1 200 ") for sender in senders)
        assert "ERROR" not in "".join(live.log)


def flood(live: LiveServer, megabytes: int) -> Conversation:
    """Sends so much on one connection, without waiting for an answer; the server has started."""
    text = b'"%b"' % (b"x" * 49_998)
    return Conversation(live.in_, request("abc", text) * (20 * megabytes), end=True)


def test_a_checkpoint_that_takes_long_holds_up_nothing(disk: Disk) -> None:
    with disk.server("--set", "engine.sync=process") as live:
        send(live, "abc", b'"first"')
        disk.mood("slow 3000")
        answers = flood(live, 10).rest()
        assert answers.count(b"HTTP/1.1 200 ") == 200
        disk.mood("")
        assert "ERROR" not in "".join(live.log)


def test_the_log_does_not_grow_however_much_is_sent(disk: Disk) -> None:
    with disk.server("--set", "engine.sync=process") as live:
        send(live, "abc", b'"first"')
        disk.mood("slow 20")
        assert flood(live, 100).rest().count(b"HTTP/1.1 200 ") == 2000
        assert disk.log_bytes() < 90_000_000


def test_a_log_that_reaches_no_disk_has_an_end(disk: Disk) -> None:
    with disk.server("--set", "engine.sync=process") as live:
        send(live, "abc", b'"first"')
        disk.mood("stuck")
        assert flood(live, 100).rest().startswith(b"HTTP/1.1 200 ")
        assert ask(live, request("abc", b'"refused"')).endswith(b"\r\n\r\nthe disk does not answer; try again\n")
        assert disk.log_bytes() < 90_000_000
        disk.mood("")
        eventually(lambda: ask(live, request("abc", b'"after"')).startswith(b"HTTP/1.1 200 "))


def test_a_server_ends_although_its_disk_is_stuck(disk: Disk) -> None:
    with disk.server() as live:
        send(live, "abc", b'"before"')
        disk.mood("stuck")
        assert ask(live, request("abc", b'"refused"')).startswith(b"HTTP/1.1 503 ")
        assert live.stop(signal.SIGTERM) == 0
        disk.mood("")
    with disk.server() as live:
        assert texts(poll(live, "position&identifier=0:abc").rest())[0] == b"before"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(mounted)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)


def test_a_file_system_that_is_filled(small: Path) -> None:
    stored = []
    with server(small / "history.db", "--set", "history.max_messages=1000") as live:
        for number in range(100):
            text = b'"%d %b"' % (number, b"x" * 20_000)
            found = ask(live, request("abc", text))
            if found.startswith(b"HTTP/1.1 507 "):
                break
            stored.append(text[1:-1])
        assert len(stored) > 3
        assert found.endswith(b"\r\n\r\nthe disk is full\n")
        live.wait_for("ERROR: the disk of .* is full")
        assert re.findall(rb'"data": "(.*?)"', poll(live, "position&identifier=0:abc").rest()) == stored
        subprocess.run(["mount", "-o", "remount,size=16m", str(small)], check=True)
        assert send(live, "abc", b'"last"')
        live.wait_for("the disk of .* has room again")
        live.stop(signal.SIGKILL)
    with server(small / "history.db", "--set", "history.max_messages=1000") as live:
        assert texts(poll(live, "position&identifier=0:abc").rest()) == [*stored, b"last"]
    (small / "filler").write_bytes(b"")
    subprocess.run(["sh", "-c", f"cat /dev/zero > {small}/filler"], capture_output=True)
    with server(small / "history.db") as live:
        live.wait_for(f"engine.url: the disk of {small}/history.db is full")
        assert live.process.wait() == WRONG_USAGE
