"""Reads followed channels from Redis: many with one call, and each again until it could be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gevent
from gevent.event import Event

from rplx.engine.observing import Observer
from rplx.engine.redis.background import spawn_forever
from rplx.engine.redis.call import Call
from rplx.engine.redis.clock import RedisClock
from rplx.engine.redis.health import ODD
from rplx.engine.redis.names import Names
from rplx.engine.redis.replica import Answer, ReadRequest, Replica, Snapshot
from rplx.engine.redis.servers import Servers
from rplx.errors import Refusal

READ_MAX = 100  # channels read by one call
CALLS_MAX = 200  # calls under way for reading
READ_AGAIN_FIRST = 0.1  # seconds until channels that could not be read are read again; doubled each time
READ_AGAIN_MAX = 1.0  # seconds, at most; less than health.SETTLED

Submit = Callable[[str, str, tuple[Any, ...]], Call]  # tag, script, arguments
_Asked = tuple[list[str], list[ReadRequest], Call]  # channels, what is asked about each, the call that asks


class Reader:
    """`read` is set and cleared whenever something was read or could not be. `took` is called with what was read.

    `facts_ttl` returns the milliseconds that Redis remembers a channel's facts.
    """

    def __init__(
        self,
        servers: Servers,
        names: Names,
        clock: RedisClock,
        submit: Submit,
        replicas: Mapping[str, Replica],
        facts_ttl: Callable[[], int],
        took: Callable[[list[Answer]], None],
        observer: Observer,
    ) -> None:
        self.read = Event()
        self._servers = servers
        self._names = names
        self._clock = clock
        self._submit = submit
        self._replicas = replicas
        self._facts_ttl = facts_ttl
        self._took = took
        self._observer = observer
        self._unread: dict[str, None] = {}
        self._unusable: set[str] = set()  # channels whose last answer could not be used: each is read alone
        self._reading = Event()
        self._greenlet = spawn_forever(self._read_forever)

    def close(self) -> None:
        """Stops reading."""
        self._greenlet.kill()

    def _reread_all(self, ids: list[str]) -> None:
        for id in ids:
            self.reread(id)

    def reread(self, id: str) -> None:
        """Has channel `id` read as soon as may be."""
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
        """Has all who wait for `read` look again."""
        self.read.set()
        self.read.clear()

    def _chunks(self, ids: Iterable[str]) -> list[tuple[str, list[str]]]:
        """Returns the channels that each call is to read, with their tag. Others may go on meanwhile."""
        by_tag: dict[str, list[str]] = {}
        chunks: list[tuple[str, list[str]]] = []
        for number, id in enumerate(ids):
            if number % READ_MAX == 0:
                self._observer.rest()
            if id not in self._replicas:
                continue
            tag = self._servers.tag(id)
            if id in self._unusable:
                chunks.append((tag, [id]))
                continue
            together = by_tag.setdefault(tag, [])
            together.append(id)
            if len(together) == READ_MAX:
                chunks.append((tag, by_tag.pop(tag)))
        return [*chunks, *by_tag.items()]

    def _read_all(self, ids: Iterable[str]) -> list[str]:
        """Reads channels, and hands out what was read; returns those that could not be read."""
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
        for ids, requests, call in calls:
            try:
                found: list[Snapshot] = call.get(lambda answer, ids=ids: self._parse(ids, answer))  # type: ignore[misc]
            except Refusal as refusal:
                failed += ids
                if refusal.trouble == ODD:  # perhaps because of one of them: each is read alone
                    self._unusable.intersection_update(self._replicas)
                    self._unusable.update(ids)
                continue
            self._unusable.difference_update(ids)
            answers += zip(ids, requests, found, strict=True)
        self._took(answers)
        return failed

    def _ask_for(self, tag: str, ids: list[str]) -> _Asked:
        """Asks for channels of one tag. Others may go on first. Raises Unavailable."""
        self._observer.rest()
        ids = [id for id in ids if id in self._replicas]  # some may have been let go meanwhile
        keys: list[Any] = [self._names.order(tag)]
        arguments: list[Any] = [self._clock.seen, self._facts_ttl()]
        requests = []
        for id in ids:
            asked = self._replicas[id].read_request()
            requests.append(asked)
            keys += [self._names.history(id), self._names.facts(id)]
            arguments += (*asked, self._replicas[id].last if asked.incarnation else "")
        return ids, requests, self._submit(tag, "read", (len(keys), *keys, *arguments))

    def _parse(self, ids: list[str], answer: Any) -> list[Snapshot]:
        """Reads an answer. Raises any error if it is none. Others may go on meanwhile."""
        found = []
        for id, one in zip(ids, answer, strict=True):
            found.append(Snapshot.of(id, one))
            self._observer.rest()
        return found
