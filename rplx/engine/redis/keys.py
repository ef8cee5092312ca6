"""All keys below one prefix, for those who are no server: what is in them, and new ones."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rplx.engine.archive.records import NO_POSITION, ArchivedMessage, Checker, Floor, Head, OnlineId, Record, Totals
from rplx.engine.cursors import drawn_text
from rplx.engine.redis.address import parse
from rplx.engine.redis.codec import pack_body, unpack_member
from rplx.engine.redis.follower import FACTS_KEPT
from rplx.engine.redis.names import Names
from rplx.engine.redis.servers import servers
from rplx.engine.redis.wire import LOST, RedisError, Wire
from rplx.errors import ConfigError, Unavailable
from rplx.messages import Event, Identifiers, Send, cursor_value

TIMEOUT = 60.0  # seconds for each answer: keys may be large
CHUNK = 1000  # keys looked at, or commands sent, at once
_DRAWN = re.compile(r"\d{10}\.\d{6}")  # a cursor that Redis has drawn, or looks so


@dataclass
class _Found:
    """What was read, of all nodes. `drawn`: the newest draw, in microseconds. Times are Redis', in seconds."""

    now: int = 0
    beginning: Decimal = Decimal(0)
    drawn: int = 0
    floors: dict[str, str] = field(default_factory=dict)  # of channels, by their facts
    newest: dict[str, str] = field(default_factory=dict)
    messages: dict[bytes, tuple[int, ArchivedMessage]] = field(default_factory=dict)  # by id, with a number
    full: set[str] = field(default_factory=set)  # channels with messages
    events: list[Event] = field(default_factory=list)
    online: list[str] = field(default_factory=list)


# -- reading


def records(url: str) -> Iterator[Record]:
    """Yields what there is, read key by key. Raises ConfigError, Unavailable, WrongRecord."""
    address = parse(url)
    names = Names(address.prefix, int(address.options.get("db") or 0))
    found = _Found()
    all_servers = servers(address)
    with _explained(address.shown):
        all_servers.refresh()
        for node in all_servers.nodes():
            with contextlib.closing(all_servers.connect(node, TIMEOUT)) as wire:
                _read_node(wire, names, address.prefix, found)
    if not found.beginning:
        raise Unavailable(f"nothing of rplx is in Redis at {address.shown} below the prefix {address.prefix}")
    checker = Checker()
    for record in _in_order(found):
        checker.check(record)
        yield record


@contextlib.contextmanager
def _explained(shown: str) -> Iterator[None]:
    try:
        yield
    except (*LOST, RedisError) as error:
        raise Unavailable(f"Redis at {shown}: {error}") from error
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise Unavailable(f"Redis at {shown} holds what rplx has not written: {error}") from error


def _read_node(wire: Wire, names: Names, prefix: str, found: _Found) -> None:
    found.now = max(found.now, int(wire.ask("TIME")[0]))
    ours = re.compile(rf"{re.escape(prefix)}:\{{([^{{}}]*)\}}:(\w+)")
    for key in _scanned(wire, prefix):
        match = ours.fullmatch(key)
        if match is None:
            continue
        id, what = match.groups()
        if what == "history":
            _read_history(wire, key, id, found)
        elif what == "facts":
            _read_facts(wire, key, id, found)
        elif what == "order":
            _read_order(wire, key, found)
        elif key == names.presence("position"):
            _read_presence(wire, names, found)


def _scanned(wire: Wire, prefix: str) -> set[str]:
    keys: set[str] = set()
    cursor: Any = b"0"
    while True:
        cursor, some = wire.ask("SCAN", cursor, "MATCH", f"{prefix}:{{*}}:*", "COUNT", CHUNK)
        keys.update(key.decode() for key in some)
        if cursor == b"0":
            return keys


def _read_history(wire: Wire, key: str, id: str, found: _Found) -> None:
    for member in wire.ask("ZRANGE", key, 0, -1):
        number, message = unpack_member(id, member)
        found.full.add(id)
        known = found.messages.get(message.id)
        if known is None:
            limiters = tuple(sorted(message.limiters))
            found.messages[message.id] = number, ArchivedMessage(0, message.cursors, message.data, limiters)
        else:
            known[1].cursors.update(message.cursors)


