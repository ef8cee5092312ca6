"""Rounds of the same work at several servers in turn, their medians, and the ratio to the floor round by round.

The servers alternate, as a machine's speed drifts by more than what is to be seen: only figures of one run compare.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rplx.bench.servers import Target
from rplx.bench.tools import Crowd, Event, Senders, Tools

KEPT_MESSAGES = 3  # messages to each connection that stays in a round, whose figures are their median
WARM_UP = 20  # listeners that come and go before the first round

Metrics = dict[str, float]


def messages_in_a_round(mode: str) -> int:
    """Returns how many messages a Crowd of this mode gets in a round."""
    return 1 if mode == "close" else KEPT_MESSAGES


@dataclass
class Result:
    """What the rounds of one server gave. `delivered` of `expected` messages arrived exactly once."""

    rounds: list[Metrics] = field(default_factory=list)
    delivered: int = 0
    expected: int = 0

    def count(self, delivered: int, expected: int) -> None:
        """Adds the messages of one delivery: how many arrived exactly once, of how many."""
        self.delivered += delivered
        self.expected += expected

    def values(self, metric: str) -> list[float]:
        """Returns the figure of each round that has it."""
        return [metrics[metric] for metrics in self.rounds if metric in metrics]

    def median(self, metric: str) -> float | None:
        """Returns the median of the rounds, None if none has the figure."""
        values = self.values(metric)
        return statistics.median(values) if values else None

    @property
    def complete(self) -> bool:
        """Whether every message arrived exactly once."""
        return self.delivered == self.expected


def ratios(result: Result, floor: Result, metric: str) -> list[float]:
    """Returns `metric` divided by the floor's of the same round, for each round in which both have it."""
    pairs = [(a.get(metric), b.get(metric)) for a, b in zip(result.rounds, floor.rounds, strict=False)]
    return [mine / base for mine, base in pairs if mine is not None and base]


Work = Callable[[Target, Result], Metrics]


def alternate(
    targets: Sequence[Target],
    work: Work,
    rounds: int,
    progress: Callable[[str], None] = lambda _: None,
    *,
    share_cpus: bool = False,
) -> dict[str, Result]:
    """Does the work at each target in turn, `rounds` times; returns the results by the target's name.

    `progress` is called after each piece of work, with its name. The servers have a CPU to themselves, unless
    `share_cpus` lets the clients run on it too.
    """
    results = {target.name: Result() for target in targets}
    with contextlib.nullcontext() if share_cpus else clients_apart(targets):
        for number in range(1, rounds + 1):
            for target in targets:
                result = results[target.name]
                result.rounds.append(work(target, result))
                progress(f"{target.name}, round {number}")
    return results


@contextlib.contextmanager
def clients_apart(targets: Sequence[Target]) -> Iterator[None]:
    """Puts the servers on one CPU, and this process and the clients that it starts on the others.

    If they shared all CPUs, clients would run on the one that a fast server leaves idle, which would flatter the floor.
    """
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2 or not all(target.worker for target in targets):
        yield
        return
    servers = {min(cpus)}
    for target in targets:
        os.sched_setaffinity(target.worker, servers)
    os.sched_setaffinity(0, cpus - servers)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


def listening(tools: Tools, crowd: Crowd) -> Work:
    """Returns the work of a crowd: `crowd_metrics`, and bytes_a_listener in the first round, on an empty server."""

    def work(target: Target, result: Result) -> Metrics:
        first = not result.rounds
        memory: list[int] = []
        if first:
            warm(tools, target, crowd)
        if first and target.pid:
            memory.append(target.memory())

        def look(event: Event) -> None:
            if event["event"] == "parked" and len(memory) == 1:
                memory.append(target.memory())

        events = tools.listen(target, crowd, look)
        metrics = crowd_metrics(target, crowd, events)
        for event in events:
            if event["event"] == "delivered":
                result.count(event["delivered"] - event["duplicates"], crowd.listeners)
        if len(memory) == 2:
            metrics["bytes_a_listener"] = (memory[1] - memory[0]) / crowd.listeners
        return metrics

    return work


def warm(tools: Tools, target: Target, crowd: Crowd) -> None:
    """Has a few listeners come and go, so that what a server loads at its first request is not counted."""
    few = min(WARM_UP, crowd.listeners)
    tools.listen(target, Crowd(few, min(few, crowd.channels), mode=crowd.mode, poll=crowd.poll, prefix=crowd.prefix))


def crowd_metrics(target: Target, crowd: Crowd, events: Sequence[Event]) -> Metrics:
    """Returns the figures of a crowd's events.

    These are entered_per_s, deliveries_per_s, latency_p50_ms (p90, p99, max); for a server whose process is known its
    CPU time in µs for an entry and a delivery; for kept connections cycles_per_s: delivered and polling again. A
    listener has entered when its head has come; if none comes before the message, when the server is idle again.
    """
    parked = events[0]
    delivered = [event for event in events if event["event"] == "delivered" and event["latency_ms"]]
    metrics: Metrics = {}
    if crowd.mode != "keepalive" and target.answers_head:
        metrics["entered_per_s"] = crowd.listeners / parked["enter_s"]
    elif target.worker:
        metrics["entered_per_s"] = crowd.listeners / parked["idle_s"]
    if not delivered:
        return metrics

    def middle(value: Callable[[Event], float]) -> float:
        return statistics.median(map(value, delivered))

    metrics["deliveries_per_s"] = middle(lambda event: event["delivered"] / event["deliver_s"])
    if crowd.mode == "keepalive" and target.worker:
        metrics["cycles_per_s"] = middle(lambda event: event["delivered"] / event["cycle_s"])
    for name, quantile in (("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)):
        metrics[f"latency_{name}_ms"] = statistics.median(event["latency_ms"][quantile] for event in delivered)
    if target.worker:
        metrics["enter_cpu_us"] = parked["cpu_s"] / crowd.listeners * 1e6
        metrics["deliver_cpu_us"] = middle(lambda event: event["cpu_s"]) / crowd.listeners * 1e6
    return metrics


def sending(tools: Tools, senders: Senders) -> Work:
    """Returns the work of publishers: sends_per_s, and the server's CPU time in µs a send."""

    def work(target: Target, result: Result) -> Metrics:
        event = tools.publish(target, senders)
        result.count(event["sent"], event["sent"] + event["failed"])
        metrics = {"sends_per_s": event["rate"]}
        if target.worker and event["sent"]:
            metrics["send_cpu_us"] = event["cpu_s"] / event["sent"] * 1e6
        return metrics

    return work


def as_json(results: Mapping[str, Result], base: str = "floor") -> dict[str, object]:
    """Returns every round's figures, their medians, and the ratios to `base` if it is among the results."""
    out: dict[str, object] = {}
    for name, result in results.items():
        metrics = list(dict.fromkeys(metric for metrics in result.rounds for metric in metrics))
        row: dict[str, object] = {
            "median": {metric: result.median(metric) for metric in metrics},
            "rounds": result.rounds,
            "delivered": result.delivered,
            "expected": result.expected,
        }
        if base in results and name != base:
            all_ratios = {metric: ratios(result, results[base], metric) for metric in metrics}
            row["ratio"] = {metric: statistics.median(values) for metric, values in all_ratios.items() if values}
        out[name] = row
    return out
