"""What clients say over their WebSockets is carried out here (part 11), whoever reads and writes the frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from rplx.access.grants import seconds_left
from rplx.errors import Forbidden, Refusal, RequestTimeout, TooLarge
from rplx.hub import log_lines
from rplx.hub.hub import Hub
from rplx.hub.members import Member
from rplx.log import Log
from rplx.net.retry_after import retry_seconds
from rplx.options.table import WaitOptions
from rplx.protocol.websocket import Ping, Text, close_frame, pong_frame
from rplx.protocol.websocket_commands import Command, CommandParser, close_of
from rplx.wait_line.connection import Inbox

Cursors = dict[str, str | None]


class SocketCommands:
    """Adds and drops the channels of WebSockets, answers pings, and says why one is closed."""

    def __init__(self, options: WaitOptions, log: Log, hub: Hub) -> None:
        self._log = log
        self._streams = hub.streams
        self.configure(options)

    def configure(self, options: WaitOptions) -> None:
        """Takes new options."""
        self.timeout = options.head_timeout  # seconds within which a message has to come whole
        self.write_timeout = options.write_timeout
        self._max_ids = options.max_ids
        self._parser = CommandParser(options.max_ids, options.id_max)

    def carry_out(self, member: Member, inbox: Inbox, ends_at: float) -> tuple[list[bytes], bool]:
        """Carries out what a client has sent, whose member is behind.

        Returns the frames that are to be written, and whether the stream goes on; else the last closes it. `ends_at`:
        as for `retry_after`. Raises Unavailable.
        """
        received, inbox.received = inbox.received, []
        cursors: Cursors = dict.fromkeys(member.names)
        frames: list[bytes] = []
        refused: dict[str, None] = {}
        listens = False
        try:
            for one in received:
                if isinstance(one, Text):
                    command = self._parser.parse(one.text)
                    refused.update(dict.fromkeys(self._change(member, cursors, command)))
                    listens = listens or bool(command.listen)
                elif isinstance(one, Ping):
                    frames = [pong_frame(one.data)]  # the last answers all (RFC 6455, 5.5.3)
                else:
                    return [close_frame(one.code)], False
        except Refusal as error:
            if member.connection is not None:
                self._log.refused(member.connection, error.text, error.trouble)
            return [close_frame(*close_of(error, retry_seconds(error, ends_at)))], False
        wrong = inbox.reader.error
        if wrong is not None:
            return [close_frame(wrong.code, wrong.text)], False
        if inbox.deadline and inbox.deadline <= time.monotonic():
            return [close_frame(*close_of(RequestTimeout("no whole message came within wait.head_timeout")))], False
        if listens or len(cursors) != len(member.names):
            joined = self._joined(member, cursors)
            frames.append(self._streams.listen_to(member, cursors, joined, answered=listens))
        if refused:
            frames.append(member.encoding.refused(list(refused)))
        return frames, True

    def _change(self, member: Member, cursors: Cursors, command: Command) -> list[str]:
        """Adds and drops channels. One that is there already goes on where it is, if no cursor is named.

        A grant takes the place of the one before (part 12). Returns the channels that are refused. Raises InvalidGrant,
        BadRequest, TooLarge.
        """
        if command.grant is not None:
            if member.access is None:
                raise Forbidden("no grants are taken here")
            member.access = member.access.renewed(command.grant, time.time())
            member.ends_in(seconds_left(member.access.ends, time.time()), time.monotonic())
        for id, cursor in command.listen.items():
            if cursor is not None or id not in cursors:
                cursors[id] = cursor
        for id in command.stop:
            cursors.pop(id, None)
        if len(cursors) > self._max_ids:
            raise TooLarge(f"more than {self._max_ids} channels on one connection (wait.max_ids)")
        refused: list[str] = [] if member.access is None else member.access.closed(cursors)
        for id in refused:
            del cursors[id]
        return refused

    def _joined(self, member: Member, cursors: Cursors) -> Callable[[str], None] | None:
        """Returns what logs a listener by its new name, None where that is not logged."""
        if not self._log.connections or not cursors or member.connection is None:
            return None
        return partial(self._registered, member, cursors)

    def _registered(self, member: Member, cursors: Cursors, position: str) -> None:
        connection = member.connection
        connection.name = log_lines.name_of(cursors, len(cursors), position)
        self._log.connection(connection, f"{connection.name} registered")
