"""Presence over all processes: this one's counts told to Redis, its life too, and what Redis knows of all."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import gevent
import ujson
from gevent.event import AsyncResult, Event

from rplx.engine.grace import Grace
from rplx.engine.observing import Listeners, Observer
from rplx.engine.prefixes import Prefixes
from rplx.engine.presence import FIRST_POSITION, missed_before
from rplx.engine.redis.background import spawn_forever
from rplx.engine.redis.call import Call
from rplx.engine.redis.crowd import Change, Crowd
from rplx.engine.redis.names import Names
from rplx.errors import Refusal, Unavailable
from rplx.messages import Event as PresenceEvent
from rplx.options.table import PresenceOptions

TAG = "presence"  # all of it lives in one slot
PROCESS_TIMEOUT = 15.0  # seconds without a sign of life after which a process's listeners are taken out
BEAT_EVERY = 1.0  # seconds between two signs of life
TOLD_AGAIN = BEAT_EVERY + 0.5  # seconds after which all processes have seen a loss, and told their listeners again
STALL = 4.0  # seconds without a beat of anybody after which Redis must have been away
HOLD = 3.0  # seconds after such a time in which nobody is taken out or goes offline: the others are just coming back
FLUSH_EVERY = 0.01  # seconds in which comings and goings gather before Redis is told
TELL_AGAIN = 0.1  # seconds until Redis is told again what it did not take
LONG_AGO = 0  # when an id was left whose grace time is to be over
CHUNK = 1000  # ids told, taken offline or buried by one call
SCAN = 2000  # ids looked at by one call for ONLINE
TOLD_TIMEOUT = 2.5  # seconds that the others have to tell their listeners: they see at their next beat who asks
TOLD_LOOK_EVERY = 0.02  # seconds between two looks at whether all have
TOLD_CHUNK = 200  # listeners written without a rest
TOLD_KEPT = 10  # seconds that Redis keeps a question and its answers, should nobody fetch them

T = TypeVar("T")
Submit = Callable[[str, str, tuple[Any, ...]], Call]


class Attendance:
    """The presence of Engine, for many processes."""

    def __init__(self, names: Names, submit: Submit, options: PresenceOptions, observer: Observer) -> None:
        self.options = options
        self.process = secrets.token_hex(8)
        self.crowd = Crowd()
        self.grace = Grace()  # of the ids that were left here
        self.grace.share = options.max_in_grace_per_address
        self.known_online = 0  # ids online and events kept, over all processes, as of the last sweep
        self.known_events = 0
        self._observer = observer
        self._questions = itertools.count(1)
        self._answered: set[bytes] = set()
        self._names = names
        self._submit = submit
        self._registered = False
        self._since = b""  # when presence in Redis began, as of the last look
        self._whole_at = 0.0  # when all processes have told it again after a loss, monotonic seconds
        self._work = Event()
        self._telling: AsyncResult[None] | None = None  # what comes of the telling under way
        self._greenlets = [spawn_forever(self._tell_forever), spawn_forever(self._beat_forever)]

    def join(self, ids: Sequence[str]) -> list[str]:
        first = self.crowd.join(ids)
        if self.grace:
            for id in first:
                self.grace.remove(id)
        self._work.set()
        return first

    def leave(self, ids: Sequence[str], count: int, address: str) -> list[str]:
        last = self.crowd.leave(ids, count)
        if last and address and self.options.max_in_grace_per_address:
            self.grace.add(last, time.monotonic(), address)
        self._work.set()
        return last

    def close(self) -> None:
        """This process ends: its listeners are gone. Does nothing if Redis is away; then PROCESS_TIMEOUT does it."""
        gevent.killall(self._greenlets)
        try:
            while not self._bury(self.process, ending=True):
                pass
        except Refusal:
            pass

    # -- telling Redis

    def _tell_forever(self) -> None:
        while True:
            self._work.wait()
            gevent.sleep(FLUSH_EVERY)
            self._work.clear()
            try:
                self.tell()
            except Refusal:
                gevent.sleep(TELL_AGAIN)
                self._work.set()
            except BaseException:
                self._work.set()
                raise

    def tell_anew(self) -> None:
        """What Redis said it knows it may not know: it is told everything again."""
        self._registered = False
        self._work.set()

    def tell(self) -> None:
        """Tells Redis what has changed; who comes while that is under way shares its outcome. Errors: Unavailable."""
        while (outcome := self._telling) is not None:
            outcome.get()
            if not self._has_to_tell():
                return
        outcome = self._telling = AsyncResult()
        try:
            self._tell_all()
        except BaseException as error:
            outcome.set_exception(error if isinstance(error, Refusal) else Unavailable("this process ends"))
            raise
        else:
            outcome.set(None)
        finally:
            self._telling = None

    def _has_to_tell(self) -> bool:
        return bool(self.crowd) or not self._registered or self._telling is not None

    def _tell_all(self) -> None:
        if not self._registered:
            self._tell([], register=True)
            self.crowd.all_changed()
            self._registered = True
        changes = self.crowd.changes()
        for at in range(0, len(changes), CHUNK):
            chunk = changes[at : at + CHUNK]
            try:
                known = self._tell(chunk)
            except BaseException:
                self.crowd.untold(changes[at:])
                raise
            if not known:
                self.crowd.untold(changes[at:])
                self.tell_anew()
                return
            self.crowd.told(chunk)

    def _tell(self, changes: list[Change], *, register: bool = False) -> bool:
        key = self._names.presence
        keys = [key("processes"), key(f"of:{self.process}"), key("online"), key("left"), key("events"), key("position")]
        arguments: list[Any] = [self.process, "1" if register else "0", int(PROCESS_TIMEOUT * 1000), self._block()]
        for id, count, came in changes:
            arguments += (id, count, "1" if came else "0")
        return bool(self._submit(TAG, "presence", (len(keys), *keys, *arguments)).get(int))

    def _block(self) -> int:
        return self.options.event_chain_len + 1

    def _beat_forever(self) -> None:
        keys = [self._names.presence("processes"), self._names.presence("state"), self._names.presence("asked")]
        times = (int(PROCESS_TIMEOUT * 1000), int(STALL * 1000), int(HOLD * 1000))
        while True:
            try:
                known, asked, since = self._submit(TAG, "beat", (3, *keys, self.process, *times)).get(_beaten)
                self._compare(since)
                if not known:
                    self.tell_anew()
                self._answer(asked)
            except Refusal:
                gevent.sleep(TELL_AGAIN)
                continue
            gevent.sleep(BEAT_EVERY)

    # -- who listens, for STATS

    def _answer(self, asked: list[bytes]) -> None:
        """Tells each question that is new where this process's listeners wait. Errors: Unavailable."""
        own = self.process.encode()
        new = [question for question in asked if question not in self._answered and not question.startswith(own)]
        self._answered.intersection_update(asked)
        for question in new:
            key = self._names.presence(f"told:{question.decode()}")
            self._ask(int, "RPUSH", key, self._written(self._observer.listeners()))
            self._ask(int, "EXPIRE", key, TOLD_KEPT)
            self._answered.add(question)

    def elsewhere(self) -> list[Listeners]:
        """The listeners of each other process that tells them in time. Errors: Unavailable."""
        question = f"{self.process}-{next(self._questions)}"
        asked, told = self._names.presence("asked"), self._names.presence(f"told:{question}")
        self._tell_now()
        others = len(self._ask(set, "ZRANGE", self._names.presence("processes"), 0, -1) - {self.process.encode()})
        if not others:
            return []
        self._ask(int, "SADD", asked, question)
        self._ask(int, "EXPIRE", asked, TOLD_KEPT)
        deadline = time.monotonic() + TOLD_TIMEOUT
        while self._ask(int, "LLEN", told) < others and time.monotonic() < deadline:
            gevent.sleep(TOLD_LOOK_EVERY)
        self._ask(int, "SREM", asked, question)
        answers = self._ask(lambda answer: [self._read(text) for text in answer], "LRANGE", told, 0, -1)
        self._ask(int, "DEL", told)
        return answers

    def _ask(self, read: Callable[[Any], T], *command: Any) -> T:
        """A command's answer as `read` understands it. Errors: Unavailable."""
        return self._submit(TAG, "", command).get(read)

    def _written(self, listeners: Listeners) -> bytes:
        """Lists of listeners, one a line. Others may go on meanwhile."""
        lines = []
        for at in range(0, len(listeners) or 1, TOLD_CHUNK):
            lines.append(ujson.dumps(listeners[at : at + TOLD_CHUNK]).encode())
            self._observer.rest()
        return b"\n".join(lines)

    def _read(self, answer: bytes) -> Listeners:
        found: Listeners = []
        for line in answer.split(b"\n"):
            found += ujson.loads(line)
            self._observer.rest()
        return found

    # -- what time brings

    def sweep(self) -> list[str]:
        """Ids that are offline from now on. Errors: Unavailable."""
        self._tell_now()
        self._end_grace()
        key = self._names.presence
        keys = [key(what) for what in ("processes", "state", "online", "left", "events", "position")]
        gone: list[str] = []
        while True:
            arguments = (int(self.options.offline_timeout * 1000), self._block(), CHUNK, int(STALL * 1000))
            dead, offline, self.known_online, self.known_events = self._submit(
                TAG, "sweep", (len(keys), *keys, *arguments)
            ).get(_swept)
            gone += offline
            for process in dead:
                while not self._bury(process, ending=False):
                    pass
            if len(offline) < CHUNK:
                return gone

    def _end_grace(self) -> None:
        """Has Redis take offline what one address left beyond its share, with the next ids. Errors: Unavailable.

        Each process looks after those that were left in it: its share is that of the connections which it serves.
        """
        grace, options = self.grace, self.options
        grace.share = options.max_in_grace_per_address
        while excess := grace.take_excess(CHUNK):
            self._tell_now()
            pairs = [argument for id in excess for argument in (LONG_AGO, id)]
            # Only those in their grace time: to whom somebody listens elsewhere is left alone.
            self._ask(int, "ZADD", self._names.presence("left"), "XX", *pairs)
        until = time.monotonic() - options.offline_timeout
        count = 0
        while grace and (grace.oldest()[1] <= until or len(grace) > options.max_in_grace):
            grace.remove(grace.oldest()[0])
            count += 1
            if count % CHUNK == 0:
                self._observer.rest()

    def _bury(self, process: str, *, ending: bool) -> bool:
        """Takes a process's listeners out, some at a time; whether all are."""
        key = self._names.presence
        keys = [key("processes"), key(f"of:{process}"), key("online"), key("left")]
        return bool(self._submit(TAG, "bury", (4, *keys, process, CHUNK, "1" if ending else "0")).get(int))

    # -- what is known

    def _tell_now(self) -> None:
        """What this process has seen counts in what it answers. Errors: Unavailable."""
        if self._has_to_tell():
            self.tell()

    def _compare(self, since: bytes) -> None:
        """Presence is kept since then: if that is not as it was, it was lost, and others have to tell it again, too."""
        if self._since and since != self._since:
            self._whole_at = time.monotonic() + TOLD_AGAIN
            self.tell_anew()
        self._since = since or self._since

    def _check_known(self) -> None:
        """Errors: Unavailable if Redis has lost what it knew of presence, and not all have told it again."""
        self._compare(self._ask(_text, "HGET", self._names.presence("state"), "since"))
        if time.monotonic() < self._whole_at:
            raise Unavailable("Redis has lost who is online, and is being told; try again", closes=False)

    def online(self, prefixes: Sequence[str]) -> dict[str, int]:
        """Errors: Unavailable."""
        self._check_known()
        self._tell_now()
        match = f"{prefixes[0]}*" if len(prefixes) == 1 and prefixes[0].isidentifier() else "*"
        begins = Prefixes(prefixes, self._observer.rest)
        found: dict[str, int] = {}
        cursor = b"0"
        while True:
            arguments = ("HSCAN", self._names.presence("online"), cursor, "MATCH", match, "COUNT", SCAN)
            cursor, counts = self._ask(_scanned, *arguments)
            for name, count in counts:
                if begins.match(name):
                    found[name] = count
            self._observer.rest()
            if cursor == b"0":
                return found

    def events(self, after: int, prefixes: Sequence[str]) -> list[PresenceEvent]:
        """Errors: Unavailable."""
        self._tell_now()
        keys = (self._names.presence("events"), self._names.presence("position"))
        first, texts = self._submit(TAG, "watch", (2, *keys, after)).get(_watched)
        begins = Prefixes(prefixes, self._observer.rest)
        latest: dict[str, PresenceEvent] = {}
        for position, text in zip(range(first + len(texts) - 1, first - 1, -1), reversed(texts), strict=True):
            if position % CHUNK == 0:
                self._observer.rest()
            id = text[1:]
            if id not in latest and begins.match(id):
                latest[id] = PresenceEvent(position, "online" if text[0] == "+" else "offline", id)
        found = list(latest.values())[::-1]
        return found if first <= max(after + 1, FIRST_POSITION) else [missed_before(first), *found]

    def position(self) -> int:
        """Errors: Unavailable."""
        self._tell_now()
        return self._ask(_number, "GET", self._names.presence("position"))


# -- what answers are made of; what is raised here tells that one is none


def _beaten(answer: Any) -> tuple[int, list[bytes], bytes]:
    known, asked, since = answer
    return int(known), [bytes(question) for question in asked], since + b""


def _text(answer: Any) -> bytes:
    return b"" if answer is None else answer + b""


def _swept(answer: Any) -> tuple[list[str], list[str], int, int]:
    dead, offline, online, events = answer
    return [process.decode() for process in dead], [id.decode() for id in offline], int(online), int(events)


def _scanned(answer: Any) -> tuple[bytes, list[tuple[str, int]]]:
    cursor, pairs = answer
    counts = [(id.decode(), int(count)) for id, count in zip(pairs[::2], pairs[1::2], strict=True)]
    return b"%d" % int(cursor), counts


def _watched(answer: Any) -> tuple[int, list[str]]:
    first, texts = answer
    return int(first), [text.decode() for text in texts]


def _number(answer: Any) -> int:
    return 10 if answer is None else int(answer.decode())
