"""The answers to STATS and ONLINE (protocol page, part 3). They may be long, so they are written in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from heapq import merge
from itertools import islice

from rplx.engine import Engine
from rplx.engine.observing import Listeners
from rplx.messages import Message

STEPS = 200  # lines between two rests
SORTED = 10_000  # texts that are sorted at once
MERGED = 2_000  # texts that are merged between two rests
PART = 1 << 16  # characters that are put together at once; one line may be longer

Rest = Callable[[], None]


def stats(engine: Engine, here: Callable[[], Listeners], rest: Rest) -> list[bytes]:
    """Returns the answer to STATS, its five sections, in parts. `here` returns this process's listeners.

    `rest` is called now and then. Raises Unavailable.
    """
    history = engine.history()
    online = engine.online()
    handles: dict[str, list[str]] = {}
    pairs: dict[str, str] = {}
    for process, listeners in enumerate([here(), *engine.elsewhere()]):
        for number, names, cursors in listeners:
            # A number is an address of 48 bits. Scripts cut such lines by position, so the width is fixed.
            handle = f"(0x{process << 48 | number:012x})"
            pairs[handle] = ", ".join([f"{cursor}:{name}" for cursor, name in zip(cursors, names, strict=True)])
            for name in names:
                handles.setdefault(name, []).append(handle)
            rest()
    limits: dict[frozenset[str], str] = {}
    sections: list[tuple[str, Mapping[str, object], Callable[[str], str]]] = [
        ("data_to_send", history, lambda id: ", ".join([_kept(id, message, limits) for message in history[id]])),
        ("connected_fhs", handles, lambda id: ", ".join(handles[id])),
        ("online_timers", online, lambda id: "assigned"),
        ("cleanup_timers", history, lambda id: "assigned"),
        ("pairs_by_fhs", pairs, lambda handle: pairs[handle]),
    ]
    parts: list[bytes] = []
    for name, lines, text in sections:
        if parts:
            parts.append(b"\n")
        parts += _section(name, lines, text, rest)
    return parts


def online(counts: Mapping[str, int], rest: Rest) -> list[bytes]:
    """Returns the answer to ONLINE, a sorted line `ID COUNT` for each online id, in parts.

    `rest` is called now and then.
    """
    parts = []
    lines = []
    for id in _in_order(counts, rest):
        lines.append(f"{id} {counts[id]}\n")
        if len(lines) >= MERGED:
            parts.append("".join(lines).encode("ascii"))
            lines = []
            rest()
    return [*parts, "".join(lines).encode("ascii")]


def _in_order(texts: Mapping[str, object], rest: Rest) -> Iterator[str]:
    """Yields the keys, sorted. `rest` is called now and then."""
    keys = list(texts)
    parts = []
    for at in range(0, len(keys), SORTED):
        parts.append(sorted(keys[at : at + SORTED]))
        rest()
    if len(parts) == 1:
        yield from parts[0]
        return
    merged = merge(*parts)
    while some := list(islice(merged, MERGED)):
        rest()
        yield from some


def _section(name: str, lines: Mapping[str, object], text: Callable[[str], str], rest: Rest) -> list[bytes]:
    """Returns a sorted line `KEY => VALUE` for each key below `[name]`, in parts."""
    gathered = [f"[{name}]\n"]
    size = 0
    parts = []
    for key in _in_order(lines, rest):
        line = f"{key} => {text(key)}\n"
        gathered.append(line)
        size += len(line)
        if len(gathered) >= STEPS or size >= PART:
            parts.append("".join(gathered).encode())
            gathered, size = [], 0
            rest()
    return [*parts, "".join(gathered).encode()]


def _kept(id: str, message: Message, limits: dict[frozenset[str], str]) -> str:
    """Returns the text of a kept message. `limits` keeps texts of limiters, as one message is in many channels."""
    limiters = message.limiters
    text = limits.get(limiters) if limiters else ""
    if text is None:
        text = limits[limiters] = f", limited by ({', '.join(sorted(limiters))})"
    return f"[{message.cursors[id]}: {len(message.data)}b{text}]"
