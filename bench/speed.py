"""Experiments on rates and memory a listener: the figures to reach, growth, sets of channels, many messages waiting."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO

from bench.document import Section, markdown_table
from bench.scale import Scale
from bench.svg import line_chart
from rplx.bench.report import number
from rplx.bench.rounds import Result, Work, alternate, listening, messages_in_a_round, ratios, sending
from rplx.bench.servers import Target, started_floor, started_rplx
from rplx.bench.tools import Crowd, Senders, Tools

PLAIN_SEND = 'X-Realplexor: identifier=%c\\r\\n\\r\\n"%m"'  # the oldest form of a send, without HTTP
POLL = "GET /?identifier={} HTTP/1.1\\r\\nHost: x\\r\\n{}\\r\\n"
FORMS = {  # the headers of a poll, by a Crowd's mode
    "close": "Connection: close\\r\\n",
    "keepalive": "",
    "stream": "Accept: text/event-stream\\r\\n",
    "websocket": "Connection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n",
}
SET_METRICS = {
    "deliveries_per_s": "deliveries /s",
    "deliver_cpu_us": "CPU µs a delivery",
    "entered_per_s": "entered /s",
    "enter_cpu_us": "CPU µs to enter",
}


def median_ratio(results: Mapping[str, Result], metric: str, name: str = "rplx", base: str = "floor") -> float:
    return statistics.median(ratios(results[name], results[base], metric))


def beside_floor(tools: Tools, work: Work, rounds: int, *, share_cpus: bool = False) -> dict[str, Result]:
    """The work at a fresh rplx and the floor in turn; every message must arrive exactly once."""
    with started_rplx() as rplx, started_floor(tools.directory) as floor:
        results = alternate([rplx, floor], work, rounds, share_cpus=share_cpus)
    check_complete(results)
    return results


def check_complete(results: Mapping[str, Result]) -> None:
    """Figures of a server that loses messages mean nothing: RuntimeError."""
    for name, result in results.items():
        if not result.complete:
            raise RuntimeError(f"{name}: {result.delivered} of {result.expected} messages arrived exactly once")


PARKED = {  # by a Crowd's mode: who waits, and the bytes that it may take
    "close": ("listener, to be closed", 4096),
    "keepalive": ("listener, to be kept", 4096),
}


def crowd_of(listeners: int, mode: str) -> Crowd:
    return Crowd(listeners, mode=mode, messages=messages_in_a_round(mode))


def goals(tools: Tools, scale: Scale) -> Section:
    """The ratios to the floor that the project promises to itself."""
    found = {
        mode: beside_floor(tools, listening(tools, crowd_of(scale.listeners, mode)), scale.rounds) for mode in PARKED
    }
    sends = []
    for form, senders in (
        ("HTTP", Senders(seconds=scale.send_seconds)),
        ("plain", Senders(seconds=scale.send_seconds, send=PLAIN_SEND)),
    ):
        for shared, share_cpus in (("", False), (", CPUs shared with them", True)):
            results = beside_floor(tools, sending(tools, senders), scale.rounds, share_cpus=share_cpus)
            title = f"sends /s, a connection each, 4 publishers{shared}, {form}"
            sends.append(goal(title, results, "sends_per_s", 0.85))
    piped = beside_floor(tools, sending(tools, Senders(1, 64, seconds=scale.send_seconds)), scale.rounds)
    rows = [
        goal("closed answers: entered /s", found["close"], "entered_per_s", 0.70),
        goal("closed answers: deliveries /s", found["close"], "deliveries_per_s", 0.95),
        goal("kept connections: deliveries /s", found["keepalive"], "deliveries_per_s", 0.90),
        goal("kept connections: full cycles /s", found["keepalive"], "cycles_per_s", 0.50),
        *sends,
        goal("sends /s, one connection, pipelined HTTP", piped, "sends_per_s", None),
    ]
    for mode, (title, most) in PARKED.items():
        parked = number(found[mode]["rplx"].median("bytes_a_listener"))
        rows.append([f"bytes a parked {title}", parked, "-", "-", f"≤ {most:,}"])
    head = [f"{scale.listeners:,} listeners, one channel, 64 B", "rplx", "floor", "ratio", "at least"]
    return Section("goals", markdown_table(head, rows))


def goal(title: str, results: Mapping[str, Result], metric: str, least: float | None) -> list[str]:
    rates = [number(results[name].median(metric)) for name in ("rplx", "floor")]
    return [title, *rates, f"{median_ratio(results, metric):.2f}", f"{least:.2f}" if least else "-"]


def growth(tools: Tools, scale: Scale) -> Section:
    """The cost of one entry and one delivery as the crowd grows, into an empty channel and into one with history."""
    rows = []
    names = ("enter", "enter, history of 30", "deliver", "deliver and poll again")
    series: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for size in scale.sizes:
        close = beside_floor(tools, listening(tools, Crowd(size)), scale.rounds)
        full = beside_floor(tools, listening(tools, Crowd(size, history=31)), scale.rounds)
        keep = beside_floor(tools, listening(tools, crowd_of(size, "keepalive")), scale.rounds)
        cpu = [
            close["rplx"].median("enter_cpu_us"), full["rplx"].median("enter_cpu_us"),
            close["rplx"].median("deliver_cpu_us"), keep["rplx"].median("deliver_cpu_us"),
        ]  # fmt: skip
        for points, value in zip(series.values(), cpu, strict=True):
            points.append((float(size), value or 0.0))
        rows.append([
            f"{size:,}", _with_ratio(close, "entered_per_s"), _with_ratio(full, "entered_per_s"),
            _with_ratio(close, "deliveries_per_s"), _with_ratio(keep, "cycles_per_s"), *map(number, cpu),
            number(close["rplx"].median("bytes_a_listener")),
        ])  # fmt: skip
    head = [
        "listeners", "entered /s", "… with history", "deliveries /s", "kept: cycles /s", "CPU µs to enter",
        "… with history", "… a delivery", "… kept, a cycle", "bytes a listener",
    ]  # fmt: skip
    plot = line_chart("Server CPU for one listener", "listeners of the channel", "µs", series)
    return Section("growth", markdown_table(head, rows), {"growth": plot})


def _with_ratio(results: Mapping[str, Result], metric: str) -> str:
    return f"{number(results['rplx'].median(metric))} ({median_ratio(results, metric):.2f})"


def sets(tools: Tools, scale: Scale) -> Section:
    """Every listener has a channel of its own beside the shared one, against all having the same two channels."""
    head = [f"{scale.listeners:,} listeners", "one common set", "a set each", "ratio"]
    return Section("sets", markdown_table(head, sets_rows(tools, scale, {"close": "closed", "keepalive": "kept"})))


def sets_rows(tools: Tools, scale: Scale, modes: Mapping[str, str]) -> list[list[str]]:
    """The rows of `sets` for modes of a Crowd, each with its title."""
    common, own = "%u:u0z,%u:%c", "%u:u%iz,%u:%c"
    rows = []
    for mode, title in modes.items():
        with started_rplx() as rplx:
            targets = [
                replace(rplx, name=name, polls={mode: POLL.format(ids, FORMS[mode])})
                for name, ids in (("one set", common), ("own sets", own))
            ]
            results = alternate(targets, listening(tools, crowd_of(scale.listeners, mode)), scale.rounds)
        check_complete(results)
        for metric, what in SET_METRICS.items():
            rates = [number(results[target.name].median(metric)) for target in targets]
            ratio = median_ratio(results, metric, "own sets", "one set")
            rows.append([f"{title}: {what}", *rates, f"{ratio:.2f}"])
    return rows


CHANNELS, WAITING = 300, 30  # channels of one listener, messages waiting in each
BATCH = 30  # sends under way at once
WAITING_BYTES = 32  # of each; all that waits stays below wait.out_max, which would cut it into two answers


def waiting(tools: Tools, scale: Scale) -> Section:
    """One listener of 300 channels with 30 messages waiting in each, against one channel with as many bytes: in as many
    messages, and in the 30 messages that a channel has by default."""
    many = [f"many{i}" for i in range(CHANNELS)]
    count = CHANNELS * WAITING
    with started_rplx("--set", f"history.max_messages={count}") as rplx:
        _send(rplx, [(id, WAITING_BYTES) for id in many for _ in range(WAITING)])
        _, size = _timed_poll(rplx, many)
        around = (size - count * WAITING_BYTES) / count  # bytes of a block beside its message
        _send(rplx, [("one", WAITING_BYTES + len(many[-1]) - len("one"))] * count)
        _send(rplx, [("few", round(size / WAITING - around))] * WAITING)
        asked = {
            f"{CHANNELS} channels with {WAITING} messages each": many,
            f"one channel with {count:,} messages": ["one"],
            f"one channel with {WAITING} messages": ["few"],
        }
        times: dict[str, list[float]] = {title: [] for title in asked}
        for _ in range(scale.rounds * 4 + 1):
            for title, ids in asked.items():
                seconds, got = _timed_poll(rplx, ids)
                if abs(got - size) > size * 0.02:
                    raise RuntimeError(f"the answers are not of one size: {got} and {size} bytes")
                times[title].append(seconds * 1e3)
    first, *_ = times.values()
    rows = [
        [
            title, f"{size:,}", number(statistics.median(values)), number(max(values)),
            f"{statistics.median(a / b for a, b in zip(first, values, strict=True)):.2f}",
        ]
        for title, values in times.items()
    ]  # fmt: skip
    return Section(
        "waiting",
        markdown_table(["one listener", "bytes", "answered in, ms (median)", "max", "the first against it"], rows),
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _send(target: Target, messages: Sequence[tuple[str, int]]) -> None:
    """Sends a message of so many bytes to each id, all on one connection."""
    with socket.create_connection(_address(target.in_), 10) as connection, connection.makefile("rb") as answers:
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            for id, size in batch:
                head = (
                    f"POST / HTTP/1.1\r\nHost: x\r\nX-Realplexor: identifier={id}\r\nContent-Length: {size + 2}\r\n\r\n"
                )
                connection.sendall(f'{head}"{"x" * size}"'.encode())
            for _ in batch:
                _read_answer(answers)


def _read_answer(answers: BinaryIO) -> None:
    status = answers.readline()
    length = 0
    while (line := answers.readline()).strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    if b" 200 " not in status:
        raise RuntimeError(f"not stored: {status!r} {answers.read(length)!r}")
    answers.read(length)


def _timed_poll(target: Target, ids: Sequence[str]) -> tuple[float, int]:
    """Polls from the beginning; gives the seconds until the end of the answer, and its bytes."""
    listed = ",".join(f"0:{id}" for id in ids)
    with socket.create_connection(_address(target.wait), 10) as connection:
        start = time.perf_counter()
        connection.sendall(f"GET /?identifier={listed} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        size = 0
        while data := connection.recv(1 << 20):
            size += len(data)
        return time.perf_counter() - start, size
