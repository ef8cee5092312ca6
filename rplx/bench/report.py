"""The table of `rplx bench`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from rplx.bench.rounds import Result, ratios

ROWS = {
    "entered_per_s": "entered /s",
    "deliveries_per_s": "deliveries /s",
    "cycles_per_s": "full cycles /s",
    "sends_per_s": "sends /s",
    "latency_p50_ms": "latency p50, ms",
    "latency_p90_ms": "latency p90, ms",
    "latency_p99_ms": "latency p99, ms",
    "latency_max_ms": "latency max, ms",
    "bytes_a_listener": "bytes a listener",
    "enter_cpu_us": "server CPU to enter, µs",
    "deliver_cpu_us": "server CPU a delivery, µs",
    "send_cpu_us": "server CPU a send, µs",
}
BAR_WIDTH = 30


def bar(done: int, total: int) -> str:
    """Returns a progress bar."""
    filled = BAR_WIDTH * done // total
    return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}]"


def number(value: float | None) -> str:
    """Returns a figure with three significant digits, or a dash for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(results: Mapping[str, Result], base: str = "floor") -> str:
    """Returns a table: a row a figure, a column a server (median and range of the rounds), and ratios to `base`."""
    compared = [name for name in results if name != base] if base in results else []
    head = ["", *results, *(f"{name} / {base}" for name in compared)]
    rows = [head]
    for metric, title in ROWS.items():
        if any(result.values(metric) for result in results.values()):
            cells = [_cell(result.values(metric)) for result in results.values()]
            shares = [_share(metric, results[name], results[base]) for name in compared]
            rows.append([title, *cells, *shares])
    sends = any(result.values("sends_per_s") for result in results.values())
    rows.append(
        [
            "acknowledged" if sends else "arrived exactly once",
            *(f"{r.delivered:,} of {r.expected:,}" for r in results.values()),
        ]
    )
    return aligned(rows)


def _cell(values: Sequence[float]) -> str:
    if len(values) < 2:
        return number(values[0] if values else None)
    return f"{number(statistics.median(values))} ({number(min(values))} - {number(max(values))})"


def _share(metric: str, result: Result, floor: Result) -> str:
    if metric == "bytes_a_listener":  # the floor keeps so little that a ratio to it says nothing
        return "-"
    values = ratios(result, floor, metric)
    return f"{statistics.median(values):.2f}" if values else "-"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as text, the first column aligned to the left and the others to the right."""
    columns = max(map(len, rows))
    padded = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(map(len, column)) for column in zip(*padded, strict=True)]
    lines = (
        [
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in padded
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)
