"""The log lines of the hub (protocol page, part 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def sending(count: int, size: int, ids: Iterable[str]) -> str:
    """Returns the log line for an answer of `count` messages in `size` bytes, from the channels `ids`."""
    return f"<- sending {count} responses ({size} bytes) from [{', '.join(sorted(ids))}] (print=1, shutdown=1)"


def counters(listeners: int, channels: int, engine: Mapping[str, int]) -> str:
    """Returns the log's line of counters: listeners, channels that have some, and what the engine counts."""
    counts = {"pairs_by_fhs": listeners, "connected_fhs": channels, **engine}
    names = ("pairs_by_fhs", "data_to_send", "connected_fhs", "online_timers", "cleanup_timers", "events")
    return f"[{' '.join([f'{name}={counts[name]}' for name in names])}]"


def offline(id: str) -> str:
    """Returns the log line for an id whose grace time is over."""
    return f"[{id}] is now offline"


def cleaned(id: str, expire_after: float) -> str:
    """Returns the log line for a channel whose history was emptied after `expire_after` seconds without a message."""
    return f"[{id}] cleaned, because no data is pushed within last {expire_after:g} seconds"


def name_of(cursors: Mapping[str, str | None], count: int, position: str) -> str:
    """Returns what the log calls a listener: its first id, and how many more were named, `count` with double ones."""
    id, cursor = next(iter(cursors.items()))
    more = f",(and {count - 1} more)" if count > 1 else ""
    return f"[{cursor or position}:{id}{more}]"
