"""`python -m bench.regression`: is rplx still as fast, next to others, as it was? Under a minute; exit status 1: no.

Only ratios to another server in the same run are judged, so the machine's speed does not matter. Listeners are compared
with the kernel's floor. A connection a send costs more in the interpreter than in the kernel, and how these two compare
differs by a factor of two between machines and builds of Python: so it is compared with a gevent server of a few lines
(bench/peers/plain_server.py). Each limit lies a little above half of what is usual: a halving is caught. A figure below
its limit is measured twice more, and the best counts.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from rplx.bench.report import aligned
from rplx.bench.rounds import KEPT_MESSAGES, Work, alternate, listening, ratios, sending
from rplx.bench.servers import LISTENING, Target, running, started_floor, started_rplx
from rplx.bench.tools import Crowd, Senders, Tools, build
from rplx.system.limits import raise_descriptor_limit

LISTENERS, ROUNDS, SECONDS = 2_000, 5, 0.5
ATTEMPTS = 3
BYTES_A_LISTENER = 6_000  # twice what is usual with this few


Started = Callable[[Path], AbstractContextManager[Target]]


@contextlib.contextmanager
def started_plain(directory: Path) -> Iterator[Target]:
    """Runs bench/peers/plain_server.py. Yields the target."""
    with running([sys.executable, "-m", "bench.peers.plain_server"], LISTENING) as (pid, (wait, in_)):
        yield Target("plain", wait, in_, pid, pid)


@dataclass(frozen=True)
class Check:
    """Some work, and for each of its figures the least ratio to that of `peer`."""

    title: str
    work: Work
    least: Mapping[str, float]
    peer: Started = started_floor


def checks(tools: Tools) -> list[Check]:
    kept = Crowd(LISTENERS, mode="keepalive", messages=KEPT_MESSAGES)
    streams = Crowd(LISTENERS, mode="stream", messages=KEPT_MESSAGES)
    return [
        Check("closed", listening(tools, Crowd(LISTENERS)), {"entered_per_s": 0.55, "deliveries_per_s": 0.62}),
        Check("kept", listening(tools, kept), {"deliveries_per_s": 0.57, "cycles_per_s": 0.28}),
        Check("streams", listening(tools, streams), {"deliveries_per_s": 0.47}),
        Check("a connection a send", sending(tools, Senders(seconds=SECONDS)), {"sends_per_s": 0.55}, started_plain),
    ]


def measured(tools: Tools, check: Check) -> tuple[dict[str, float], list[str]]:
    """The median ratio of each figure, and what is wrong whatever the speed."""
    with started_rplx() as rplx, check.peer(tools.directory) as peer:
        results = alternate([rplx, peer], check.work, ROUNDS)
    wrong = [
        f"{check.title}: {name}: {result.delivered} of {result.expected} arrived exactly once"
        for name, result in results.items()
        if not result.complete
    ]
    if (size := results["rplx"].median("bytes_a_listener") or 0) > BYTES_A_LISTENER:
        wrong.append(f"{check.title}: {size:,.0f} bytes a listener, at most {BYTES_A_LISTENER:,}")
    found = {metric: statistics.median(ratios(results["rplx"], results[peer.name], metric)) for metric in check.least}
    return found, wrong


def main() -> int:
    raise_descriptor_limit()
    rows = [["ratio to the floor; sends: to a plain gevent server", "measured", "at least"]]
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rplx-bench-") as directory:
        tools = build(Path(directory))
        for check in checks(tools):
            best = dict.fromkeys(check.least, 0.0)
            for _ in range(ATTEMPTS):
                found, wrong = measured(tools, check)
                best = {metric: max(best[metric], ratio) for metric, ratio in found.items()}
                if wrong or all(best[metric] >= least for metric, least in check.least.items()):
                    break
            problems += wrong
            for metric, least in check.least.items():
                rows.append([f"{check.title}: {metric}", f"{best[metric]:.2f}", f"{least:.2f}"])
                if best[metric] < least:
                    problems.append(
                        f"{check.title}: {metric} is {best[metric]:.2f} of the other's, at least {least:.2f}"
                    )
    print(aligned(rows))
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
