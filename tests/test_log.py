"""The log writes from a thread of its own: a slow or broken target never holds up who logs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from rplx import log as log_module
from rplx.log import Log
from tests.waiting import eventually


class Peer:
    line = "WAIT"
    peer = "127.0.0.1:5"
    name = ""


class BackEnd(Peer):
    line = "IN"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            pass


def written(pipe: tuple[int, int], log: Log) -> str:
    log.flush()
    return os.read(pipe[0], 1 << 20).decode()


@pytest.mark.parametrize(
    ("verbosity", "pattern"),
    [
        (1, r"hello\n"),
        (2, r"\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4}\] hello\n"),
        (3, r"\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4}\] hello\n  \[counters\]\n"),
    ],
)
def test_forms(pipe: tuple[int, int], verbosity: int, pattern: str) -> None:
    log = Log(verbosity, descriptor=pipe[1])
    log.show_counters(lambda: "[counters]")
    log.message("hello")
    assert re.fullmatch(pattern, written(pipe, log))


def test_verbosity_0_writes_nothing(pipe: tuple[int, int]) -> None:
    log = Log(0, connections=True, descriptor=pipe[1])
    log.message("a")
    log.error("b")
    log.connection(BackEnd(), "c")
    log.connection_error(BackEnd(), "d")
    log.flush()
    os.set_blocking(pipe[0], False)
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 1)


def test_connections(pipe: tuple[int, int]) -> None:
    log = Log(1, connections=True, descriptor=pipe[1])
    log.connection(Peer(), "opened")
    log.connection_error(Peer(), "wrong")
    assert written(pipe, log) == "WAIT: 127.0.0.1:5: DEBUG: opened\nWAIT: 127.0.0.1:5: ERROR: wrong\n"


def test_without_connections_only_a_back_ends_errors(pipe: tuple[int, int]) -> None:
    log = Log(1, descriptor=pipe[1])
    for connection in (Peer(), BackEnd()):
        log.connection(connection, "opened")
        log.connection_error(connection, "wrong")
    assert written(pipe, log) == "IN: 127.0.0.1:5: ERROR: wrong\n"


def test_control_characters_are_shown(pipe: tuple[int, int]) -> None:
    log = Log(1, descriptor=pipe[1])
    log.message("a\nb\r\x1b[0m\x7f\0é\udcff")
    assert written(pipe, log) == "a\\x0ab\\x0d\\x1b[0m\\x7f\\x00é\\udcff\n"


@pytest.mark.parametrize(
    "code",
    [
        *(0x85, 0xA0, 0xAD, 0x34F, 0x61C, 0x115F, 0x180E, 0x200B, 0x200D, 0x200E, 0x200F, 0x2028, 0x2029),
        *range(0x202A, 0x202F),
        *(0x2060, 0x2066, 0x2067, 0x2068, 0x2069, 0x3164, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF9, 0xE000, 0xE0041, 0xE0101),
    ],
)
def test_what_cannot_be_seen_or_turns_the_text_is_shown(pipe: tuple[int, int], code: int) -> None:
    log = Log(1, descriptor=pipe[1])
    log.message(f"a{chr(code)}b é ж 日本 עברית 😀")
    shown = f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    assert written(pipe, log) == f"a{shown}b é ж 日本 עברית 😀\n"


def test_the_journal_is_told_priorities(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.fstat(pipe[1])
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    log = Log(3, connections=True, descriptor=pipe[1])
    log.show_counters(lambda: "[counters]")
    for say in (log.message, log.error, log.rarely):
        say("a")
    for tell in (log.counted, log.trouble, log.recovered):
        tell("kind", "b")
    log.connection(Peer(), "c")
    log.connection_error(BackEnd(), "d\n<0>e")
    lines = written(pipe, log).splitlines()
    assert [line[:3] for line in lines[::2]] == ["<6>", "<3>", "<4>", "<4>", "<3>", "<6>", "<7>", "<4>"]
    assert [line[:3] for line in lines[1::2]] == [line[:3] for line in lines[::2]]  # each line has its own


@pytest.mark.parametrize("named", ["", "1:2", "nonsense", None])
def test_who_else_reads_it_is_not(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if named is not None:
        monkeypatch.setenv("JOURNAL_STREAM", named)
    log = Log(1, descriptor=pipe[1])
    log.error("a")
    assert written(pipe, log) == "ERROR: a\n"


def test_an_ongoing_trouble_is_told_once_a_second(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(1, descriptor=pipe[1])
    log.rarely("no room")
    log.rarely("no room")
    monkeypatch.setattr(log_module, "REPEAT_AFTER", 0.0)
    log.rarely("no room")
    assert written(pipe, log) == "no room\nno room\n"


def test_lines_stay_whole_and_in_order(pipe: tuple[int, int]) -> None:
    log = Log(1, descriptor=pipe[1])
    for number in range(2000):
        log.message(f"line {number}")
    assert written(pipe, log).splitlines() == [f"line {number}" for number in range(2000)]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_stuck_target_holds_up_nobody(pipe: tuple[int, int], blocking: bool) -> None:
    os.set_blocking(pipe[1], blocking)
    log = Log(1, descriptor=pipe[1])
    for number in range(20_000):
        log.message(f"{number:06} {'x' * 93}")
    log.flush(timeout=0.05)  # nobody reads yet: what waited for the target would never return
    text = ""
    while text.count("\n") < 20_000:
        text += os.read(pipe[0], 1 << 20).decode()
    assert [line[:6] for line in text.splitlines()] == [f"{number:06}" for number in range(20_000)]


def test_lines_beyond_lines_max_are_counted(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "LINES_MAX", 100)
    log = Log(1, descriptor=pipe[1])
    log.message("x" * 200_000)  # more than the pipe holds: the thread is stuck with it
    eventually(lambda: len(log._lines), 0)
    for number in range(150):
        log.message(f"line {number}")
    text = ""
    while "log lines dropped" not in text:
        text += os.read(pipe[0], 1 << 20).decode()
    lines = text.splitlines()[1:]
    assert lines == [
        *(f"line {number}" for number in range(100)),
        "50 log lines dropped: the log's target was too slow",
    ]


def test_a_closed_target_is_no_error(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    log = Log(1, descriptor=pipe[1])
    for _ in range(3):
        log.message("into the void")
        log.flush()
    assert not log._lines


def test_it_works_under_monkey_patching() -> None:
    """The thread is a real one: a target that blocks would stop a greenlet's whole process."""
    code = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import gevent, os\n"
        "from rplx.log import Log\n"
        "reading, writing = os.pipe()\n"
        "log = Log(1, descriptor=writing)\n"
        "for _ in range(2000): log.message('x' * 100)\n"
        "gevent.sleep(0.05)\n"  # nobody ever reads: a greenlet in its place would stay in the kernel
        "log = Log(1); log.message('alive'); log.flush()\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("alive\n", "")