def _read_facts(wire: Wire, key: str, id: str, found: _Found) -> None:
    floor, newest = wire.ask("HMGET", key, "floor", "newest")
    if floor and newest:
        found.floors[id], found.newest[id] = floor.decode(), newest.decode()


def _read_order(wire: Wire, key: str, found: _Found) -> None:
    begin, last, evicted = wire.ask("HMGET", key, "begin", "last", "evicted")
    for cursor in (begin, evicted):
        if cursor:
            found.beginning = max(found.beginning, Decimal(cursor.decode()))
    found.drawn = max(found.drawn, int(last or 0))


def _read_presence(wire: Wire, names: Names, found: _Found) -> None:
    position = int(wire.ask("GET", names.presence("position")) or NO_POSITION)
    texts = [text.decode() for text in wire.ask("LRANGE", names.presence("events"), 0, -1)]
    for at, text in enumerate(texts, position - len(texts) + 1):
        found.events.append(Event(at, "online" if text[0] == "+" else "offline", text[1:]))
    found.online = sorted(key.decode() for key in wire.ask("HKEYS", names.presence("online")))


def _in_order(found: _Found) -> Iterator[Record]:
    # What was known of a channel without messages is forgotten after a time: older cursors have gaps.
    beginning = max(found.beginning, Decimal(found.now) - int(FACTS_KEPT))
    yield Head(f"{beginning:f}", found.drawn)
    for id, floor in sorted(found.floors.items()):
        emptied = id not in found.full
        reached = max(floor, found.newest[id], key=cursor_value) if emptied else floor
        yield Floor(id, reached, found.now if emptied else None)
    for message in (pair[1] for pair in found.messages.values()):
        drawn = [int(cursor.replace(".", "")) for cursor in message.cursors.values() if _DRAWN.fullmatch(cursor)]
        message.drawn = min(max(drawn, default=found.drawn), found.drawn)
    for _, message in sorted(found.messages.values(), key=lambda pair: (pair[1].drawn, pair[0])):
        yield message
    yield from found.events
    yield from map(OnlineId, found.online)


# -- writing


def create(url: str, given: Iterable[Record], expire_after: float, *, is_old: bool) -> Totals:
    """Writes records below a prefix that has no keys yet, all or nothing. `expire_after`: that of the servers, seconds.

    `is_old`: something was sent since they were read, so that listeners from before have to be told of a gap. Raises
    ConfigError, Unavailable, and what `given` raises.
    """
    address = parse(url)
    if address.kind == "cluster":
        raise ConfigError(["a cluster cannot be filled in one transaction: load into one server of Redis"])
    names = Names(address.prefix, int(address.options.get("db") or 0))
    one = servers(address)
    with _explained(address.shown), contextlib.closing(one.connect(one.nodes()[0], TIMEOUT)) as wire:
        _check_free(wire, address.prefix)
        seconds, micro = wire.ask("TIME")
        now = int(seconds) * 1_000_000 + int(micro)
    totals, filling = Totals(), _Filling(names, now, expire_after, is_old=is_old)
    for record in given:
        totals.count(record)
        filling.add(record)
    with _explained(address.shown), contextlib.closing(one.connect(one.nodes()[0], TIMEOUT)) as wire:
        wire.ask("WATCH", names.order(""))  # which a server makes as soon as it starts
        _check_free(wire, address.prefix)
        _execute(wire, filling.commands())
    return totals


def _check_free(wire: Wire, prefix: str) -> None:
    if _scanned(wire, prefix):
        raise ConfigError([f"there are keys below the prefix {prefix} already: name another ?prefix="])


def _execute(wire: Wire, commands: Sequence[tuple[Any, ...]]) -> None:
    """Carries all out as one transaction, or none. Raises LOST, RedisError."""
    wire.ask("MULTI")
    for at in range(0, len(commands), CHUNK):
        chunk = commands[at : at + CHUNK]
        wire.send(chunk)
        for _ in chunk:
            wire.read()
    answers = wire.ask("EXEC")
    if answers is None:
        raise Unavailable("somebody has begun to use this prefix meanwhile; nothing was loaded")
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer


