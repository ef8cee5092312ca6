"""`rplx bench` with tiny numbers: the figures' shape, and that every message that is lost is seen. Nothing is timed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import document, redis, svg
from bench.scale import Scale
from rplx.bench import rounds
from rplx.bench.command import LISTENING, MODES
from rplx.bench.servers import Target, started_floor
from rplx.bench.tools import COMPILERS, PROGRAMS, ToolFailed, build
from rplx.options.checks import parse_address
from tests.lines.sockets import request
from tests.lines.wire import Conversation, http
from tests.live import LiveServer
from tests.redis_server import AVAILABLE

LISTENERS = 40


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rplx", "bench", *arguments], capture_output=True, text=True, timeout=120
    )


def measured(*arguments: str) -> dict[str, Any]:
    done = bench("--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_closed_answers_reach_every_listener_once() -> None:
    out = measured("--listeners", str(LISTENERS), "--channels", "3", "--rounds", "2")
    assert {name: out[name] for name in ("mode", "listeners", "channels", "payload", "rounds")} == {
        "mode": "close",
        "listeners": LISTENERS,
        "channels": 3,
        "payload": 64,
        "rounds": 2,
    }
    assert set(out["results"]) == {"rplx", "floor"}
    for result in out["results"].values():
        assert result["delivered"] == result["expected"] == 2 * LISTENERS
        assert len(result["rounds"]) == 2
    rplx = out["results"]["rplx"]
    assert set(rplx["median"]) == {
        "entered_per_s",
        "deliveries_per_s",
        "latency_p50_ms",
        "latency_p90_ms",
        "latency_p99_ms",
        "latency_max_ms",
        "enter_cpu_us",
        "deliver_cpu_us",
        "bytes_a_listener",
    }
    assert 0 < rplx["median"]["latency_p50_ms"] <= rplx["median"]["latency_p99_ms"] <= rplx["median"]["latency_max_ms"]
    first, second = (
        one["deliveries_per_s"] / other["deliveries_per_s"]
        for one, other in zip(rplx["rounds"], out["results"]["floor"]["rounds"], strict=True)
    )
    assert rplx["ratio"]["deliveries_per_s"] == pytest.approx((first + second) / 2)


def test_kept_connections_get_every_message_of_a_round() -> None:
    """So many that those who come back have to queue in the server."""
    out = measured("--listeners", "3000", "--rounds", "1", "--mode", "keepalive", "--payload", "5000")
    for result in out["results"].values():
        assert result["delivered"] == result["expected"] == 3000 * rounds.KEPT_MESSAGES
        assert result["median"]["cycles_per_s"] > 0


@pytest.mark.parametrize(
    ("mode", "payload"), [("stream", 64), ("websocket", 24), ("websocket", 1000), ("websocket", 70000)]
)
def test_streams_get_every_message_of_a_round(mode: str, payload: int) -> None:
    """The floor writes lengths of frames in one, in two and in eight bytes."""
    out = measured("--listeners", "200", "--channels", "3", "--rounds", "1", "--mode", mode, "--payload", str(payload))
    for result in out["results"].values():
        assert result["delivered"] == result["expected"] == 200 * rounds.KEPT_MESSAGES
        assert {"entered_per_s", "deliveries_per_s", "bytes_a_listener", "deliver_cpu_us"} <= set(result["median"])
        assert "cycles_per_s" not in result["median"]  # nobody polls again


def test_the_floor_streams_as_a_server_does(tmp_path: Path) -> None:
    build(tmp_path)
    with started_floor(tmp_path) as floor:
        wait, in_ = parse_address(floor.wait), parse_address(floor.in_)
        stream = Conversation(wait, http("GET /?identifier=1:c5 HTTP/1.1\nHost: x\nAccept: text/event-stream"))
        assert stream.until(b"\r\n\r\n").endswith(b"Transfer-Encoding: chunked\r\n\r\n")
        talk = Conversation(wait, request("/?identifier=1:c5"))
        assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in talk.until(b"\r\n\r\n")
        for number in (b"1", b"2"):
            sender = Conversation(in_, http("POST / HTTP/1.1\nHost: x\nX-Realplexor: identifier=c5", number))
            cursor = sender.answer()[1].split()[1]
            text = b'{"ids":{"c5":"%b"},"data":%b}' % (cursor, number)
            event = b"id: %b:*\ndata: %b\n\n" % (cursor, text)
            assert stream.until(b"\n\n\r\n") == b"%x\r\n%b\r\n" % (len(event), event)
            assert talk.until(b"%b}" % number) == bytes([0x81, len(text)]) + text


@pytest.mark.parametrize("mode", ["in", "in-pipelined"])
def test_sends_are_acknowledged(mode: str) -> None:
    out = measured("--rounds", "1", "--mode", mode, "--channels", "5")
    for result in out["results"].values():
        assert result["delivered"] == result["expected"] > 0
        assert result["median"]["sends_per_s"] > 0


def test_table() -> None:
    done = bench("--listeners", "10", "--rounds", "1")
    assert done.returncode == 0
    title, blank, head, *rows = done.stdout.splitlines()
    assert title.startswith("mode close: 10 listeners, 1 channel, 64 bytes a message; median of 1 rounds;")
    assert blank == ""
    assert head.split() == ["rplx", "floor", "rplx", "/", "floor"]
    assert [re.split(r"  +", row)[0] for row in rows] == [
        "entered /s",
        "deliveries /s",
        "latency p50, ms",
        "latency p90, ms",
        "latency p99, ms",
        "latency max, ms",
        "bytes a listener",
        "server CPU to enter, µs",
        "server CPU a delivery, µs",
        "arrived exactly once",
    ]
    assert rows[-1].split("  ")[-1].strip() == "10 of 10"
    assert done.stderr == ""  # no progress bar where nobody sees it


def test_target_elsewhere() -> None:
    with LiveServer() as server:
        lines = ["--target", f"localhost:{server.wait[1]}", "--in", f"localhost:{server.in_[1]}"]
        out = measured(*lines, "--listeners", str(LISTENERS), "--rounds", "1")
        kept, streams = [
            measured(*lines, "--listeners", str(LISTENERS), "--rounds", "1", "--mode", mode)
            for mode in ("keepalive", "stream")
        ]
    assert set(out["results"]) == {"target"}
    assert out["results"]["target"]["delivered"] == out["results"]["target"]["expected"] == LISTENERS
    assert "bytes_a_listener" not in out["results"]["target"]["median"]  # its process is not ours to look at
    for out in (kept, streams):
        assert out["results"]["target"]["delivered"] == LISTENERS * rounds.KEPT_MESSAGES


def test_target_at_the_path_of_a_socket(tmp_path: Path) -> None:
    places = [f"unix:{tmp_path}/{name}" for name in ("wait", "in")]
    with LiveServer("--wait", places[0], "--in", places[1], addresses=False):
        for mode in MODES:
            listeners = ["--listeners", str(LISTENERS)] if mode in LISTENING else []
            out = measured("--target", places[0], "--in", places[1], "--rounds", "1", "--mode", mode, *listeners)
            assert out["results"]["target"]["delivered"] == out["results"]["target"]["expected"] > 0
    done = bench("--target", places[0], "--in", places[1])
    assert (done.returncode, done.stderr) == (1, f"rplx bench: --in {places[1]}: No such file or directory\n")
    done = bench("--target", "unix:wait", "--in", places[1])
    assert (done.returncode, "the path of a socket is absolute" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(("mode", "messages"), [("close", 1), ("stream", 3), ("websocket", 3)])
def test_lost_messages_are_seen(mode: str, messages: int) -> None:
    with LiveServer("--set", "wait.max_connections_per_address=4") as server:
        lines = ["--target", f"127.0.0.1:{server.wait[1]}", "--in", f"127.0.0.1:{server.in_[1]}"]
        done = bench(*lines, "--json", "--listeners", "7", "--rounds", "1", "--mode", mode)
    assert done.returncode == 1
    result = json.loads(done.stdout)["results"]["target"]
    assert (result["delivered"], result["expected"]) == (4 * messages, 7 * messages)


def test_swapped_lines_are_refused() -> None:
    with LiveServer("--set", "wait.timeout=0.5") as server:
        done = bench("--target", f"127.0.0.1:{server.in_[1]}", "--in", f"127.0.0.1:{server.wait[1]}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"rplx bench: --in 127.0.0.1:{server.wait[1]} ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--target", "127.0.0.1:1"], "--target (the WAIT line) and --in (the IN line) go together"),
        (["--in", "127.0.0.1:1"], "--target (the WAIT line) and --in (the IN line) go together"),
        (["--mode", "in", "--listeners", "5"], "--listeners means nothing with --mode in"),
        (["--listeners", "0"], "--listeners must be 1 to "),
        (["--listeners", "99999999"], "file descriptors: ulimit -Hn"),
        (["--channels", "6", "--listeners", "5"], "--channels 6 is more than there are listeners (5)"),
        (["--payload", "3"], "--payload must be 24 to 200,000, is 3"),
        (["--rounds", "0"], "--rounds must be 1 to 1,000, is 0"),
        (["--target", "no-port", "--in", "127.0.0.1:1"], "--target no-port: no IPv4 HOST:PORT"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("rplx bench: ")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_listens_at_the_target() -> None:
    done = bench("--target", "127.0.0.1:1", "--in", "127.0.0.1:1")
    assert (done.returncode, done.stderr) == (1, "rplx bench: --in 127.0.0.1:1: Connection refused\n")


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolFailed, match="no C compiler here") as raised:
        build(tmp_path)
    assert all(compiler in str(raised.value) for compiler in COMPILERS)


def test_sources_build_without_a_warning(tmp_path: Path) -> None:
    sources = Path(rounds.__file__).parent
    for program in PROGRAMS:
        command = ["cc", "-Wall", "-Wextra", "-O2", "-o", str(tmp_path / program), str(sources / f"{program}.c")]
        assert subprocess.run(command, capture_output=True, text=True).stderr == ""


def test_plots_are_well_formed() -> None:
    lines = svg.line_chart(
        "a < b", "x", "y", {"one": [(0.0, 0.0), (10.0, 7.0)], "two & a half": [(5.0, 3.0)]}, limit=5.0
    )
    bars = svg.bar_chart("rates", {"entered /s": {"rplx": 20_000.0, "floor": 25_000.0}})
    for text in (lines, bars):
        ElementTree.fromstring(text)
    assert "25,000" in bars
    assert "a &lt; b" in lines


def test_a_section_takes_its_place_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    page.write_text(
        "before\n<!-- measured: goals -->\nold\n<!-- end -->\nbetween\n<!-- measured: sets -->\n<!-- end -->\n"
    )
    monkeypatch.setattr(document, "PLOTS", tmp_path / "plots")
    document.write(document.Section("goals", "| new |", {"rates": "<svg/>"}), page)
    assert page.read_text() == (
        "before\n<!-- measured: goals -->\n| new |\n\n![rates](plots/rates.svg)\n<!-- end -->\nbetween\n"
        "<!-- measured: sets -->\n<!-- end -->\n"
    )
    assert (tmp_path / "plots" / "rates.svg").read_text() == "<svg/>"
    with pytest.raises(ValueError, match="no place for growth"):
        document.write(document.Section("growth", ""), page)


@pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")
def test_the_capacity_of_a_machine_in_small() -> None:
    """Two workers, one Redis: everybody is counted and reached, or the experiment ends with an error."""
    command = [sys.executable, "-m", "bench.measure", "--quick", "capacity"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=document.ROOT)
    assert done.returncode == 0, done.stderr
    assert "| 2,000 listeners of one channel | closed answers | kept connections |" in done.stdout
    assert "| workers | 2 | 2 |" in done.stdout
    for bound in ("ulimit -n", "ip_local_port_range", "file-max", "tcp_mem", "tcp_max_orphans", "nf_conntrack_max"):
        assert bound in done.stdout
    assert "| ten machines, each | 100,000 |" in done.stdout


@pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")
def test_each_mode_beside_redis_has_servers_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that had a crowd has memory at hand: the next crowd seems to cost next to nothing."""
    measured: list[int] = []

    def alternate(targets: Sequence[Target], *arguments: Any) -> dict[str, rounds.Result]:
        measured.extend(target.pid for target in targets)
        return rounds.alternate(targets, *arguments)

    monkeypatch.setattr(redis, "alternate", alternate)
    table = redis.engines(build(tmp_path), Scale(listeners=50, rounds=1)).text
    assert table.count("bytes a parked listener") == 2
    assert len(measured) == len(set(measured)) == 4
