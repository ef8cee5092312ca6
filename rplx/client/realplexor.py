"""The back-end's client: send to channels, ask who is online, watch them come and go, listen."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from rplx.client import answers
from rplx.client.answers import Event
from rplx.client.batch import Batch
from rplx.client.connection import Address, Answer, Connection, Deadline
from rplx.client.errors import (
    BrokenResponse,
    ConnectionFailed,
    ConnectionLost,
    InvalidArgument,
    NotStored,
    Refused,
    Timeout,
)
from rplx.client.listener import POLL_SECONDS, Listener
from rplx.client.names import (
    Ids,
    Names,
    Prefixes,
    addressees,
    checked_json,
    checked_marker_word,
    checked_position,
    encode,
)
from rplx.client.retrying import Retry, is_passing

TIMEOUT = 5.0  # seconds for one call: connect, send, answer
IDLE_MAX = 4  # idle connections that are kept; as many threads send at once without a new one
FIRST_POSITION = "1"  # lower than any event's position, so that WATCH from here returns all that is remembered


class Realplexor:
    """A client of one server. Any number of threads or greenlets may use it at once, also after a fork.

    Every method raises RealplexorError: InvalidArgument, Refused, ConnectionFailed, ConnectionLost, Timeout or
    BrokenResponse. A question (ONLINE, WATCH, STATS) is asked again if a kept connection turns out to be closed. **A
    send is never written twice**, unless the server certainly did not have the whole of the first one: so a message
    arrives at most once, and if an error's `unknown` is True it may have arrived. A caller that needs it to arrive at
    least once sends it again then, and it may arrive twice.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 10010,
        namespace: str | None = None,
        *,
        login: str | None = None,
        password: str | None = None,
        timeout: float | None = TIMEOUT,
        tls: bool | ssl.SSLContext = False,
        identifier: str = "identifier",
    ) -> None:
        """Connects to nobody yet.

        A host unix:/PATH is a socket's path, and `port` does not count.
        `host`, `port`: the server's IN line. `namespace` is put before each id that is sent and taken off each that
        comes back; a `login` puts `LOGIN_` before that, so a login sends only to its own channels (protocol page,
        part 6). `password` belongs to the login. `timeout`: seconds for one whole call, None for ever. `tls`: True
        for TLS with the system's certificates, or an `ssl.SSLContext`. `identifier`: the word before `=` in the
        marker (part 1), the server's option pages.identifier. Raises InvalidArgument.
        """
        if timeout is not None and not timeout > 0:
            raise InvalidArgument(f"Timeout must be more than 0 seconds, {timeout} given")
        self.timeout = timeout
        self.address = Address.of(host, port, tls)
        self._names = Names.of(namespace, login, password)
        self._identifier = checked_marker_word(identifier)
        self._idle: list[Connection] = []  # list's append and pop are atomic: no lock is needed
        self._process = os.getpid()

    def send(self, ids: Ids, data: Any, limit_to: Ids | None = None) -> dict[str, str]:
        """Sends `data` to channels (part 3); the message is stored when this returns.

        `ids`: an id, several, or a mapping id -> cursor (None: the server draws one). `data`: anything that `json`
        takes. `limit_to`: ids; only listeners that also listen to one of them see the message. Returns the receipt:
        id -> the message's cursor there (part 7.1). Raises NotStored if the server left out a channel.
        """
        return self._send(ids, encode(data), limit_to)

    def send_json(
        self, ids: Ids, text: str | bytes | bytearray | memoryview, limit_to: Ids | None = None
    ) -> dict[str, str]:
        """As `send`, for a message that is a JSON text already: it is checked, and sent as it stands."""
        return self._send(ids, checked_json(text), limit_to)

    def send_many(self, messages: Iterable[tuple[Any, ...]]) -> list[dict[str, str]]:
        """Sends each `(ids, data)` or `(ids, data, limit_to)` in order on one connection, without waiting in between.

        Returns the receipts in the same order. `messages` may be a generator: it is iterated as answers come, and
        messages are written in groups. Raises SendManyError, which says what is stored, at the first message that is
        refused or lost.
        """
        batch = Batch(self._take, self._give_back, lambda: Deadline(self.timeout))
        return batch.run(messages, lambda ids, data, limit_to=None: self._prepared(ids, encode(data), limit_to))

    def online(self, prefixes: Prefixes = None) -> list[str]:
        """Returns the ids that are online, sorted (part 3, ONLINE).

        `prefixes`: one or several; only ids that start with one of them are returned.
        """
        return list(self.online_with_counters(prefixes))

    def online_with_counters(self, prefixes: Prefixes = None) -> dict[str, int]:
        """As `online`, with the number of each id's connections: 0 while it still counts as online after leaving."""
        counts = answers.online(self._command("ONLINE", *self._names.prefixes(prefixes)).body)
        return {self._names.short(id): count for id, count in counts.items()}

    def watch(self, position: str | int | None = None, prefixes: Prefixes = None) -> list[Event]:
        """Returns what came online or went offline after `position`, oldest first (part 3, WATCH).

        Of several changes of an id the latest is returned. `prefixes` as for `online`. Without a position, with 0, and
        with one that the server never gave, the result is one `Event("FAKE", POS, "FAKE")`: ask on from POS. If it
        stands before others, the server has forgotten events up to POS: ask `online()`. `follow` does all of that.
        """
        arguments = [checked_position(position), *self._names.prefixes(prefixes)]
        events = answers.watch(self._command("WATCH", *arguments).body)
        return [event._replace(id=self._names.short(event.id)) for event in events]

    def follow(
        self, position: str | int | None = None, prefixes: Prefixes = None, interval: float = 1.0
    ) -> Iterator[Event]:
        """Yields events for ever, asking every `interval` seconds; without a position only those from now on.

        Only the first question raises what any call raises; later the server may go away and come back. A server that
        was restarted without its memory counts positions anew: then `Event("restart", "1", "")` is yielded, and all
        events since the restart behind it. Ids that were online before and did not come back are not reported: ask
        `online()`. `Event("missed", POS, "")` is yielded before the others if the server has forgotten events up to
        POS. To go on in another process, keep the last event's `pos`.
        """
        events = self.watch(position, prefixes)
        at = checked_position(position)
        retry = Retry()
        while True:
            told = events[0] if events and events[0].event == "FAKE" else None
            if told and at == "0":
                at = told.pos
            elif told and int(told.pos) < int(at):
                yield Event("restart", FIRST_POSITION, "")
                at = FIRST_POSITION
            else:
                for event in events:
                    at = event.pos
                    yield Event("missed", at, "") if event is told else event
            time.sleep(max(interval, retry.delay))
            try:
                events = self.watch(at, prefixes)
                retry.succeeded()
            except (ConnectionFailed, ConnectionLost, Timeout, BrokenResponse, Refused) as error:
                if not is_passing(error):
                    raise
                retry.failed(error)
                events = []

    def stats(self) -> dict[str, dict[str, str]]:
        """Returns the server's state: section -> key -> value, empty for a login (part 3, STATS)."""
        return answers.stats(self.stats_text())

    def stats_text(self) -> str:
        """Returns the server's state as text (part 3, STATS)."""
        return self._command("STATS").text

    def listen(
        self,
        channels: Ids,
        wait: str | None = None,
        *,
        on_gap: Callable[[list[str]], None] | None = None,
        poll_seconds: float = POLL_SECONDS,
        poll_timeout: float | None = None,
        transport: str = "auto",
    ) -> Listener:
        """Returns an iterator over messages that listens as a browser does, and reconnects by itself; see Listener.

        `channels`: an id, several, or a mapping id -> cursor to go on from. `wait`: the WAIT line's URL, or unix:/PATH;
        by default port 8088 of the same host. What is sent after this has returned is received. `on_gap` is called with
        the ids whose history no longer reaches back to where this listener was, so that messages may have been missed
        (part 7.4). `poll_seconds`: how long polls ask the server to wait, from 1 on, or 0 to leave it to the server;
        proxies cut what is silent for longer, some after 30 s (part 9.1). `poll_timeout`: seconds without an answer
        after which a poll is given up, if not 10 s more than it asked for; it must be more than the server waits.
        `transport`: "auto", an event stream, or polls for ten minutes where the server has no streams, something on the
        way holds them back or they end at once three times; "stream" or "poll" for that alone (parts 9 and 10).
        """
        if wait is None and self.address.is_unix:
            raise InvalidArgument("wait must be given, as the IN line is at the path of a socket")
        if wait is None:
            wait = f"http://{Address(self.address.host, 8088)}/"
        tls = self.address.tls or True
        return Listener(
            wait,
            channels,
            self._names,
            self._identifier,
            on_gap,
            self.timeout,
            poll_seconds,
            poll_timeout,
            tls,
            transport,
        )

    def close(self) -> None:
        """Closes the idle connections. The client may still be used: it opens new ones."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def __enter__(self) -> Realplexor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, ids: Ids, data: bytes, limit_to: Ids | None) -> dict[str, str]:
        request, receipt = self._prepared(ids, data, limit_to)
        return receipt(self._call(request, repeatable=False))

    def _prepared(
        self, ids: Ids, data: bytes, limit_to: Ids | None
    ) -> tuple[bytes, Callable[[Answer], dict[str, str]]]:
        """Returns a send's request, and the function that reads the receipt from its answer."""
        cursors, limiters = addressees(ids, limit_to)
        request = self._request(self._names.items(cursors) + self._names.limiters(limiters), data)

        def receipt(answer: Answer) -> dict[str, str]:
            stored = {self._names.short(id): cursor for id, cursor in answers.receipt(_accepted(answer).body).items()}
            if missing := [id for id in cursors if id not in stored]:
                raise NotStored(stored, missing)
            return stored

        return request, receipt

    def _command(self, *words: str) -> Answer:
        return _accepted(self._call(self._request("", " ".join(words).encode() + b"\n"), repeatable=True))

    def _request(self, items: str, body: bytes) -> bytes:
        marker = self._names.credentials + items
        head = [
            "POST / HTTP/1.1",
            f"Host: {self.address.host_header}",
            *([f"X-Realplexor: {self._identifier}={marker}"] if marker else []),
            "Content-Type: application/json" if items else "Content-Type: text/plain",
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body

    def _call(self, request: bytes, *, repeatable: bool) -> Answer:
        """Returns the answer to a request, on a kept connection or a new one.

        If the kept one turns out to be closed, the request is written again if it is `repeatable`, or certainly was
        not carried out.
        """
        deadline = Deadline(self.timeout)
        while True:
            connection, kept = self._take(deadline)
            try:
                answer = connection.ask(request, deadline)
            except ConnectionLost as error:
                connection.close()
                if kept and (repeatable or not error.unknown):
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            self._give_back(connection, answer)
            return answer

    def _take(self, deadline: Deadline) -> tuple[Connection, bool]:
        """Returns a connection, and whether it is a kept one."""
        if self._process != os.getpid():
            # The parent's connections: closing our copies leaves the parent's open.
            self.close()
            self._process = os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if connection.usable():
                return connection, True
            connection.close()
        return Connection(self.address, deadline), False

    def _give_back(self, connection: Connection, answer: Answer) -> None:
        if answer.closes or len(self._idle) >= IDLE_MAX:
            connection.close()
        else:
            self._idle.append(connection)


def _accepted(answer: Answer) -> Answer:
    """Returns the answer if it is no refusal. Raises Refused."""
    if answer.status != 200:
        raise answer.refusal()
    return answer
