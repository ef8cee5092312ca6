"""What all conversations of an IN line share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from rplx.hub.turns import Turns
from rplx.log import Log
from rplx.messages import Appended, Asker, Command, Send
from rplx.options.table import Config
from rplx.protocol.door import Door
from rplx.protocol.identifiers import IdentifierParser


class Carrier(Protocol):
    """Carries commands out, as commands.Executor does."""

    def execute(self, asker: Asker, command: Command) -> bytes | list[bytes]: ...
    def begin(self, asker: Asker, send: Send) -> Appended: ...


class Line:
    """The options of an IN line, what its requests are judged by, and whether it ends.

    `ends_with_answers`: connections end with their next answer. `ends_between_requests`: they end there at once, too.
    """

    def __init__(self, carrier: Carrier, config: Config, turns: Turns, log: Log, wait_line: str) -> None:
        """`wait_line` says where listeners go who are lost here."""
        self.execute = carrier.execute
        self.begin = carrier.begin
        self.log = log
        self.turns = turns
        self.ends_with_answers = False
        self.ends_between_requests = False
        self._wait_line = wait_line
        self._addresses: set[str] = set()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes new options, which count from the next request on."""
        self.options = config.in_
        self.parser = IdentifierParser(config.pages.identifier, config.in_.max_ids, config.wait.id_max, "in.max_ids")
        self.door = Door(config.in_.hosts, self._addresses, self._wait_line)

    def listens_at(self, addresses: Iterable[str]) -> None:
        """Takes the line's own addresses, each HOST:PORT: a Referer may name them (part 7.7)."""
        self._addresses.update(addresses)
        self.door = Door(self.options.hosts, self._addresses, self._wait_line)

    def end_with_answers(self) -> None:
        """From now on connections end with their next answer."""
        self.ends_with_answers = True

    def end_between_requests(self) -> None:
        """From now on connections on which no request is half read end without one."""
        self.ends_between_requests = True
