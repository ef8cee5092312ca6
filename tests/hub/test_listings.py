"""The answers to ONLINE and STATS (protocol page, part 3), which are written in turns."""

from __future__ import annotations

import random
import time

from rplx.engine.memory import MemoryEngine
from rplx.hub import stats
from rplx.messages import Identifiers, Send
from rplx.options.table import HistoryOptions, PresenceOptions


def test_online_is_sorted() -> None:
    assert stats.online({"b": 0, "a": 12, "B": 1}, lambda: None) == [b"B 1\na 12\nb 0\n"]
    assert stats.online({}, lambda: None) == [b""]


def test_a_long_list_is_sorted_with_rests() -> None:
    ids = [f"c{number:06}" for number in range(50_000)]
    random.Random(1).shuffle(ids)
    rests = 0

    def rest() -> None:
        nonlocal rests
        rests += 1

    answer = stats.online(dict.fromkeys(ids, 1), rest)
    assert b"".join(answer) == "".join(f"{id} 1\n" for id in sorted(ids)).encode()
    assert rests >= len(ids) / stats.MERGED


def test_stats_of_long_lists_come_in_parts_with_a_rest_behind_each() -> None:
    """Many messages of thousands of limiters each are far more than can be put together at once."""
    engine = MemoryEngine(HistoryOptions(), PresenceOptions(), wall=time.time, monotonic=time.monotonic)
    channels = [f"c{number}" for number in range(50)]
    limiters = [f"limiter{number}" for number in range(5_000)]
    engine.append(Send(Identifiers(dict.fromkeys(channels), dict.fromkeys(limiters)), b"1")).receipt()
    rests = 0

    def rest() -> None:
        nonlocal rests
        rests += 1

    parts = stats.stats(engine, list, rest)
    assert b"".join(parts).count(b"limiter4999") == 50
    assert max(map(len, parts)) < 2 * stats.PART
    assert rests >= sum(map(len, parts)) // (2 * stats.PART)
