"""The back-end's client: send to channels, ask who is online, watch them come and go, listen."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from rplx.client import answers
from rplx.client.answers import Event
from rplx.client.batch import Batch
from rplx.client.commands import Command, Commands
from rplx.client.connection import Address, Answer, Connection, Deadline
from rplx.client.errors import ConnectionLost, InvalidArgument, RealplexorError
from rplx.client.following import Following
from rplx.client.granting import Source
from rplx.client.listener import Listener
from rplx.client.listening import POLL_SECONDS
from rplx.client.names import Ids, Names, Prefixes, checked_marker_word
from rplx.client.wait_url import url_beside

TIMEOUT = 5.0  # seconds for one call: connect, send, answer
IDLE_MAX = 4  # idle connections that are kept; as many threads send at once without a new one

_Read = TypeVar("_Read")


def checked_timeout(seconds: float | None) -> float | None:
    """Returns the seconds for one call. Raises InvalidArgument unless they are more than 0."""
    if seconds is not None and not seconds > 0:
        raise InvalidArgument(f"Timeout must be more than 0 seconds, {seconds} given")
    return seconds


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
        self.timeout = checked_timeout(timeout)
        self.address = Address.of(host, port, tls)
        names = Names.of(namespace, login, password)
        self._commands = Commands(self.address, names, checked_marker_word(identifier))
        self._idle: list[Connection] = []  # list's append and pop are atomic: no lock is needed
        self._process = os.getpid()

    def send(self, ids: Ids, data: Any, limit_to: Ids | None = None) -> dict[str, str]:
        """Sends `data` to channels (part 3); the message is stored when this returns.

        `ids`: an id, several, or a mapping id -> cursor (None: the server draws one). `data`: anything that `json`
        takes. `limit_to`: ids; only listeners that also listen to one of them see the message. Returns the receipt:
        id -> the message's cursor there (part 7.1). Raises NotStored if the server left out a channel.
        """
        return self._ask(self._commands.send(ids, data, limit_to))

    def send_json(
        self, ids: Ids, text: str | bytes | bytearray | memoryview, limit_to: Ids | None = None
    ) -> dict[str, str]:
        """As `send`, for a message that is a JSON text already: it is checked, and sent as it stands."""
        return self._ask(self._commands.send_json(ids, text, limit_to))

    def send_many(self, messages: Iterable[tuple[Any, ...]]) -> list[dict[str, str]]:
        """Sends each `(ids, data)` or `(ids, data, limit_to)` in order on one connection, without waiting in between.

        Returns the receipts in the same order. `messages` may be a generator: it is iterated as answers come, and
        messages are written in groups. Raises SendManyError, which says what is stored, at the first message that is
        refused or lost.
        """
        batch = Batch(self._take, self._give_back, lambda: Deadline(self.timeout))
        return batch.run(messages, self._commands.send_one_of_many)

    def online(self, prefixes: Prefixes = None) -> list[str]:
        """Returns the ids that are online, sorted (part 3, ONLINE).

        `prefixes`: one or several; only ids that start with one of them are returned.
        """
        return list(self.online_with_counters(prefixes))

    def online_with_counters(self, prefixes: Prefixes = None) -> dict[str, int]:
        """As `online`, with the number of each id's connections: 0 while it still counts as online after leaving."""
        return self._ask(self._commands.online(prefixes))

    def watch(self, position: str | int | None = None, prefixes: Prefixes = None) -> list[Event]:
        """Returns what came online or went offline after `position`, oldest first (part 3, WATCH).

        Of several changes of an id the latest is returned. `prefixes` as for `online`. Without a position, with 0, and
        with one that the server never gave, the result is one `Event("FAKE", POS, "FAKE")`: ask on from POS. If it
        stands before others, the server has forgotten events up to POS: ask `online()`. `follow` does all of that.
        """
        return self._ask(self._commands.watch(position, prefixes))

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
        following = Following(position, interval)
        yield from following.take(self.watch(following.position, prefixes))
        while True:
            time.sleep(following.delay)
            try:
                events = self.watch(following.position, prefixes)
            except RealplexorError as error:
                following.failed(error)
            else:
                yield from following.take(events)

    def stats(self) -> dict[str, dict[str, str]]:
        """Returns the server's state: section -> key -> value, empty for a login (part 3, STATS)."""
        return answers.stats(self.stats_text())

    def stats_text(self) -> str:
        """Returns the server's state as text (part 3, STATS)."""
        return self._ask(self._commands.stats_text())

    def listen(
        self,
        channels: Ids,
        wait: str | None = None,
        *,
        on_gap: Callable[[list[str]], None] | None = None,
        poll_seconds: float = POLL_SECONDS,
        poll_timeout: float | None = None,
        transport: str = "auto",
        grant: Source | None = None,
        on_refused: Callable[[list[str]], None] | None = None,
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
        `grant`: a grant (part 12), or a function that returns one, which is called again before its end; None or an
        empty text from it, and a new one that the server does not take, end the listener with Refused (401). OSError
        from it is retried. `on_refused` is called with the ids that the server does not let this listener hear.
        """
        return Listener(
            url_beside(self.address) if wait is None else wait,
            channels,
            self._commands.names,
            self._commands.identifier,
            on_gap,
            self.timeout,
            poll_seconds,
            poll_timeout,
            self.address.tls or True,
            transport,
            grant,
            on_refused,
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

    def _ask(self, command: Command[_Read]) -> _Read:
        """Returns what the answer to a command says, on a kept connection or a new one.

        If the kept one turns out to be closed, the command is written again if it is repeatable, or certainly was
        not carried out.
        """
        deadline = Deadline(self.timeout)
        while True:
            connection, kept = self._take(deadline)
            try:
                answer = connection.ask(command.request.written(), deadline)
            except ConnectionLost as error:
                connection.close()
                if kept and (command.repeatable or not error.unknown):
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            self._give_back(connection, answer)
            return command.read(answer)

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