def test_what_happens_often_is_told_once_and_counted(pipe: tuple[int, int]) -> None:
    log = Log(1, descriptor=pipe[1])
    for number in range(5):
        log.counted("full", f"connection {number} refused")
    log.counted("slow", "a reader was dropped")
    log.sweep(time.monotonic() + log_module.COUNT_FOR - 1)
    assert written(pipe, log) == "connection 0 refused\na reader was dropped\n"
    log.sweep(time.monotonic() + log_module.COUNT_FOR)
    assert written(pipe, log) == "connection 4 refused (4 more in the last 60 s)\n"
    log.counted("full", "connection 9 refused")
    assert written(pipe, log) == "connection 9 refused\n"


def test_kinds_that_are_counted_are_bounded_and_no_count_is_lost(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "COUNTED_MAX", 2)
    log = Log(1, descriptor=pipe[1])
    for kind in ("a", "a", "b", "c"):
        log.counted(kind, kind)
    assert written(pipe, log) == "a\nb\na (1 more in the last 60 s)\nc\n"


def test_a_trouble_is_told_when_it_begins_and_when_it_ends(pipe: tuple[int, int]) -> None:
    log = Log(1, descriptor=pipe[1])
    log.recovered("redis", "Redis answers again")
    for _ in range(240):
        log.trouble("redis", "Redis does not answer")
    log.recovered("redis", "Redis answers again")
    log.recovered("redis", "Redis answers again")
    expected = r"ERROR: Redis does not answer\nRedis answers again \(after \d+\.\d s; met 240 times\)\n"
    assert re.fullmatch(expected, written(pipe, log))
