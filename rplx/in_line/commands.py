"""Carries out what back-ends ask for: a command in, the text of its answer out (protocol page, part 3)."""

from __future__ import annotations

import codecs
from functools import partial

from rplx.access.gate import Logins
from rplx.errors import TooLarge
from rplx.hub import stats
from rplx.hub.hub import Hub
from rplx.in_line.connection import Connection
from rplx.log import Log
from rplx.messages import Command, Online, Send, Stats, Watch
from rplx.options.table import InOptions
from rplx.protocol import commands, replies
from rplx.protocol.json_texts import check_json


class Executor:
    """`execute` is called in the greenlet of the connection that asks. `options` may be replaced at any time."""

    def __init__(self, hub: Hub, options: InOptions, logins: Logins, log: Log) -> None:
        self._hub = hub
        self.options = options
        self._logins = logins
        self._log = log

    def execute(self, connection: Connection, command: Command) -> bytes | list[bytes]:
        """Carries a command out; gives the text of its answer, a long one in parts. Errors: Refusal."""
        self._hub.turns.rest()  # a long list has been read for it
        if isinstance(command, Send):
            return self._send(connection, command)
        credentials = command.credentials
        self._logins.admit(connection.host, credentials)
        login = credentials.login if credentials else None
        if isinstance(command, Online):
            return self._online(connection, command, login)
        if isinstance(command, Watch):
            return self._watch(connection, command, login)
        assert isinstance(command, Stats)
        self._received(connection, "STATS", "")
        self._log.connection(connection, "sending stats")
        return b"" if login else self._hub.stats()

    def _send(self, connection: Connection, command: Send) -> bytes:
        identifiers = command.identifiers
        credentials = identifiers.credentials
        self._logins.admit(connection.host, credentials)
        log = self._log
        if not identifiers.cursors:  # an empty list is no error in the old forms (part 7.9)
            if not log.connections:
                log.counted("IN: nobody", f"IN: {connection.host}: a send names no channel, so it is stored nowhere")
            return b""
        command.data = command.data.removeprefix(codecs.BOM_UTF8)  # editors put it before a text (RFC 8259, 8.1)
        if not command.data:
            text = "the message is not JSON: it is empty" if self.options.check_json else commands.EMPTY_BODY
            raise commands.EmptyBody(text, closes=False)
        if self.options.check_json:
            check_json(command.data)
            self._hub.turns.rest()
        if credentials is not None:
            users = self._logins.users
            for id in [id for id in identifiers.cursors if not users.owns(credentials.login, id)]:
                log.connection(connection, f"skipping not owned [{id}] for login {credentials.login}")
                del identifiers.cursors[id]
                self._hub.turns.rest()
            if not identifiers.cursors:
                return b""
        if log.connections:
            added = f"added data for [{','.join(identifiers.cursors)}]"
            command.stored = partial(log.connection, connection, added)
        return replies.receipt(self._hub.publish(command))

    def _online(self, connection: Connection, command: Online, login: str | None) -> bytes | list[bytes]:
        self._received(connection, "ONLINE", command.arguments)
        prefixes = self._owned(login, command.prefixes)
        if prefixes is None:
            self._log.connection(connection, "sending 0 online identifiers")
            return b""
        online = self._hub.engine.online(prefixes)
        if len(online) > self.options.max_online:
            raise TooLarge(
                f"more than {self.options.max_online} ids are online (in.max_online); ask for those of a prefix"
            )
        self._log.connection(connection, f"sending {len(online)} online identifiers")
        return stats.online(online, self._hub.turns.rest)

    def _watch(self, connection: Connection, command: Watch, login: str | None) -> bytes:
        self._received(connection, "WATCH", command.arguments)
        engine = self._hub.engine
        newest = engine.position()
        position = _whole(command.position)
        if not position or position > newest:
            self._log.connection(connection, "sending 1 events")
            return replies.fake_event(newest)
        prefixes = self._owned(login, command.prefixes)
        if prefixes is None:
            self._log.connection(connection, "sending 0 events")
            return b""
        events = engine.events(position, prefixes)
        self._log.connection(connection, f"sending {len(events)} events")
        return replies.events(events)

    def _received(self, connection: Connection, name: str, arguments: str) -> None:
        if self._log.connections:
            self._log.connection(connection, f"received aux command: {name} {arguments}".rstrip(" "))

    def _owned(self, login: str | None, prefixes: tuple[str, ...]) -> tuple[str, ...] | None:
        """The prefixes that the login may ask about; None if it may ask about none of them."""
        if login is None:
            return prefixes
        return tuple([prefix for prefix in prefixes if self._logins.users.owns(login, prefix)]) or None


def _whole(text: str | None) -> int | None:
    """A position's number; None if it is not one."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 18:
        return None
    return int(text)
