"""Experiments on event streams and WebSockets: the figures to reach, sets of channels, many messages to few."""

from __future__ import annotations

import os
from dataclasses import replace

from bench.document import Section, markdown_table
from bench.scale import Scale
from bench.speed import beside_floor, check_complete, crowd_of, goal, sets_rows
from rplx.bench.report import number
from rplx.bench.rounds import alternate, listening
from rplx.bench.servers import started_rplx
from rplx.bench.tools import Crowd, Tools

STREAMS = {"stream": "event streams", "websocket": "WebSockets"}  # by a Crowd's mode
DELIVERIES = {"stream": 0.90, "websocket": 0.85}  # of the floor's rate, at least
PARKED = {"stream": 3500, "websocket": 4096}  # bytes of one, at most
CHANNELS, EACH, MESSAGES = 10, 100, 30  # of many messages: channels, streams of each, and messages to each channel


def streams(tools: Tools, scale: Scale) -> Section:
    """The same crowd as for polls beside the floor, with a set each, and what a message costs where many are sent."""
    load = (
        f"Beside other work: {os.getloadavg()[0]:.0f} processes to run on {os.cpu_count()} CPUs on average as it began."
    )
    rows = []
    for mode, title in STREAMS.items():
        found = beside_floor(tools, listening(tools, crowd_of(scale.listeners, mode)), scale.rounds)
        rows += [
            goal(f"{title}: deliveries /s", found, "deliveries_per_s", DELIVERIES[mode]),
            [*goal(f"{title}: server CPU µs a delivery", found, "deliver_cpu_us", None)[:-1], "≤ 1.15"],
            goal(f"{title}: entered /s", found, "entered_per_s", None),
            [
                f"{title}: bytes a parked one",
                number(found["rplx"].median("bytes_a_listener")),
                "-",
                "-",
                f"≤ {PARKED[mode]:,}",
            ],
        ]
    head = [f"{scale.listeners:,} listeners, one channel, 64 B", "rplx", "floor", "ratio", "at least"]
    sets = [f"{scale.listeners:,} listeners", "one common set", "a set each", "ratio"]
    few = [f"{CHANNELS} channels with {EACH} listeners each", "kept polls", *STREAMS.values()]
    tables = [
        markdown_table(head, rows),
        markdown_table(sets, sets_rows(tools, scale, STREAMS)),
        markdown_table(few, [_many_messages(tools, scale)]),
    ]
    return Section("streams", "\n\n".join([load, *tables]))


def _many_messages(tools: Tools, scale: Scale) -> list[str]:
    """The server's CPU time for a message to each of a few listeners, one message after the other."""
    with started_rplx() as rplx:
        found = []
        for mode in ("keepalive", *STREAMS):
            crowd = Crowd(CHANNELS * EACH, CHANNELS, mode=mode, messages=MESSAGES)
            results = alternate([replace(rplx, name=mode)], listening(tools, crowd), 1)
            check_complete(results)
            found.append(number(results[mode].median("deliver_cpu_us")))
    return ["server CPU µs a delivery, the next poll with it", *found]
