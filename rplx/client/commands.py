"""What can be asked of the IN line (protocol page, part 3): each a request and how its answer is read. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rplx.client import answers
from rplx.client.answers import Event
from rplx.client.connection import Address, Answer
from rplx.client.errors import InvalidArgument, NotStored
from rplx.client.names import Ids, Names, Prefixes, addressees, checked_json, checked_position, encode
from rplx.client.requests import Request

Receipt = dict[str, str]
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Command(Generic[_Read]):
    """A command. `read` returns what its answer says, and raises Refused, NotStored, BrokenResponse.

    `repeatable`: it does no harm if the server carries it out twice.
    """

    request: Request
    read: Callable[[Answer], _Read]
    repeatable: bool


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands of one client. All raise InvalidArgument for what cannot be sent."""

    address: Address
    names: Names
    identifier: str

    def send(self, ids: Ids, data: Any, limit_to: Ids | None = None) -> Command[Receipt]:
        """Returns a send of anything that `json` takes."""
        return self._send(ids, encode(data), limit_to)

    def send_json(
        self, ids: Ids, text: str | bytes | bytearray | memoryview, limit_to: Ids | None = None
    ) -> Command[Receipt]:
        """Returns a send of a JSON text as it stands."""
        return self._send(ids, checked_json(text), limit_to)

    def send_one_of_many(self, message: tuple[Any, ...]) -> Command[Receipt]:
        """Returns a send of `(ids, data)` or `(ids, data, limit_to)`."""
        if not isinstance(message, (tuple, list)) or len(message) not in (2, 3):
            raise InvalidArgument("a message is (ids, data) or (ids, data, limit_to)")
        return self.send(*message)

    def online(self, prefixes: Prefixes) -> Command[dict[str, int]]:
        """Returns the question who is online, with the number of each id's connections."""

        def read(answer: Answer) -> dict[str, int]:
            counts = answers.online(_accepted(answer).body)
            return {self.names.short(id): count for id, count in counts.items()}

        return self._question(read, "ONLINE", *self.names.prefixes(prefixes))

    def watch(self, position: str | int | None, prefixes: Prefixes) -> Command[list[Event]]:
        """Returns the question who came and went after `position`."""

        def read(answer: Answer) -> list[Event]:
            events = answers.watch(_accepted(answer).body)
            return [event._replace(id=self.names.short(event.id)) for event in events]

        return self._question(read, "WATCH", checked_position(position), *self.names.prefixes(prefixes))

    def stats_text(self) -> Command[str]:
        """Returns the question for the server's state."""
        return self._question(lambda answer: _accepted(answer).text, "STATS")

    def _send(self, ids: Ids, data: bytes, limit_to: Ids | None) -> Command[Receipt]:
        cursors, limiters = addressees(ids, limit_to)

        def read(answer: Answer) -> Receipt:
            stored = {self.names.short(id): cursor for id, cursor in answers.receipt(_accepted(answer).body).items()}
            if missing := [id for id in cursors if id not in stored]:
                raise NotStored(stored, missing)
            return stored

        items = self.names.items(cursors) + self.names.limiters(limiters)
        return Command(self._request(items, data), read, repeatable=False)

    def _question(self, read: Callable[[Answer], _Read], *words: str) -> Command[_Read]:
        return Command(self._request("", " ".join(words).encode() + b"\n"), read, repeatable=True)

    def _request(self, items: str, body: bytes) -> Request:
        marker = self.names.credentials + items
        headers = (
            ("Host", self.address.host_header),
            *((("X-Realplexor", f"{self.identifier}={marker}"),) if marker else ()),
            ("Content-Type", "application/json" if items else "text/plain"),
            ("Content-Length", str(len(body))),
        )
        return Request("POST", "/", headers, body)


def _accepted(answer: Answer) -> Answer:
    """Returns the answer if it is no refusal. Raises Refused."""
    if answer.status != 200:
        raise answer.refusal()
    return answer
