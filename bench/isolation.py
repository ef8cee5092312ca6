"""Experiments on what must not happen: one crowd in another's way, pauses, memory that grows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.document import Section, markdown_table
from bench.scale import Scale
from bench.svg import line_chart
from rplx.bench.report import number
from rplx.bench.rounds import warm
from rplx.bench.servers import Target, started_floor, started_rplx
from rplx.bench.tools import Crowd, Event, Ticker, Tools

INTERVAL_MS = 5.0  # between two sends of the ticker
LIMIT_MS = 50.0  # what a ticker may wait, 99 of 100
PAUSE_MS = 10.0  # what the garbage collector may take
CHURN = 200  # listeners that come and go while pauses are looked for
TICKER, CROWD, CHURNERS = "ticker77", "crowd", "churn1"  # channels; the floor tells them apart by their last number
MEGABYTE = 1 << 20

Tick = tuple[float, float, float]  # due, ms until acknowledged, ms until delivered; -1: never


@dataclass
class Ticks:
    """Ticks while nothing else was going on, and those that were due while a crowd was served."""

    quiet: list[Tick] = field(default_factory=list)
    busy: list[Tick] = field(default_factory=list)

    def sort(self, ticks: Sequence[Tick], event: Event) -> None:
        """Takes a ticker's result, by the window of a "delivered" event."""
        start, end = event["published_at"], event["published_at"] + event["deliver_s"]
        self.quiet += [tick for tick in ticks if tick[0] < start - LIMIT_MS / 1000]
        self.busy += [tick for tick in ticks if start <= tick[0] <= end]


