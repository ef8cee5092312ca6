"""Carries out what back-ends ask for, whoever has read it: a command in, its answer out (protocol page, part 3)."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from rplx.access.gate import Logins
from rplx.errors import TooLarge
from rplx.hub import stats
from rplx.hub.hub import Hub
from rplx.log import Log
from rplx.messages import Appended, Asker, Command, Identifiers, Online, Send, Stats, Stored, Watch
from rplx.options.table import InOptions
from rplx.protocol import commands, replies
from rplx.protocol.json_texts import check_json


class Executor:
    """One to a process. Its methods are called in a greenlet that may wait, that of who asks."""

    def __init__(self, hub: Hub, logins: Logins, options: InOptions, log: Log) -> None:
        self._hub = hub
        self._logins = logins
        self._log = log
        self.configure(options)

    def configure(self, options: InOptions) -> None:
        """Takes new options, which count from the next command on."""
        self._options = options

    def execute(self, asker: Asker, command: Command) -> bytes | list[bytes]:
        """Carries out a command if its credentials admit it. Returns the text of the answer, a long one in parts.

        Raises Refusal.
        """
        if isinstance(command, Send):
            return replies.receipt(self.begin(asker, command).receipt())
        credentials = command.credentials
        self._logins.admit(asker.host, credentials)
        self._hub.turns.rest()  # a long list has been read for it
        login = credentials.login if credentials else None
        if isinstance(command, Online):
            return self._online(asker, command, login)
        if isinstance(command, Watch):
            return self._watch(asker, command, login)
        assert isinstance(command, Stats)
        self._log_command(asker, "STATS", "")
        self._log.connection(asker, "sending stats")
        return b"" if login else self._hub.stats()

    def begin(self, asker: Asker, send: Send) -> Appended:
        """Begins to store a message if its credentials admit it. Others may go on first. Raises Refusal."""
        self._logins.admit(asker.host, send.identifiers.credentials)
        return self._begin(asker, send)

    def send(self, asker: Asker, send: Send) -> dict[str, str]:
        """Stores a message of somebody who has been admitted. Returns the receipt: id -> the message's cursor there.

        The receipt is empty if no channel is left that the login owns. Others may go on first.

        Raises BadRequest, InsufficientStorage, Unavailable.
        """
        return self._begin(asker, send).receipt()

    def _begin(self, asker: Asker, send: Send) -> Appended:
        self._hub.turns.rest()  # a long list has been read for it, or it is one of many
        log = self._log
        if not send.identifiers.cursors:  # an empty list is no error in the old forms (part 7.9)
            if not log.connections:
                log.counted("IN: nobody", f"IN: {asker.host}: a send names no channel, so it is stored nowhere")
            return Stored({})
        send = self._checked(send)
        if send.identifiers.credentials is not None:
            send = Send(self._owned(asker, send.identifiers), send.data, send.stored)
            if not send.identifiers.cursors:
                return Stored({})
        if log.connections:
            added = f"added data for [{','.join(send.identifiers.cursors)}]"
            send = replace(send, stored=partial(log.connection, asker, added))
        return self._hub.begin(send)

    def online(self, asker: Asker, prefixes: tuple[str, ...] = ()) -> Mapping[str, int]:
        """Returns how many listen to each id that is online and begins with one of `prefixes`, if any are given.

        Raises TooLarge, Unavailable.
        """
        found = self._hub.engine.online(prefixes)
        if len(found) > self._options.max_online:
            raise TooLarge(
                f"more than {self._options.max_online} ids are online (in.max_online); ask for those of a prefix"
            )
        self._log.connection(asker, f"sending {len(found)} online identifiers")
        return found

    # -- sends

    def _checked(self, send: Send) -> Send:
        """Returns the send with its message as it is stored. Raises EmptyBody, and BadRequest if it is not JSON."""
        if send.data.startswith(codecs.BOM_UTF8):  # editors put it before a text (RFC 8259, 8.1)
            send = replace(send, data=send.data.removeprefix(codecs.BOM_UTF8))
        if not send.data:
            text = "the message is not JSON: it is empty" if self._options.check_json else commands.EMPTY_BODY
            raise commands.EmptyBody(text, closes=False)
        if self._options.check_json:
            check_json(send.data)
            self._hub.turns.rest()
        return send

    def _owned(self, asker: Asker, identifiers: Identifiers) -> Identifiers:
        """Returns the list without the channels that its login does not own (part 3, "Users")."""
        assert identifiers.credentials is not None
        login = identifiers.credentials.login
        cursors = {}
        for id, cursor in identifiers.cursors.items():
            if self._logins.may_send(login, id):
                cursors[id] = cursor
                continue
            self._log.connection(asker, f"skipping not owned [{id}] for login {login}")
            self._hub.turns.rest()
        return Identifiers(cursors, identifiers.limiters, identifiers.credentials)

    # -- questions

    def _online(self, asker: Asker, command: Online, login: str | None) -> bytes | list[bytes]:
        self._log_command(asker, "ONLINE", command.arguments)
        prefixes = self._owned_prefixes(login, command.prefixes)
        if prefixes is None:
            self._log.connection(asker, "sending 0 online identifiers")
            return b""
        return stats.online(self.online(asker, prefixes), self._hub.turns.rest)

    def _watch(self, asker: Asker, command: Watch, login: str | None) -> bytes:
        self._log_command(asker, "WATCH", command.arguments)
        engine = self._hub.engine
        newest = engine.position()
        position = _whole(command.position)
        if not position or position > newest:
            self._log.connection(asker, "sending 1 events")
            return replies.fake_event(newest)
        prefixes = self._owned_prefixes(login, command.prefixes)
        if prefixes is None:
            self._log.connection(asker, "sending 0 events")
            return b""
        events = engine.events(position, prefixes)
        self._log.connection(asker, f"sending {len(events)} events")
        return replies.events(events)

    def _log_command(self, asker: Asker, name: str, arguments: str) -> None:
        if self._log.connections:
            self._log.connection(asker, f"received aux command: {name} {arguments}".rstrip(" "))

    def _owned_prefixes(self, login: str | None, prefixes: tuple[str, ...]) -> tuple[str, ...] | None:
        """Returns the prefixes that the login may ask about; None if it may ask about none of them."""
        if login is None:
            return prefixes
        return tuple([prefix for prefix in prefixes if self._logins.may_ask(login, prefix)]) or None


def _whole(text: str | None) -> int | None:
    """Returns a position's number; None if it is not one."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 18:
        return None
    return int(text)
