"""`python -m bench.compare [--quick] [--write] [NAME ...]`: rplx beside what a user would pick, in turn, in one run.

Prints the tables; --write also puts them and the plots into docs/performance.md. Needs nginx with nchan and Tornado;
what is not installed is left out, and said.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bench import document, peers
from bench.scale import FULL, QUICK, Scale
from bench.speed import check_complete
from bench.svg import bar_chart
from rplx.bench.report import number
from rplx.bench.rounds import Result, alternate, listening, messages_in_a_round, ratios
from rplx.bench.servers import Target, started_floor, started_rplx
from rplx.bench.tools import Crowd, Tools, build
from rplx.system.limits import raise_descriptor_limit

COLUMNS = {
    "entered_per_s": "entered /s",
    "deliveries_per_s": "deliveries /s",
    "cycles_per_s": "full cycles /s",
    "latency_p50_ms": "p50, ms",
    "latency_p99_ms": "p99, ms",
    "deliver_cpu_us": "CPU µs a delivery",
    "bytes_a_listener": "bytes a listener",
}
PLOTTED = ("entered_per_s", "deliveries_per_s", "cycles_per_s", "bytes_a_listener")
STREAMERS = (started_rplx, peers.started_nchan)
POLLED = (*STREAMERS, peers.started_tornado, peers.started_pywsgi)


class Mode(NamedTuple):
    """A Crowd's mode, as the page calls it, and who is compared."""

    crowd: str
    title: str
    starters: Sequence[Callable[[], AbstractContextManager[Target]]]


MODES = {
    "closed": Mode("close", "closed connections", POLLED),
    "kept": Mode("keepalive", "kept connections", POLLED),
    "streams": Mode("stream", "event streams", STREAMERS),
    "websockets": Mode("websocket", "WebSockets", STREAMERS),
}


def start_all(tools: Tools, servers: contextlib.ExitStack, mode: Mode) -> list[Target]:
    """All that are installed. A listener of each counts as entered when the server is idle, as some answer no head."""
    targets = []
    for start in mode.starters:
        try:
            targets.append(servers.enter_context(start()))
        except peers.Missing as missing:
            print(f"left out, not installed: {missing}", file=sys.stderr)
    targets.append(servers.enter_context(started_floor(tools.directory)))
    return [replace(target, answers_head=False) for target in targets]


def compare(tools: Tools, scale: Scale, name: str) -> document.Section:
    """One crowd, one channel, at each server in turn."""
    mode = MODES[name]
    crowd = Crowd(scale.listeners, mode=mode.crowd, messages=messages_in_a_round(mode.crowd))
    with contextlib.ExitStack() as servers:
        targets = start_all(tools, servers, mode)
        results = alternate(targets, listening(tools, crowd), scale.rounds)
    check_complete({name: results[name] for name in ("rplx", "floor")})
    columns = [metric for metric in COLUMNS if any(result.values(metric) for result in results.values())]
    rows = [
        [_named(server, result), *(_cell(metric, result, results["floor"]) for metric in columns)]
        for server, result in results.items()
    ]
    title = f"{scale.listeners:,} listeners, {mode.title}"
    table = document.markdown_table([title, *(COLUMNS[metric] for metric in columns)], rows)
    return document.Section(f"compare-{name}", table, {f"compare-{name}": _plot(title, results, columns)})


def _named(name: str, result: Result) -> str:
    lost = result.expected - result.delivered
    return f"{name} ({lost:,} of {result.expected:,} messages lost)" if lost else name


def _cell(metric: str, result: Result, floor: Result) -> str:
    value = number(result.median(metric))
    if not metric.endswith("_per_s") or result is floor:
        return value
    shares = sorted(ratios(result, floor, metric))
    return f"{value} ({shares[len(shares) // 2]:.2f})" if shares else value


def _plot(title: str, results: dict[str, Result], columns: Sequence[str]) -> str:
    groups = {
        COLUMNS[metric]: {name: result.median(metric) or 0.0 for name, result in results.items()}
        for metric in PLOTTED
        if metric in columns
    }
    return bar_chart(title, groups)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="Measures rplx beside other servers.")
    parser.add_argument("--quick", action="store_true", help="small and short, only to see that it runs")
    parser.add_argument("--write", action="store_true", help="put tables and plots into docs/performance.md")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODES)} (default: all)")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in MODES]:
        parser.error(f"no such comparison: {', '.join(unknown)}")
    if args.quick and args.write:
        parser.error("--quick figures are not for the page")
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory(prefix="rplx-bench-") as directory:
        tools = build(Path(directory))
        for name in args.names or MODES:
            section = compare(tools, QUICK if args.quick else FULL, name)
            print(f"{section.text}\n", flush=True)
            if args.write:
                document.write(section)
    return 0


if __name__ == "__main__":
    sys.exit(main())
