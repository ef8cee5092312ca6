"""A Redis of the bench's own, and what the Redis engine costs beside the memory engine."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.document import Section, markdown_table
from bench.peers import Missing
from bench.scale import Scale
from bench.speed import check_complete, median_ratio
from rplx.bench.report import number
from rplx.bench.rounds import alternate, listening, messages_in_a_round
from rplx.bench.servers import running, started_rplx
from rplx.bench.tools import Crowd, Tools


@dataclass(frozen=True)
class Redis:
    """A running redis-server."""

    url: str
    pid: int


@contextlib.contextmanager
def started_redis() -> Iterator[Redis]:
    """redis-server on loopback, nothing kept on disk. Raises Missing."""
    program = shutil.which("redis-server")
    if program is None:
        raise Missing("redis-server (Debian: redis-server)")
    with tempfile.TemporaryDirectory(prefix="rplx-redis-") as directory:
        port = _free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "", "--appendonly", "no"]
        with running([program, *options], ["(Ready to accept connections)"]) as (pid, _):
            yield Redis(f"redis://127.0.0.1:{port}/0", pid)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


GOAL = 0.9  # of the memory engine's rate, for one message to a crowd of one process


def engines(tools: Tools, scale: Scale) -> Section:
    """A process with the memory engine and one with Redis in turn: what the second costs a crowd. Raises Missing."""
    head = [f"{scale.listeners:,} listeners of one process", "memory", "Redis", "ratio", "at least"]
    rows = [*_rows(tools, scale, "close"), *_rows(tools, scale, "keepalive")]
    return Section("redis", markdown_table(head, rows))


def _rows(tools: Tools, scale: Scale, mode: str) -> list[list[str]]:
    """One mode's rows, of servers of its own: one that had a crowd before has memory at hand for the next."""
    keep = mode == "keepalive"
    kind, second = ("kept", "cycles_per_s") if keep else ("closed", "entered_per_s")
    crowd = Crowd(scale.listeners, mode=mode, messages=messages_in_a_round(mode))
    with started_rplx() as memory, started_redis() as redis, started_rplx("--set", f"engine.url={redis.url}") as shared:
        targets = [replace(memory, name="memory"), replace(shared, name="Redis")]
        results = alternate(targets, listening(tools, crowd), scale.rounds)
    check_complete(results)

    def row(title: str, metric: str, ratio: str = "-", least: str = "-") -> list[str]:
        return [f"{kind}: {title}", *(number(results[name].median(metric)) for name in results), ratio, least]

    def ratio(metric: str) -> str:
        return f"{median_ratio(results, metric, 'Redis', 'memory'):.2f}"

    return [
        row("deliveries /s", "deliveries_per_s", ratio("deliveries_per_s"), f"{GOAL:.2f}"),
        row("full cycles /s" if keep else "entered /s", second, ratio(second)),
        row("bytes a parked listener", "bytes_a_listener"),
    ]
