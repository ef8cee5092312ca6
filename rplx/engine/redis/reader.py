"""Reads the followed channels from Redis, many by one call, each again until it could be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gevent
from gevent.event import Event

from rplx.engine.observing import Observer
from rplx.engine.redis.background import spawn_forever
from rplx.engine.redis.call import Call
from rplx.engine.redis.clock import RedisClock
from rplx.engine.redis.followed import Followed, Held
from rplx.engine.redis.health import ODD
from rplx.engine.redis.names import Names
from rplx.engine.redis.servers import Servers
from rplx.errors import Refusal

READ_MAX = 100  # channels read by one call
CALLS_MAX = 200  # calls under way for reading
READ_AGAIN_FIRST = 0.1  # seconds until channels that could not be read are read again; doubled each time
READ_AGAIN_MAX = 1.0  # seconds, at most; less than health.SETTLED

Submit = Callable[[str, str, tuple[Any, ...]], Call]  # tag, script, arguments
Question = tuple[str, bytes, int]
Answer = tuple[str, Question, Held]  # what was asked about a channel, and what Redis holds
_Asked = tuple[list[str], list[Question], Call]  # ids, what is asked about each, the call that asks


class Reader:
    """`read` is set and cleared whenever something was read, or could not be; `took` is given what was.

    `facts_ttl` gives the milliseconds that Redis remembers a channel's facts; `observer` lets others go on.
    """

    def __init__(
        self,
        servers: Servers,
        names: Names,
        clock: RedisClock,
        submit: Submit,
        channels: Mapping[str, Followed],
        facts_ttl: Callable[[], int],
        took: Callable[[list[Answer]], None],
        observer: Observer,
    ) -> None:
        self.read = Event()
        self._servers = servers
        self._names = names
        self._clock = clock
        self._submit = submit
        self._channels = channels
        self._facts_ttl = facts_ttl
        self._took = took
        self._observer = observer
        self._unread: dict[str, None] = {}
        self._odd: set[str] = set()  # channels whose last answer could not be used: each is asked for alone
        self._reading = Event()
        self._greenlet = spawn_forever(self._read_forever)

    def close(self) -> None:
        self._greenlet.kill()

    def _reread_all(self, ids: list[str]) -> None:
        for id in ids:
            self.reread(id)

    def reread(self, id: str) -> None:
        self._unread[id] = None
        self._reading.set()

    def _read_forever(self) -> None:
        delay = 0.0
        while True:
            self._reading.wait()
            self._reading.clear()
            unread, self._unread = self._unread, {}
            try:
                failed = self._read_all(unread)
            except BaseException:
                self._unread.update(unread)
                self._reading.set()
                raise
            self.wake()
            delay = min(max(delay * 2, READ_AGAIN_FIRST), READ_AGAIN_MAX) if failed else 0.0
            if failed:
                gevent.spawn_later(delay, self._reread_all, failed)  # others do not wait for these

    def wake(self) -> None:
        self.read.set()
        self.read.clear()

    def _chunks(self, ids: Iterable[str]) -> list[tuple[str, list[str]]]:
        """The channels that one call each reads, with their tag. Others may go on meanwhile."""
        by_tag: dict[str, list[str]] = {}
        chunks: list[tuple[str, list[str]]] = []
        for number, id in enumerate(ids):
            if number % READ_MAX == 0:
                self._observer.rest()
            if id not in self._channels:
                continue
            tag = self._servers.tag(id)
            if id in self._odd:
                chunks.append((tag, [id]))
                continue
            together = by_tag.setdefault(tag, [])
            together.append(id)
            if len(together) == READ_MAX:
                chunks.append((tag, by_tag.pop(tag)))
        return [*chunks, *by_tag.items()]

    def _read_all(self, ids: Iterable[str]) -> list[str]:
        """Reads the channels and tells what was missed; gives those that could not be read."""
        chunks = self._chunks(ids)
        failed: list[str] = []
        for at in range(0, len(chunks), CALLS_MAX):
            try:
                calls = [self._ask_for(tag, chunk) for tag, chunk in chunks[at : at + CALLS_MAX]]
            except Refusal:
                failed += [id for _, chunk in chunks[at:] for id in chunk]
                break
            failed += self._take_answers(calls)
        return failed

    def _take_answers(self, calls: list[_Asked]) -> list[str]:
        failed: list[str] = []
        answers: list[Answer] = []
        for ids, questions, call in calls:
            try:
                found: list[Held] = call.get(lambda answer, ids=ids: self._understand(ids, answer))  # type: ignore[misc]
            except Refusal as refusal:
                failed += ids
                if refusal.trouble == ODD:  # perhaps for one of them alone: the others are read without it
                    self._odd.intersection_update(self._channels)
                    self._odd.update(ids)
                continue
            self._odd.difference_update(ids)
            answers += zip(ids, questions, found, strict=True)
        self._took(answers)
        return failed

    def _ask_for(self, tag: str, ids: list[str]) -> _Asked:
        """Others may go on first. Errors: Unavailable."""
        self._observer.rest()
        ids = [id for id in ids if id in self._channels]  # some may have been let go meanwhile
        keys: list[Any] = [self._names.order(tag)]
        arguments: list[Any] = [self._clock.seen, self._facts_ttl()]
        questions = []
        for id in ids:
            question = self._channels[id].question()
            questions.append(question)
            keys += [self._names.history(id), self._names.facts(id)]
            arguments += (*question, self._channels[id].last if question[1] else "")
        return ids, questions, self._submit(tag, "read", (len(keys), *keys, *arguments))

    def _understand(self, ids: list[str], answer: Any) -> list[Held]:
        """What Redis holds of the channels. Raises what it likes if it is no answer. Others may go on meanwhile."""
        found = []
        for id, one in zip(ids, answer, strict=True):
            found.append(Held.of(id, one))
            self._observer.rest()
        return found