def isolation(tools: Tools, scale: Scale) -> Section:
    """How long another channel's single listener, and the acknowledgement of a send, wait while a crowd is served."""
    crowds = {
        "closed answers": Crowd(scale.crowd, prefix=CROWD),
        "kept connections": Crowd(scale.crowd, mode="keepalive", messages=scale.fan_outs, prefix=CROWD),
        "streams": Crowd(scale.crowd, mode="stream", messages=scale.fan_outs, prefix=CROWD),
        "WebSockets": Crowd(scale.crowd, mode="websocket", messages=scale.fan_outs, prefix=CROWD),
    }
    rows: list[list[str]] = []
    plots = {}
    for title, crowd in crowds.items():
        with started_rplx() as rplx:
            warm(tools, rplx, crowd)
            ticks = Ticks()
            for _ in range(scale.fan_outs // 4 + 1 if crowd.mode == "close" else 1):
                _fan_outs(tools, rplx, crowd, ticks)
        rows += [
            _distribution(f"{title}: {what}{when}", [tick[place] for tick in chosen])
            for what, place in (("delivered", 2), ("acknowledged", 1))
            for when, chosen in (
                (", nothing else going on", ticks.quiet),
                (f", {scale.crowd:,} being served", ticks.busy),
            )
        ]
        series = {"delivered": _quantiles([tick[2] for tick in ticks.busy])}
        series["acknowledged"] = _quantiles([tick[1] for tick in ticks.busy])
        label = f"% of the sends during a delivery to {scale.crowd:,} listeners"
        name = f"isolation-{title.partition(' ')[0].lower()}"
        plots[name] = line_chart(f"Another channel meanwhile, {title}", label, "ms", series, limit=LIMIT_MS)
    head = ["a send to another channel", "sends", "p50, ms", "p90", "p99", "max", "never"]
    return Section("isolation", markdown_table(head, rows), plots)


def _fan_outs(tools: Tools, target: Target, crowd: Crowd, ticks: Ticks) -> None:
    under_way: list[Ticker] = []

    def on_event(event: Event) -> None:
        if event["event"] == "parked":
            seconds = 1.0 + crowd.listeners / 10_000
            under_way.append(tools.ticker(target, seconds, INTERVAL_MS, TICKER))
            time.sleep(0.3)  # quiet ones first
        elif under_way:
            ticks.sort(under_way.pop().result(), event)

    try:
        tools.listen(target, crowd, on_event)
    finally:
        for ticker in under_way:
            ticker.stop()


def _distribution(title: str, milliseconds: Sequence[float]) -> list[str]:
    came = sorted(value for value in milliseconds if value >= 0)
    never = len(milliseconds) - len(came)
    shown = [number(came[int((len(came) - 1) * share)]) if came else "-" for share in (0.5, 0.9, 0.99, 1)]
    return [title, str(len(milliseconds)), *shown, str(never)]


def _quantiles(milliseconds: Sequence[float]) -> list[tuple[float, float]]:
    came = sorted(value for value in milliseconds if value >= 0) or [0.0]
    return [(percent, came[(len(came) - 1) * percent // 100]) for percent in range(101)]


def pauses(tools: Tools, scale: Scale) -> Section:
    """The longest that a single listener waits while many are parked and others come and go; the floor shows how much
    of that is the machine's."""
    rows = []
    for server in (started_rplx(), started_floor(tools.directory)):
        with server as target:
            ticks = _ticks_beside_churn(tools, target, scale)
        row = _distribution(target.name, [tick[2] for tick in ticks])
        rows.append([*row, str(sum(tick[2] > PAUSE_MS for tick in ticks))])
    head = [f"{scale.crowd:,} parked, {CHURN} at a time coming and going", "sends"]
    head += ["p50, ms", "p90", "p99", "max", "never", f"over {PAUSE_MS:.0f} ms"]
    return Section("pauses", markdown_table(head, rows))


def _ticks_beside_churn(tools: Tools, target: Target, scale: Scale) -> list[Tick]:
    ticks: list[Tick] = []

    def on_event(event: Event) -> None:
        if event["event"] != "parked":
            return
        ticker = tools.ticker(target, scale.pause_seconds, INTERVAL_MS, TICKER)
        end = time.monotonic() + scale.pause_seconds
        while time.monotonic() < end:
            tools.listen(target, Crowd(CHURN, prefix=CHURNERS))
        ticks.extend(ticker.result())

    tools.listen(target, Crowd(scale.crowd, mode="keepalive", prefix=CROWD), on_event)
    return ticks


def memory(tools: Tools, scale: Scale) -> Section:
    """User memory while many polls are answered, and after a large crowd has left."""
    messages = max(1, scale.polls // scale.listeners)
    crowd = Crowd(scale.listeners, mode="keepalive", messages=messages)
    polls: list[tuple[float, float]] = []
    with started_rplx() as rplx:
        warm(tools, rplx, crowd)

        def on_event(event: Event) -> None:
            done = event["round"] * scale.listeners
            if event["event"] == "parked" and event["round"] % max(1, messages // 20) == 0:
                polls.append((done, rplx.memory() / MEGABYTE))

        tools.listen(rplx, crowd, on_event)
    with started_rplx() as rplx:
        left = _memory_of_a_crowd(tools, rplx, scale)
    tenth = polls[min(len(polls) - 1, 2)]
    text = (
        f"{scale.listeners:,} kept connections, all parked: {number(tenth[1])} MB after {tenth[0]:,.0f} polls,"
        f" {number(polls[-1][1])} MB after {polls[-1][0]:,.0f}.\n\n"
        + markdown_table(["a crowd of " + f"{scale.crowd:,}", "user memory, MB"], left)
    )
    plot = line_chart("User memory, all listeners parked", "polls answered", "MB", {"rplx": polls})
    return Section("memory", text, {"memory": plot})


def _memory_of_a_crowd(tools: Tools, target: Target, scale: Scale) -> list[list[str]]:
    crowd = Crowd(scale.crowd, mode="keepalive")
    warm(tools, target, crowd)
    rows: list[list[str]] = []

    def note(title: str) -> None:
        rows.append([title, number(target.memory() / MEGABYTE)])

    note("before it came")
    for visit in ("", ", second time"):
        tools.listen(target, crowd, lambda event, visit=visit: note(event["event"] + visit))  # type: ignore[misc]
        waited = 0
        for seconds in scale.leave_seconds:
            time.sleep(seconds - waited)
            waited = seconds
            note(f"{seconds} s after it left{visit}")
    return rows
