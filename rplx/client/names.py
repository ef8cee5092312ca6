"""What stands in requests, checked: ids, cursors, positions, namespaces, JSON, the marker's list (part 1)."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from rplx.client.errors import InvalidArgument, shown

Cursor = str | int | float | Decimal
Ids = str | int | Mapping[str, Cursor | None] | Iterable[str | int]
Prefixes = str | Iterable[str] | None

_OLD_ID = re.compile(r"[A-Za-z0-9_]+")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # an id, and what the server's option pages.identifier may be
_CURSOR = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_POSITION = re.compile(r"[0-9]+")
_PASSWORD = re.compile(r"[^@\s\x00-\x1f\x7f\ud800-\udfff]*")
_NUMBERS = (bytes, bytearray, memoryview, array)  # their items are numbers, which would pass for ids


def checked_id(value: object) -> str:
    """Returns the id's text. Raises InvalidArgument unless it is an id of HTTP: `[A-Za-z0-9_][A-Za-z0-9_.-]*` (9.8)."""
    return _checked_id(value, _WORD, f"match {_WORD.pattern}")


def checked_old_id(value: object) -> str:
    """Returns the id's text. Raises InvalidArgument unless it is one or more of `[A-Za-z0-9_]` ("Words")."""
    return _checked_id(value, _OLD_ID, "be alphanumeric")


def _checked_id(value: object, form: re.Pattern[str], rule: str) -> str:
    text = str(value)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not form.fullmatch(text):
        raise InvalidArgument(f'Identifier must {rule}, "{shown(text)}" given')
    return text


def checked_cursor(value: object) -> str:
    """Returns the cursor's text, a string as it is. Raises InvalidArgument unless it reads `\\d+(\\.\\d+)?`."""
    if not is_cursor(value):
        raise InvalidArgument(f'Cursor must be numeric, "{shown(_cursor_text(value))}" given')
    return _cursor_text(value)


def is_cursor(value: object) -> bool:
    """Returns whether it can be written as a cursor: a decimal number without sign and exponent ("Words")."""
    return not isinstance(value, bool) and _CURSOR.fullmatch(_cursor_text(value)) is not None


def _cursor_text(value: object) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def checked_position(value: object) -> str:
    """Returns a WATCH position's text, "0" (the start) for None and "". Raises InvalidArgument if it is no number."""
    text = "0" if value is None else str(value).strip() or "0"
    if isinstance(value, bool) or not _POSITION.fullmatch(text):
        raise InvalidArgument(f'Position value must be numeric, "{shown(text)}" given')
    return text


def checked_marker_word(word: object) -> str:
    """Returns the word before `=` in the marker. Raises InvalidArgument unless it can be one (part 1)."""
    if not isinstance(word, str) or not _WORD.fullmatch(word):
        raise InvalidArgument(f'The marker\'s word must match {_WORD.pattern}, "{shown(str(word))}" given')
    return word


def cursors_by_id(ids: Ids, checked: Callable[[object], str] = checked_id) -> dict[str, str | None]:
    """Returns each id, as `checked` returns it, with its cursor's text or None.

    `ids`: an id, several, or a mapping id -> cursor.

    Raises InvalidArgument, also for bytes, which are neither a text nor a list of numbers.
    """
    if isinstance(ids, (str, *_NUMBERS)) or not isinstance(ids, Iterable):
        return {checked(ids): None}
    if isinstance(ids, Mapping):
        return {checked(id): None if cursor is None else checked_cursor(cursor) for id, cursor in ids.items()}
    return {checked(id): None for id in ids}


def addressees(ids: Ids, limit_to: Ids | None) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Returns the channels of a send with their cursors, and the ids that limit it, none for a send to everybody.

    Raises InvalidArgument, also if there is no id, or no id to limit the message to: sent without limiters it would go
    to everybody, which an empty list does not ask for.
    """
    cursors = cursors_by_id(ids)
    if not cursors:
        raise InvalidArgument("No identifier given")
    limiters = cursors_by_id(limit_to) if limit_to is not None else None
    if limiters == {}:
        raise InvalidArgument("No identifier to limit the message to given; None means everybody")
    return cursors, limiters or {}


def encode(data: Any) -> bytes:
    """Returns `data` as compact JSON in UTF-8. Raises InvalidArgument for what has no form in JSON (NaN, sets)."""
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"data has no JSON form: {error}") from error


def checked_json(text: str | bytes | bytearray | memoryview) -> bytes:
    """Returns `text` in UTF-8 without white space around it. Raises InvalidArgument unless it is JSON (RFC 8259)."""
    if not isinstance(text, (str, bytes, bytearray, memoryview)):
        raise InvalidArgument(f"not JSON: neither text nor bytes, but {type(text).__name__}")

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON value")

    try:
        decoded = (text if isinstance(text, str) else bytes(text).decode()).strip(" \t\r\n")
        # Numbers are not converted, as they are sent as they stand, however long.
        json.loads(decoded, parse_constant=refuse, parse_int=str, parse_float=str)
        return decoded.encode()
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"not JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Names:
    """What a client's namespace and login add to its ids and its marker (parts 1 and 6).

    `prefix`: `LOGIN_` and the namespace. `credentials`: `LOGIN:PASSWORD@`, or nothing.
    """

    prefix: str
    credentials: str

    @classmethod
    def of(cls, namespace: str | None, login: str | None, password: str | None) -> Names:
        """Returns the names. Raises InvalidArgument for what the marker cannot carry (part 1)."""
        namespace = "" if namespace is None or namespace == "" else checked_old_id(namespace)
        if login is None or login == "":
            return cls(namespace, "")
        if not isinstance(login, str) or not _OLD_ID.fullmatch(login):
            raise InvalidArgument(f'Login must be alphanumeric, "{shown(str(login))}" given')
        if not isinstance(password, str | None) or not _PASSWORD.fullmatch(password or ""):
            raise InvalidArgument('Password must be text without "@", white space and control characters')
        return cls(f"{login}_{namespace}", f"{login}:{password or ''}@")

    def full(self, id: str) -> str:
        """Returns the id as the server knows it."""
        return self.prefix + id

    def short(self, full: str) -> str:
        """Returns the id as the caller knows it; an id outside of the namespace stays as it is."""
        return full.removeprefix(self.prefix)

    def items(self, cursors: Mapping[str, str | None]) -> str:
        """Returns the marker's list for these ids: `CURSOR:ID,ID` (part 1)."""
        return ",".join(
            self.full(id) if cursor is None else f"{cursor}:{self.full(id)}" for id, cursor in cursors.items()
        )

    def limiters(self, ids: Iterable[str]) -> str:
        """Returns the marker's items that limit a message, each behind a comma: `,*ID,*ID` (part 1)."""
        return "".join(f",*{self.full(id)}" for id in ids)

    def prefixes(self, prefixes: Prefixes, checked: Callable[[object], str] = checked_id) -> list[str]:
        """Returns full prefixes for ONLINE and WATCH (part 3); without one, all ids of the namespace are meant.

        Raises InvalidArgument, and what `checked` raises.
        """
        if prefixes is None or isinstance(prefixes, str):
            prefixes = [prefixes or ""]
        elif isinstance(prefixes, _NUMBERS) or not isinstance(prefixes, Iterable):
            prefixes = [checked(prefixes)]
        full = [self.prefix + ("" if prefix == "" else checked(prefix)) for prefix in prefixes] or [self.prefix]
        return [] if "" in full else full
