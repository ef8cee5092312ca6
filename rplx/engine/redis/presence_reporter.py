"""Reports this process's listeners and signs of life to Redis, and asks what Redis knows of all processes."""

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
from rplx.engine.redis.counts import Change, Counts
from rplx.engine.redis.names import Names
from rplx.errors import Refusal, Unavailable
from rplx.messages import Event as PresenceEvent
from rplx.options.table import PresenceOptions

TAG = "presence"  # presence is kept in one slot
PROCESS_TIMEOUT = 15.0  # seconds without a heartbeat after which a process's listeners are taken out
HEARTBEAT_EVERY = 1.0  # seconds between two heartbeats
REPORTED_AGAIN = HEARTBEAT_EVERY + 0.5  # seconds until all processes have seen a loss and reported again
STALL = 4.0  # seconds without any process's heartbeat after which Redis must have been away
HOLD = 3.0  # seconds after a stall in which nobody is taken out or goes offline, as processes are coming back
FLUSH_EVERY = 0.01  # seconds in which changes gather for one report
REPORT_AGAIN = 0.1  # seconds until a report that failed is repeated
LONG_AGO = 0  # the time at which an id was left whose grace time is to be over
CHUNK = 1000  # ids reported, taken offline or removed by one call
SCAN = 2000  # ids looked at by one call for ONLINE
ANSWER_TIMEOUT = 2.5  # seconds that other processes have to answer; they see the question with their next heartbeat
ANSWER_LOOK_EVERY = 0.02  # seconds between two looks at whether all have answered
LISTENERS_CHUNK = 200  # listeners written between two rests
QUESTION_KEPT = 10  # seconds that Redis keeps a question and its answers if nobody fetches them

T = TypeVar("T")
Submit = Callable[[str, str, tuple[Any, ...]], Call]


