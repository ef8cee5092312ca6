"""Selects the messages that go into one answer, of those that are due. Pure.

More may be due to a listener, in many channels, than an answer holds. Messages are taken by their greatest cursor
(protocol page, part 7.11): what is left behind is still ahead of the listener in the channel of that cursor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from decimal import Decimal
from heapq import merge
from itertools import groupby
from operator import itemgetter

from rplx.messages import Due, Message, cursor_value, size_of_id

BRACKETS = 2  # bytes around the blocks of an answer, beside what Due.size counts
STEPS = 200  # messages looked at between two rests

Stream = tuple[str, Sequence[Decimal], Sequence[Message]]
"""A channel's id, and the cursors and messages there that are newer than the listener's cursor, in order."""

Key = Callable[[Message], Hashable]
"""Returns what is the same for a message in each of its channels; None if it is in one channel alone."""

Rest = Callable[[], None]


def collect(streams: Sequence[Stream], names: Sequence[str], key: Key, limit: int | None, rest: Rest) -> list[Due]:
    """Returns the messages of `streams` that a listener of `names` may see. `rest` is called now and then.

    If they have more than `limit` bytes (of Due.size), those with the lowest greatest cursors are returned, at least
    one.
    """
    dues: list[Due] = []
    several: dict[Hashable, Due] = {}  # of messages that are in several channels
    size = BRACKETS
    for stream in streams:
        id = stream[0]
        for value, _, message in _seen(stream, names, rest):
            known = key(message)
            due = None if known is None else several.get(known)
            if due is not None:
                due.add(id, message.cursors[id], value)
                size += size_of_id(id, message.cursors[id])
            elif known is None:
                dues.append(due := Due(message, message.cursors, value))
                size += due.size
            else:
                due = several[known] = Due(message, {id: message.cursors[id]}, value)
                size += due.size
            if limit is not None and size > limit:
                return _merged(streams, names, key, limit, rest)
    return [*dues, *several.values()]


def first(dues: list[Due], limit: int) -> list[Due]:
    """Returns as many of `dues` as `limit` bytes hold, by greatest cursor, at least one; the rest is for later."""
    ordered = sorted([(max(map(cursor_value, due.ids.values())), number) for number, due in enumerate(dues)])
    groups = ([dues[number] for _, number in group] for _, group in groupby(ordered, key=itemgetter(0)))
    return _fitting(groups, limit)


def _merged(streams: Sequence[Stream], names: Sequence[str], key: Key, limit: int, rest: Rest) -> list[Due]:
    """Returns as many messages as `limit` bytes hold, by greatest cursor."""
    left = _counts(streams, names, key, rest)
    ordered = merge(*[_seen(stream, names, rest) for stream in streams], key=itemgetter(0))
    return _fitting(_groups(ordered, key, left, rest), limit)


def _counts(streams: Sequence[Stream], names: Sequence[str], key: Key, rest: Rest) -> Counter[Hashable]:
    """Counts the channels in which each message is due that is in several."""
    counts: Counter[Hashable] = Counter()
    for stream in streams:
        counts.update([known for _, _, message in _seen(stream, names, rest) if (known := key(message)) is not None])
    return counts


def _seen(stream: Stream, names: Sequence[str], rest: Rest) -> Iterator[tuple[Decimal, str, Message]]:
    """Yields the messages of a channel that a listener of `names` may see."""
    id, values, messages = stream
    for at in range(0, len(messages), STEPS):
        for value, message in zip(values[at : at + STEPS], messages[at : at + STEPS], strict=True):
            if not message.limiters or message.visible_to(names):
                yield value, id, message
        rest()


def _groups(
    ordered: Iterable[tuple[Decimal, str, Message]], key: Key, left: Counter[Hashable], rest: Rest
) -> Iterator[list[Due]]:
    """Yields messages in groups of the same greatest cursor, in the order of these."""
    several: dict[Hashable, Due] = {}
    for number, (value, group) in enumerate(groupby(ordered, key=itemgetter(0))):
        done = []
        for _, id, message in group:
            known = key(message)
            if known is None:
                done.append(Due(message, message.cursors, value))
                continue
            due = several.setdefault(known, Due(message, {}, value))
            due.add(id, message.cursors[id], value)
            left[known] -= 1
            if not left[known]:
                done.append(several.pop(known))
        if done:
            yield done
        if number % STEPS == STEPS - 1:
            rest()


def _fitting(groups: Iterable[list[Due]], limit: int) -> list[Due]:
    """Returns the first groups that fit into `limit` bytes, at least one."""
    taken: list[Due] = []
    size = BRACKETS
    for group in groups:
        size += sum([due.size for due in group])
        if taken and size > limit:
            break
        taken += group
    return taken