class _Filling:
    """Makes commands of records. `now`: Redis' clock, in microseconds since the epoch."""

    def __init__(self, names: Names, now: int, expire_after: float, *, is_old: bool) -> None:
        self._names = names
        self._now = now
        self._expire_after = expire_after
        self._is_old = is_old
        self._head = Head("0", 0)
        self._floors: dict[str, str] = {}
        self._members: dict[str, list[bytes]] = {}
        self._newest: dict[str, str] = {}
        self._sent: dict[str, int] = {}  # when something was last sent to a channel, in microseconds
        self._events: list[Event] = []
        self._online: list[str] = []
        self._load = secrets.token_hex(8)
        self._count = 0

    def add(self, record: Record) -> None:
        """Takes one more record."""
        if isinstance(record, ArchivedMessage):
            self._add_message(record)
        elif isinstance(record, Floor):
            self._floors[record.channel] = record.floor
        elif isinstance(record, Event):
            if self._events and record.position != self._events[-1].position + 1:
                self._events.clear()  # Redis numbers them without a hole
            self._events.append(record)
        elif isinstance(record, OnlineId):
            self._online.append(record.id)
        else:
            self._head = record

    def _add_message(self, message: ArchivedMessage) -> None:
        self._count += 1
        send = Send(Identifiers({}, dict.fromkeys(message.limiters)), message.data)
        body = pack_body(f"{self._load}-{self._count}".encode(), send)
        for id, cursor in message.cursors.items():
            if id in message.dropped:
                continue
            members = self._members.setdefault(id, [])
            members.append(f"{_sort_key(cursor)} {len(members) + 1:015} {cursor} ".encode() + body)
            self._newest[id] = max(self._newest.get(id, "0"), cursor, key=cursor_value)
            self._sent[id] = message.drawn

    def commands(self) -> list[tuple[Any, ...]]:
        """Returns the commands that write all."""
        head, names = self._head, self._names
        if self._is_old:
            head.beginning = drawn_text(self._now)
            self._floors.clear()
        found: list[tuple[Any, ...]] = [("HSET", names.order(""), "begin", head.beginning, "last", head.drawn)]
        incarnation = f"{head.beginning}/{self._now}"
        facts_ttl = int(max(FACTS_KEPT, 2 * self._expire_after) * 1000)
        for id in self._floors.keys() | self._members.keys():
            floor = self._floors.get(id, head.beginning)
            newest = max(floor, self._newest.get(id, "0"), key=cursor_value)
            members = self._members.get(id, [])
            facts = ("number", len(members), "incarnation", incarnation, "floor", floor, "newest", newest)
            found += [("HSET", names.facts(id), *facts), ("PEXPIRE", names.facts(id), facts_ttl)]
            if members:
                found += [("ZADD", names.history(id), 0, member) for member in members]
                ends = self._sent[id] / 1_000_000 + self._expire_after
                found.append(("PEXPIREAT", names.history(id), int(ends * 1000)))
        return [*found, *self._presence_commands()]

    def _presence_commands(self) -> Iterator[tuple[Any, ...]]:
        key = self._names.presence
        position = self._events[-1].position if self._events else NO_POSITION
        if self._is_old:
            position += self._now // 1000  # watchers from before are told that events are missing
        yield "SET", key("position"), position
        for event in self._events:
            yield "RPUSH", key("events"), ("+" if event.kind == "online" else "-") + event.id
        for id in self._online:
            yield "HSET", key("online"), id, 0
            yield "ZADD", key("left"), self._now // 1000, id


def _sort_key(cursor: str) -> str:
    """Returns what lua/common.lua's sort_key does."""
    whole, _, fraction = cursor.partition(".")
    whole = whole.lstrip("0")
    return f"{len(whole):06}{whole}{fraction.rstrip('0')}"
