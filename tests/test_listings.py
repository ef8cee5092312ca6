"""The answers to ONLINE and STATS (protocol page, part 3), which are written in turns."""

from __future__ import annotations

import random

from rplx import listings


def test_online_is_sorted() -> None:
    assert listings.online({"b": 0, "a": 12, "B": 1}, lambda: None) == b"B 1\na 12\nb 0\n"
    assert listings.online({}, lambda: None) == b""


def test_a_long_list_is_sorted_with_rests() -> None:
    ids = [f"c{number:06}" for number in range(50_000)]
    random.Random(1).shuffle(ids)
    rests = 0

    def rest() -> None:
        nonlocal rests
        rests += 1

    answer = listings.online(dict.fromkeys(ids, 1), rest)
    assert answer == "".join(f"{id} 1\n" for id in sorted(ids)).encode()
    assert rests >= len(ids) / listings.MERGED
