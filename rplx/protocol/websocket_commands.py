"""What is said over a WebSocket (protocol page, part 11): a client's commands, and the texts that it is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import ujson

from rplx.errors import BadRequest, Ending, GrantEnded, Refusal, TooLarge
from rplx.protocol.identifiers import CURSOR_MAX, ID
from rplx.protocol.websocket import REASON_MAX

CLOSE_FOR_GOOD = 4000  # and up: who comes back unchanged is refused again
CLOSE_FOR_NOW = 4100  # and up: come back after a while
CLOSE_GRANT_ENDED = 4109  # come back with another grant
CLOSE_AT_ONCE = 4200  # and up: come back at once

_ID = re.compile(ID)
_CURSOR = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SHOWN_MAX = 64  # characters of what is wrong that a refusal shows
_KEYS = ("listen", "stop", "grant")


@dataclass(slots=True)
class Command:
    """What one message of a client asks for: channels to listen to, each from a cursor or, with None, from now on;
    channels to stop; and a grant, None if there is none."""

    listen: dict[str, str | None] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    grant: str | None = None


class CommandParser:
    """Reads commands. One names at most `max_ids` channels, and an id has at most `id_max` characters."""

    def __init__(self, max_ids: int = 500, id_max: int = 128) -> None:
        self._max_ids = max_ids
        self._id_max = id_max

    def parse(self, text: str) -> Command:
        """Returns the command. Raises BadRequest, TooLarge."""
        try:
            message = _decoder.decode(text)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"a command is not JSON: {error}") from None
        if not isinstance(message, dict) or not message:
            raise BadRequest('a command looks like {"listen":{"ID":null}}, {"stop":["ID"]} or {"grant":"TOKEN"}')
        for key in message:
            if key not in _KEYS:
                raise BadRequest(f"{json.dumps(key)[:_SHOWN_MAX]} is no command; there are {', '.join(_KEYS)}")
        grant = message.get("grant")
        if grant is not None and not isinstance(grant, str):
            raise BadRequest('"grant" is not a string')
        return Command(self._listen(message.get("listen", {})), self._stop(message.get("stop", [])), grant)

    def _listen(self, cursors: Any) -> dict[str, str | None]:
        if not isinstance(cursors, dict):
            raise BadRequest('"listen" is not an object of ids and cursors, such as {"ID":null}')
        self._check_ids(cursors)
        for id, cursor in cursors.items():
            if cursor is not None and not (isinstance(cursor, str) and _is_cursor(cursor)):
                raise BadRequest(f'the cursor of "{id}" is neither null nor a string such as "1795494981.476271"')
        found: dict[str, str | None] = cursors
        return found

    def _stop(self, ids: Any) -> tuple[str, ...]:
        if not isinstance(ids, list):
            raise BadRequest('"stop" is not a list of ids')
        self._check_ids(ids)
        return tuple(ids)

    def _check_ids(self, ids: Iterable[Any]) -> None:
        for count, id in enumerate(ids):
            if count >= self._max_ids:
                raise TooLarge(f"more than {self._max_ids} channels in one command (wait.max_ids)")
            if not isinstance(id, str) or not _ID.fullmatch(id):
                raise BadRequest(f"{json.dumps(id)[:_SHOWN_MAX]} is no channel id; one looks like {ID}")
            if len(id) > self._id_max:
                raise BadRequest(f"a channel id is longer than {self._id_max} characters (wait.id_max)")


def _is_cursor(text: str) -> bool:
    return len(text) <= CURSOR_MAX and _CURSOR.fullmatch(text) is not None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


# -- to the client


def opened(position: str, gaps: Iterable[str]) -> bytes:
    """Returns what says from which position the channels of a command are listened to, and in which some is missing."""
    return ujson.dumps({"open": position, "gaps": list(gaps)}).encode()


def gap(ids: Iterable[str]) -> bytes:
    """Returns what says in which channels messages are missing before those that follow."""
    return ujson.dumps({"gap": list(ids)}).encode()


def refused(ids: Iterable[str]) -> bytes:
    """Returns what says which channels may not be listened to (part 12)."""
    return ujson.dumps({"refused": list(ids)}).encode()


def expires(seconds: int) -> bytes:
    """Returns what says in how many seconds the grant of the connection ends."""
    return b'{"expires":%d}' % seconds


def at(cursor: str) -> bytes:
    """Returns what says where the client stands in all of its channels, by a composite cursor (part 10)."""
    return ujson.dumps({"at": cursor}).encode()


def close_of(error: Refusal, retry: int = 0) -> tuple[int, str]:
    """Returns the close code and the reason that tell a client of a refusal.

    `retry`: the seconds after which it may come back, if the refusal passes. The reason is JSON, and fits into a frame.
    """
    known = f'"code":"{error.code}"'
    if isinstance(error, Ending):
        return CLOSE_AT_ONCE, f'{{"retry":{retry},{known}}}'
    if isinstance(error, GrantEnded):
        return CLOSE_GRANT_ENDED, f'{{"retry":{retry},{known}}}'
    code = (CLOSE_FOR_NOW if error.passes else CLOSE_FOR_GOOD) + error.status % 100
    before = f'{{"retry":{retry},{known},"text":' if error.passes else f'{{{known},"text":'
    text = error.text
    while len(before) + len(quoted := json.dumps(text)) >= REASON_MAX:
        text = text[:-1]
    return code, f"{before}{quoted}}}"