class PresenceReporter:
    """The part of Engine that concerns presence, for one process of many."""

    def __init__(self, names: Names, submit: Submit, options: PresenceOptions, observer: Observer) -> None:
        self.options = options
        self.process = secrets.token_hex(8)
        self.counts = Counts()
        self.grace = Grace(options.max_in_grace_per_address)  # ids that were left in this process
        self.known_online = 0  # ids online, and below events kept, of all processes, as of the last sweep
        self.known_events = 0
        self._observer = observer
        self._questions = itertools.count(1)
        self._answered: set[bytes] = set()
        self._names = names
        self._submit = submit
        self._registered = False
        self._since = b""  # when presence in Redis began, as of the last heartbeat
        self._complete_at = 0.0  # when all processes have reported again after a loss, monotonic seconds
        self._work = Event()
        self._reporting: AsyncResult[None] | None = None  # the outcome of the report under way
        self._greenlets = [spawn_forever(self._report_forever), spawn_forever(self._heartbeat_forever)]

    def reconfigure(self, options: PresenceOptions) -> None:
        """Takes new times and limits."""
        self.options = options
        self.grace.limit(options.max_in_grace_per_address)

    def join(self, ids: Sequence[str]) -> list[str]:
        """Counts one more connection on `ids`; returns those that had no listener in this process."""
        first = self.counts.join(ids)
        if self.grace:
            for id in first:
                self.grace.remove(id)
        self._work.set()
        return first

    def leave(self, ids: Sequence[str], count: int, address: str) -> list[str]:
        """Counts `count` connections less on `ids`; returns those that have no listener in this process any more."""
        last = self.counts.leave(ids, count)
        if last and address and self.options.max_in_grace_per_address:
            self.grace.add(last, time.monotonic(), address)
        self._work.set()
        return last

    def close(self) -> None:
        """Takes this process's listeners out. If Redis is away, they are taken out after PROCESS_TIMEOUT."""
        gevent.killall(self._greenlets)
        try:
            while not self._remove_process(self.process, ending=True):
                pass
        except Refusal:
            pass

    # -- reports

    def _report_forever(self) -> None:
        while True:
            self._work.wait()
            gevent.sleep(FLUSH_EVERY)
            self._work.clear()
            try:
                self.report()
            except Refusal:
                gevent.sleep(REPORT_AGAIN)
                self._work.set()
            except BaseException:
                self._work.set()
                raise

    def report_anew(self) -> None:
        """Reports everything again, as Redis may have lost what it knew."""
        self._registered = False
        self._work.set()

    def report(self) -> None:
        """Reports what has changed. Callers that come meanwhile share the outcome. Raises Unavailable."""
        while (outcome := self._reporting) is not None:
            outcome.get()
            if not self._has_to_report():
                return
        outcome = self._reporting = AsyncResult()
        try:
            self._report_changes()
        except BaseException as error:
            outcome.set_exception(error if isinstance(error, Refusal) else Unavailable("this process ends"))
            raise
        else:
            outcome.set(None)
        finally:
            self._reporting = None

    def _has_to_report(self) -> bool:
        return self.counts.has_changes() or not self._registered or self._reporting is not None

    def _report_changes(self) -> None:
        if not self._registered:
            self._send_report([], register=True)
            self.counts.forget_reported()
            self._registered = True
        changes = self.counts.changes()
        for at in range(0, len(changes), CHUNK):
            chunk = changes[at : at + CHUNK]
            try:
                known = self._send_report(chunk)
            except BaseException:
                self.counts.not_reported(changes[at:])
                raise
            if not known:
                self.counts.not_reported(changes[at:])
                self.report_anew()
                return
            self.counts.reported(chunk)

    def _send_report(self, changes: list[Change], *, register: bool = False) -> bool:
        key = self._names.presence
        keys = [key("processes"), key(f"of:{self.process}"), key("online"), key("left"), key("events"), key("position")]
        arguments: list[Any] = [self.process, "1" if register else "0", int(PROCESS_TIMEOUT * 1000), self._block()]
        for id, count, came in changes:
            arguments += (id, count, "1" if came else "0")
        return bool(self._submit(TAG, "report", (len(keys), *keys, *arguments)).get(int))

    def _block(self) -> int:
        return self.options.event_chain_len + 1

    def _heartbeat_forever(self) -> None:
        keys = [self._names.presence("processes"), self._names.presence("state"), self._names.presence("asked")]
        times = (int(PROCESS_TIMEOUT * 1000), int(STALL * 1000), int(HOLD * 1000))
        while True:
            try:
                known, asked, since = self._submit(TAG, "heartbeat", (3, *keys, self.process, *times)).get(
                    _heartbeat_answer
                )
                self._check_since(since)
                if not known:
                    self.report_anew()
                self._answer(asked)
            except Refusal:
                gevent.sleep(REPORT_AGAIN)
                continue
            gevent.sleep(HEARTBEAT_EVERY)

    # -- listeners of other processes, for STATS

    def _answer(self, asked: list[bytes]) -> None:
        """Answers each new question with this process's listeners. Raises Unavailable."""
        own = self.process.encode()
        new = [question for question in asked if question not in self._answered and not question.startswith(own)]
        self._answered.intersection_update(asked)
        for question in new:
            key = self._names.presence(f"told:{question.decode()}")
            self._ask(int, "RPUSH", key, self._written(self._observer.listeners()))
            self._ask(int, "EXPIRE", key, QUESTION_KEPT)
            self._answered.add(question)

    def elsewhere(self) -> list[Listeners]:
        """Returns the listeners of each other process that answers in time. Raises Unavailable."""
        question = f"{self.process}-{next(self._questions)}"
        asked, told = self._names.presence("asked"), self._names.presence(f"told:{question}")
        self._report_pending()
        others = len(self._ask(set, "ZRANGE", self._names.presence("processes"), 0, -1) - {self.process.encode()})
        if not others:
            return []
        self._ask(int, "SADD", asked, question)
        self._ask(int, "EXPIRE", asked, QUESTION_KEPT)
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while self._ask(int, "LLEN", told) < others and time.monotonic() < deadline:
            gevent.sleep(ANSWER_LOOK_EVERY)
        self._ask(int, "SREM", asked, question)
        answers = self._ask(lambda answer: [self._read(text) for text in answer], "LRANGE", told, 0, -1)
        self._ask(int, "DEL", told)
        return answers

    def _ask(self, read: Callable[[Any], T], *command: Any) -> T:
        """Returns a command's answer as `read` reads it. Raises Unavailable."""
        return self._submit(TAG, "", command).get(read)

    def _written(self, listeners: Listeners) -> bytes:
        """Returns lists of listeners, one to a line. Others may go on meanwhile."""
        lines = []
        for at in range(0, len(listeners) or 1, LISTENERS_CHUNK):
            lines.append(ujson.dumps(listeners[at : at + LISTENERS_CHUNK]).encode())
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
        """Takes ids offline whose grace time is over, and dead processes out; returns the ids. Raises Unavailable."""
        self._report_pending()
        self._enforce_share()
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
                while not self._remove_process(process, ending=False):
                    pass
            if len(offline) < CHUNK:
                return gone

    def _enforce_share(self) -> None:
        """Ends the grace time of ids that one address left beyond its share. Raises Unavailable.

        Each process cares for ids that were left in it, so the share is one of the connections that it serves.
        """
        grace, options = self.grace, self.options
        while excess := grace.take_excess(CHUNK):
            self._report_pending()
            pairs = [argument for id in excess for argument in (LONG_AGO, id)]
            # XX: only ids in their grace time, not those that have a listener elsewhere.
            self._ask(int, "ZADD", self._names.presence("left"), "XX", *pairs)
        until = time.monotonic() - options.offline_timeout
        count = 0
        while grace and (grace.oldest()[1] <= until or len(grace) > options.max_in_grace):
            grace.remove(grace.oldest()[0])
            count += 1
            if count % CHUNK == 0:
                self._observer.rest()

    def _remove_process(self, process: str, *, ending: bool) -> bool:
        """Takes some of a process's listeners out; returns whether all are out."""
        key = self._names.presence
        keys = [key("processes"), key(f"of:{process}"), key("online"), key("left")]
        return bool(self._submit(TAG, "remove_process", (4, *keys, process, CHUNK, "1" if ending else "0")).get(int))

    # -- what Redis knows

    def _report_pending(self) -> None:
        """Reports what is not reported yet, so that it counts in the next answer. Raises Unavailable."""
        if self._has_to_report():
            self.report()

    def _check_since(self, since: bytes) -> None:
        """Takes the time since which Redis keeps presence. If that has changed, all processes have to report again."""
        if self._since and since != self._since:
            self._complete_at = time.monotonic() + REPORTED_AGAIN
            self.report_anew()
        self._since = since or self._since

    def _check_known(self) -> None:
        """Raises Unavailable while Redis has lost presence and not all processes have reported again."""
        self._check_since(self._ask(_text, "HGET", self._names.presence("state"), "since"))
        if time.monotonic() < self._complete_at:
            raise Unavailable("Redis has lost who is online, and is being told; try again", closes=False)

    def online(self, prefixes: Sequence[str]) -> dict[str, int]:
        """Returns online ids with their connections, as Engine.online. Raises Unavailable."""
        self._check_known()
        self._report_pending()
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
        """Returns the latest change of each id, as Engine.events. Raises Unavailable."""
        self._report_pending()
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
        """Returns the position of the newest event, as Engine.position. Raises Unavailable."""
        self._report_pending()
        return self._ask(_number, "GET", self._names.presence("position"))


# -- reading answers; any error raised here means that an answer is none


def _heartbeat_answer(answer: Any) -> tuple[int, list[bytes], bytes]:
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
