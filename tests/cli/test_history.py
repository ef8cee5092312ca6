"""`rplx history`: files checked, copied, written as lines and read back, and moved between engines."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rplx.cli.command import main
from rplx.engine.redis import keys
from tests.engine.conftest import NEED_REDIS
from tests.engine.harness import Tested
from tests.engine.test_sqlite_live import answer, poll, send, server, texts
from tests.live import LiveServer
from tests.redis_server import Cluster, RedisServer
from tests.waiting import eventually

History = Callable[..., tuple[int, bytes, str]]


@pytest.fixture
def history(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> History:
    """Runs `rplx history` with arguments and stdin; gives its status, stdout and stderr."""

    def run(*arguments: object, stdin: bytes = b"") -> tuple[int, bytes, str]:
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(stdin)))
        status = main(["history", *map(str, arguments)])
        found = capfdbinary.readouterr()
        return status, found.out, found.err.decode()

    return run


def filled(url: str) -> Tested:
    """A history with all that there may be."""
    tested = Tested(url, history__max_messages=3, history__expire_after=3600.0)
    tested.enter("abc", "def")
    tested.engine.join(["left"])
    tested.engine.leave(["left"])
    tested.send('"to many"', "abc", "z1", "z2", limiters=["lim", "lim2"])
    for number in range(5):
        tested.send(f'"{number} ü"', "abc")
    tested.send('"own"', own="5.50", other="000017")
    tested.send('"own, too"', own="5.6")
    tested.send('"long"', own="1" * 40 + ".25")
    tested.send(json.dumps("x" * 10_000), "z1")
    tested.engine.sweep()
    tested.engine.online()
    return tested


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "history.db"
    filled(f"sqlite:///{path}").close()
    return path


CHANNELS = ("abc", "z1", "z2", "own", "other", "nobody")


def seen(tested: Tested, since: str) -> dict[str, Any]:
    """What listeners, watchers and STATS get; `since`: a cursor."""
    return {
        "texts": {id: tested.texts(**{id: "0", "lim2": "0"}) for id in CHANNELS},
        "cursors": [
            due.ids
            for id in CHANNELS
            for due in sorted(tested.engine.due([id, "lim"], ["0", "0"]), key=lambda due: due.value)
        ],
        "gaps": [tested.gaps(**dict.fromkeys(CHANNELS, cursor)) for cursor in ("0", since)],
        "events": tested.shown(),
        "position": tested.engine.position(),
        "online": sorted(tested.engine.online()),
        "history": {
            id: [(message.data, message.limiters) for message in messages]
            for id, messages in sorted(tested.engine.history().items())
        },
    }


def test_check_says_what_is_there(history: History, path: Path) -> None:
    status, shown, errors = history("check", path)
    assert (status, errors) == (0, "")
    assert re.fullmatch(
        rf"{path} is whole, no server has it\n[\d,]+ bytes\n"
        r"8 messages in 5 channels, sent from [-0-9]{10} [:0-9]{8} to [-0-9]{10} [:0-9]{8}\n"
        r"1 floors, 3 events to position 13, 3 online\n",
        re.sub(r" and [\d,]+ in its -wal", "", shown.decode()),
    ), shown
    status, shown, _ = history("check", f"sqlite:///{path}", "--json")
    found = json.loads(shown)
    counts = ("messages", "channels", "floors", "events", "position", "online", "held_by")
    assert [found[name] for name in counts] == [8, 5, 1, 3, 13, 3, None]
    assert found["bytes"] == path.stat().st_size


def test_check_says_what_is_wrong(history: History, path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 4] = bytes(4096)
    path.write_bytes(data)
    status, shown, errors = history("check", path)
    assert (status, shown) == (1, b"")
    assert errors.startswith(f"rplx history: {path} is damaged (")
    assert "put a backup in its place" in errors


def test_what_was_dumped_and_loaded_is_the_same(history: History, path: Path, tmp_path: Path) -> None:
    status, dumped, errors = history("dump", path)
    assert (status, errors) == (0, "")
    lines = dumped.splitlines()
    assert json.loads(lines[0]).keys() == {"rplx_history", "beginning", "drawn"}
    assert lines[-1] == b'{"end":{"floors":1,"messages":8,"events":3,"online":3}}'
    other = tmp_path / "other.db"
    status, shown, _ = history("load", f"sqlite:///{other}", stdin=dumped)
    assert (status, shown) == (0, b"loaded 8 messages, 1 floors, 3 events\n")
    assert history("dump", other)[1] == dumped
    assert other.stat().st_mode & 0o777 == 0o600
    archive, third = tmp_path / "archive", tmp_path / "third.db"
    assert history("dump", other, "--output", archive)[:2] == (0, b"")
    assert archive.read_bytes() == dumped
    assert history("load", third, "--input", archive)[0] == 0
    found = []
    for one in (path, third):
        tested = Tested(f"sqlite:///{one}")
        found.append(seen(tested, json.loads(lines[0])["beginning"]))
        tested.close()
    assert found[0] == found[1]
    assert found[0]["texts"]["own"] == ['"own"', '"own, too"', '"long"']


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as one:
        yield one


@NEED_REDIS
def test_from_a_file_to_redis_and_back(history: History, path: Path, redis_server: RedisServer, tmp_path: Path) -> None:
    url = f"{redis_server.url}?prefix=loaded"
    dumped = history("dump", path)[1]
    assert history("load", url, stdin=dumped) == (0, b"loaded 8 messages, 1 floors, 3 events\n", "")
    beginning = json.loads(dumped.splitlines()[0])["beginning"]
    found = []
    for place in (f"sqlite:///{path}", url):
        tested = Tested(place)
        found.append(seen(tested, beginning))
        tested.close()
    assert found[0] == found[1]
    status, again, errors = history("dump", url)
    assert (status, errors) == (0, "")
    back = tmp_path / "back.db"
    assert history("load", back, stdin=again)[0] == 0
    tested = Tested(f"sqlite:///{back}")
    assert seen(tested, beginning) == found[0]
    tested.close()
    status, _, errors = history("load", url, stdin=dumped)
    assert status == 1
    assert "there are keys below the prefix loaded already" in errors


@NEED_REDIS
def test_from_redis_to_a_file(history: History, redis_server: RedisServer, tmp_path: Path) -> None:
    url = f"{redis_server.url}?prefix=born"
    tested = filled(url)
    expected = seen(tested, "1")
    status, dumped, errors = history("dump", url)
    assert (status, errors) == (0, "")
    path = tmp_path / "moved.db"
    assert history("load", path, stdin=dumped)[0] == 0
    cursor = tested.send('"next"', "abc")["abc"]
    tested.close()
    moved = Tested(f"sqlite:///{path}")
    assert seen(moved, "1") == expected
    assert float(moved.send('"next"', "abc")["abc"]) > float(cursor) - 1
    moved.close()


@NEED_REDIS
def test_a_cluster_is_read_and_not_filled(history: History, tmp_path: Path) -> None:
    cluster = Cluster()
    try:
        tested = filled(cluster.url)
        expected = seen(tested, "1")
        tested.close()
        status, dumped, errors = history("dump", cluster.url)
        assert (status, errors) == (0, "")
        path = tmp_path / "moved.db"
        assert history("load", path, stdin=dumped)[0] == 0
        moved = Tested(f"sqlite:///{path}")
        assert seen(moved, "1")["texts"] == expected["texts"]
        moved.close()
        status, _, errors = history("load", f"{cluster.url}?prefix=b", stdin=dumped)
        assert (status, errors) == (
            1,
            "rplx history: a cluster cannot be filled in one transaction: load into one server of Redis\n",
        )
    finally:
        cluster.stop()


@NEED_REDIS
def test_of_a_wrong_line_nothing_comes_to_redis(history: History, redis_server: RedisServer) -> None:
    url = f"{redis_server.url}?prefix=wrong"
    status, _, errors = history("load", url, stdin=HEAD + b"\n" + MESSAGE + b"\n?\n")
    assert (status, errors) == (1, 'rplx history: stdin, line 3: "?" is no object of JSON; nothing was loaded\n')
    assert list(redis_server.client().scan_iter("wrong:*")) == []


@NEED_REDIS
def test_redis_without_a_history(history: History, redis_server: RedisServer) -> None:
    status, shown, errors = history("dump", f"{redis_server.url}?prefix=none")
    assert (status, shown) == (1, b"")
    assert "nothing of rplx is in Redis" in errors
    assert "below the prefix none" in errors


@NEED_REDIS
def test_redis_with_what_rplx_has_not_written(history: History, redis_server: RedisServer) -> None:
    client = redis_server.client()
    client.hset("odd:{}:order", mapping={"begin": "1.5", "last": "1500000"})
    for member in (b"nonsense", b"0000015 000000000000001 5 id - 1", b"x 1 5 id a,\xff 1"):
        client.delete("odd:{abc}:history")
        client.zadd("odd:{abc}:history", {member: 0})
        status, _, errors = history("dump", f"{redis_server.url}?prefix=odd")
        assert status == (0 if member.startswith(b"0") else 1)
        assert status == 0 or "holds what rplx has not written" in errors
    client.set("odd:{abc}:facts", "text")
    assert history("dump", f"{redis_server.url}?prefix=odd")[0] == 1


@NEED_REDIS
@pytest.mark.parametrize(
    "cursor", ["0", "5", "5.50", "000017", "1795774439.467530", "123456789012345678.9", "0.000001", "100"]
)
def test_redis_sorts_by_the_same_key(cursor: str, redis_server: RedisServer) -> None:
    url = f"{redis_server.url}?prefix=sort"
    tested = Tested(url)
    tested.send("1", one=cursor)
    tested.close()
    (member,) = redis_server.client().zrange("sort:{one}:history", 0, -1)
    assert member.split(b" ")[0].decode() == keys._sort_key(cursor)
    redis_server.client().delete("sort:{one}:history")


# -- a running server


def test_a_running_server_is_backed_up(history: History, tmp_path: Path) -> None:
    path, copy = tmp_path / "history.db", tmp_path / "copy.db"
    with server(path) as live:
        cursors = [send(live, "abc", b'"%d"' % number) for number in range(3)]
        assert history("backup", path, copy) == (0, b"", "")
        assert f"is whole, held by process {live.process.pid}\n".encode() in history("check", path)[1]
        dumped = history("dump", path)[1]
        send(live, "abc", b'"later"')
        assert texts(poll(live, f"identifier={cursors[0]}:abc").rest()) == [b"1", b"2", b"later"]
        live.stop(signal.SIGKILL)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert history("check", copy)[0] == 0
    with server(copy) as live:
        for _ in range(2):  # not only the first
            found = poll(live, f"identifier={cursors[0]}:abc").rest()
            assert texts(found) == [b"1", b"2"]
            assert b"\r\nX-Realplexor-Gap: abc\r\n" in found
    loaded = tmp_path / "loaded.db"
    assert history("load", loaded, stdin=dumped)[0] == 0
    with server(loaded) as live:
        assert texts(poll(live, f"identifier={cursors[0]}:abc").rest()) == [b"1", b"2"]


def told(live: LiveServer, **cursors: str) -> bool:
    """Whether a listener with these cursors is told of a gap."""
    query = ",".join(f"{cursor}:{id}" for id, cursor in cursors.items())
    return b"X-Realplexor-Gap: " in poll(live, f"position&identifier={query}").rest()


@pytest.mark.parametrize("place", ["copy", "lines", pytest.param("redis", marks=NEED_REDIS)])
def test_whoever_missed_what_was_sent_after_a_backup_is_told(
    history: History, tmp_path: Path, place: str, redis_server: RedisServer
) -> None:
    path, copy = tmp_path / "history.db", tmp_path / "copy.db"
    url = f"sqlite:///{copy}"
    with server(path) as live:
        quiet = send(live, "quiet", b"1")
        listener = poll(live, "identifier=abc")
        eventually(lambda: answer(live, b"ONLINE"), b"abc 1\n")
        if place == "copy":
            assert history("backup", path, copy) == (0, b"", "")
        dumped = history("dump", path)[1]
        listener.close()
        before = send(live, "abc", b'"lost"')
        poll(live, "identifier=def").until(b"\r\n\r\n")
        eventually(lambda: b"12:def" in answer(live, b"WATCH 10"))
        live.stop(signal.SIGKILL)
    if place != "copy":
        url = f"{redis_server.url}?prefix=old" if place == "redis" else url
        assert history("load", url, "--old", stdin=dumped)[0] == 0
    for _ in range(2):
        with server(path, "--set", f"engine.url={url}") as live:
            assert told(live, abc=before)
            assert told(live, quiet=quiet)
            assert told(live, unknown=before)
            assert texts(poll(live, "position&identifier=1:quiet").rest()) == []
            after = send(live, "abc", b'"after"')
            assert not told(live, abc=after)
            assert b"FAKE" in answer(live, b"WATCH 12").splitlines()[0]
            position = answer(live, b"WATCH").split()[1].partition(b":")[0]
            assert int(position) > 100_000
            assert b"FAKE" not in answer(live, b"WATCH " + position)
            live.stop(signal.SIGKILL)


def test_a_watcher_from_after_a_backup_without_events_is_told(history: History, tmp_path: Path) -> None:
    path, copy = tmp_path / "history.db", tmp_path / "copy.db"
    with server(path) as live:
        send(live, "abc", b"1")
        assert history("backup", path, copy) == (0, b"", "")
        poll(live, "identifier=abc").until(b"\r\n\r\n")
        eventually(lambda: answer(live, b"WATCH 10"), b"online 11:abc\n")
        live.stop(signal.SIGKILL)
    with server(copy) as live:
        assert answer(live, b"WATCH 11") == b"FAKE 10:FAKE\n"  # as after a restart that has forgotten all


def test_what_a_killed_server_has_left_is_dumped(history: History, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with server(path) as live:
        send(live, "abc", b'"1"')
        live.stop(signal.SIGKILL)
    assert b'"message":"\\"1\\""' in history("dump", path)[1]
    with server(path) as live:
        assert texts(poll(live, "position&identifier=0:abc").rest()) == [b"1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to read as somebody else")
def test_a_file_in_a_folder_that_cannot_be_written(history: History, path: Path) -> None:
    code = (
        "import os, sys; from rplx.engine.sqlite import file; os.setuid(65534);"
        " print(len(list(file.records(sys.argv[1]))), file.problems(sys.argv[1]))"
    )
    with tempfile.TemporaryDirectory() as place:  # pytest's own may be read by its user alone, not by nobody
        folder = Path(place)
        folder.chmod(0o755)
        copy = Path(shutil.copy(path, folder))
        copy.chmod(0o644)
        command = [sys.executable, "-c", code, str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("16 []\n", "")
        assert sorted(folder.iterdir()) == [copy]


# -- what is refused


def test_nothing_is_written_over_anything(history: History, path: Path, tmp_path: Path) -> None:
    dumped = history("dump", path)[1]
    before = path.read_bytes()
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for arguments in (("load", taken), ("load", path), ("backup", path, taken), ("backup", path, path)):
        status, _, errors = history(*arguments, stdin=dumped)
        assert status == 1
        assert "is there already, and nothing is written over it" in errors
    status, _, errors = history("dump", path, "--output", taken)
    assert (status, errors) == (1, f"rplx history: {taken}: File exists\n")
    assert taken.read_text() == "mine"
    assert path.read_bytes() == before


@pytest.mark.parametrize("action", ["check", "dump"])
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "is not there"),
        (lambda path: path.mkdir(), "is no file"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.write_text("hello\n" * 1000), "is damaged (file is not a database)"),
    ],
)
def test_what_is_no_file_of_ours(
    history: History, tmp_path: Path, action: str, make: Callable[[Path], object], expected: str
) -> None:
    path = tmp_path / "some"
    make(path)
    status, shown, errors = history(action, path)
    assert (status, shown) == (1, b"")
    assert errors.startswith(f"rplx history: {path} {expected}")


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (("check", "redis://127.0.0.1/0"), 2, "redis:// is no file: a path or sqlite:///PATH is asked for"),
        (("backup", "http://a/", "b"), 2, "http:// is no file"),
        (("dump", "http://a/"), 1, "rplx history: the URL is not a URL such as redis://HOST:PORT/0"),
        (("dump", "redis://127.0.0.1:1"), 1, "rplx history: Redis at 127.0.0.1:1: "),
        (("load", "no/such/folder/history.db"), 1, "is missing: make it"),
        (("load", "x.db", "--input", "no/such/file"), 1, "rplx history: no/such/file: No such file or directory"),
        ((), 2, "the following arguments are required: ACTION"),
        (("check",), 2, "the following arguments are required: FILE"),
    ],
)
def test_wrong_arguments(
    history: History,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    status: int,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, shown, errors = history(*arguments, stdin=b'{"rplx_history":1,"beginning":"1","drawn":1}\n')
    assert (found, shown) == (status, b"")
    assert expected in errors
    assert "Traceback" not in errors


HEAD = b'{"rplx_history":1,"beginning":"1.5","drawn":5}'
FLOOR = b'{"floor":"1.5","channel":"abc"}'
MESSAGE = b'{"message":"1","drawn":5,"cursors":{"abc":"1.5"}}'
EVENT = b'{"event":"online","position":11,"id":"abc"}'
ONLINE = b'{"online":"abc"}'


def end(floors: int = 0, messages: int = 0, events: int = 0, online: int = 0) -> bytes:
    counts = {"floors": floors, "messages": messages, "events": events, "online": online}
    return json.dumps({"end": counts}).encode()


@pytest.mark.parametrize(
    ("lines", "number", "why"),
    [
        ([], 1, "there is nothing"),
        ([HEAD], 2, "the end is missing, so this is a part of an archive"),
        ([HEAD, MESSAGE, end()], 3, 'the end counts {"floors": 0, "messages": 0'),
        ([HEAD, end(), HEAD], 2, "the archive ends here, and something follows"),
        ([b"{}", end()], 1, 'this is no archive of rplx, which begins with {"rplx_history":1,...}'),
        ([b"\x1f\x8b\x08 compressed", end()], 1, "is no object of JSON"),
        ([b'{"rplx_history":2,"beginning":"1.5","drawn":5}', end()], 1, "it is of version 2, and this rplx reads 1"),
        ([b'{"rplx_history":true,"beginning":"1.5","drawn":5}', end()], 1, "it is of version true"),
        ([b'{"rplx_history":1,"beginning":1.5,"drawn":5}', end()], 1, "1.5 is no cursor"),
        ([b'{"rplx_history":1,"beginning":"1.5","drawn":-5}', end()], 1, "-5 is no time in microseconds"),
        ([b'{"rplx_history":1,"beginning":"1.5"}', end()], 1, "drawn missing"),
        ([HEAD, HEAD, end()], 2, "stands in the wrong place"),
        ([HEAD, MESSAGE, FLOOR, end()], 3, "stands in the wrong place"),
        ([HEAD, b"", end()], 2, '"" is no object of JSON'),
        ([HEAD, b"[" * 100_000, end()], 2, "is no object of JSON"),
        ([HEAD, b'{"message":"\xff"}', end()], 2, "is no object of JSON"),
        ([HEAD, b'{"some":1}', end()], 2, "it is none of message, base64, event, online, floor, rplx_history"),
        ([HEAD, MESSAGE.replace(b'"1"', b"1")], 2, "the message is no text"),
        ([HEAD, MESSAGE.replace(b'"1"', b'"\\ud800"')], 2, "the message is no text"),
        ([HEAD, MESSAGE.replace(b'"message":"1"', b'"base64":"?"')], 2, "the message is no base64"),
        ([HEAD, MESSAGE.replace(b'"message":"1"', b'"base64":7')], 2, "the message is no base64"),
        ([HEAD, MESSAGE.replace(b'{"abc":"1.5"}', b"{}")], 2, "has no channel"),
        ([HEAD, MESSAGE.replace(b'{"abc":"1.5"}', b"[]")], 2, "the cursors are no object of JSON"),
        ([HEAD, MESSAGE.replace(b"abc", b"a b")], 2, "'a b' is no id"),
        ([HEAD, MESSAGE.replace(b"1.5", b"1e5")], 2, "'1e5' is no cursor"),
        ([HEAD, MESSAGE.replace(b"1.5", b"1" * 129)], 2, "is no cursor"),
        ([HEAD, MESSAGE[:-1] + b',"limit_to":"abc"}'], 2, "limit_to is no list"),
        ([HEAD, MESSAGE[:-1] + b',"limit_to":[7]}'], 2, "7 is no id"),
        ([HEAD, MESSAGE[:-1] + b',"dropped_in":["abc"]}'], 2, "was dropped where it was not, or in all its channels"),
        ([HEAD, MESSAGE[:-1] + b',"more":1}'], 2, "more not known"),
        ([HEAD, MESSAGE, MESSAGE.replace(b"5,", b"4,")], 3, "was sent before the message that stands before it"),
        ([HEAD, FLOOR, FLOOR], 3, "abc is there twice"),
        ([HEAD, FLOOR[:-1] + b',"emptied":"now"}'], 2, "the time at which the channel was emptied is none"),
        ([HEAD, EVENT, EVENT], 3, "11 is no position behind that of the event before it"),
        ([HEAD, EVENT.replace(b"online", b"FAKE")], 2, "'FAKE' is neither online nor offline"),
        ([HEAD, EVENT.replace(b'"online"', b"[]")], 2, "[] is neither online nor offline"),
        ([HEAD, ONLINE, ONLINE], 3, "abc is there twice"),
        ([HEAD, b'{"online":{}}'], 2, "{} is no id"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_loaded(
    history: History, tmp_path: Path, lines: list[bytes], number: int, why: str
) -> None:
    path = tmp_path / "history.db"
    status, shown, errors = history("load", path, stdin=b"".join(line + b"\n" for line in lines))
    assert (status, shown) == (1, b"")
    assert errors.startswith(f"rplx history: stdin, line {number}: ")
    assert why in errors
    assert errors.endswith("; nothing was loaded\n")
    assert [file.name for file in tmp_path.iterdir()] == ["history.db-lock"]


def test_a_cut_archive_is_noticed_wherever_it_is_cut(history: History, path: Path, tmp_path: Path) -> None:
    dumped = history("dump", path)[1]
    for cut in range(0, len(dumped), 97):
        other = tmp_path / "other.db"
        status, _, errors = history("load", other, stdin=dumped[:cut])
        assert status == 1
        assert "nothing was loaded" in errors
        assert not other.exists()


def test_what_is_no_utf8_goes_as_base64(history: History, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    lines = [HEAD, MESSAGE.replace(b'"message":"1"', b'"base64":"/wA="'), end(messages=1)]
    assert history("load", path, stdin=b"\n".join(lines) + b"\n")[0] == 0
    dumped = history("dump", path)[1]
    assert b'"base64":"/wA="' in dumped
    tested = Tested(f"sqlite:///{path}", history__expire_after=1e9)
    (due,) = tested.engine.due(["abc"], ["0"])
    assert due.message.data == b"\xff\x00"
    tested.close()


def test_a_pipe_that_nobody_reads_is_no_error(path: Path) -> None:
    command = f"{sys.executable} -m rplx history dump {path} | head -c 10"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b'{"rplx_his', b"")
