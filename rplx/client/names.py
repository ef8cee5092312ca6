"""Names and numbers on their way to the wire and back: ids, cursors, positions, namespaces, the marker's list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from rplx.client.errors import InvalidArgument

Cursor = str | int | float | Decimal
Ids = str | int | Mapping[str, Cursor | None] | Iterable[str | int]
Prefixes = str | Iterable[str] | None

_ID = re.compile(r"[A-Za-z0-9_]+")
_CURSOR = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_POSITION = re.compile(r"[0-9]+")
_PASSWORD = re.compile(r"[^@\s]*")


def checked_id(value: object) -> str:
    """The id's text; InvalidArgument unless it is one or more of `[A-Za-z0-9_]` (protocol page, "Words")."""
    text = str(value)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not _ID.fullmatch(text):
        raise InvalidArgument(f'Identifier must be alphanumeric, "{text}" given')
    return text


def checked_cursor(value: object) -> str:
    """The cursor's text, a string's as it is; InvalidArgument unless it reads `\\d+(\\.\\d+)?`."""
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    if isinstance(value, bool) or not _CURSOR.fullmatch(text):
        raise InvalidArgument(f'Cursor must be numeric, "{text}" given')
    return text


def checked_position(value: object) -> str:
    """A WATCH position's text, "0" (where to start) for None and ""; InvalidArgument unless it is a whole number."""
    text = "0" if value is None else str(value).strip() or "0"
    if isinstance(value, bool) or not _POSITION.fullmatch(text):
        raise InvalidArgument(f'Position value must be numeric, "{text}" given')
    return text


def cursors_by_id(ids: Ids) -> dict[str, str | None]:
    """Each id once, with its cursor's text or None. An id alone, several, or a mapping id -> cursor."""
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        return {checked_id(ids): None}
    if isinstance(ids, Mapping):
        return {checked_id(id): None if cursor is None else checked_cursor(cursor) for id, cursor in ids.items()}
    return {checked_id(id): None for id in ids}


def encode(data: Any) -> bytes:
    """`data` as compact JSON in UTF-8; InvalidArgument for what JSON has no form for (NaN, sets, lone surrogates)."""
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"data has no JSON form: {error}") from error


def checked_json(text: str | bytes) -> bytes:
    """`text` in UTF-8, without white space around it; InvalidArgument unless it is one strict JSON text (RFC 8259)."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON value")

    try:
        decoded = (text.decode() if isinstance(text, bytes) else text).strip(" \t\r\n")
        # Numbers stay text here: they are sent as they stand, however long.
        json.loads(decoded, parse_constant=refuse, parse_int=str, parse_float=str)
        return decoded.encode()
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"not JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Names:
    """What stands before a client's ids: `prefix` is `LOGIN_` + namespace, `credentials` `LOGIN:PASSWORD@` or ""."""

    prefix: str
    credentials: str

    @classmethod
    def of(cls, namespace: str | None, login: str | None, password: str | None) -> Names:
        """InvalidArgument for a namespace, login or password that the marker could not carry (part 1)."""
        namespace = checked_id(namespace) if namespace else ""
        if not login:
            return cls(namespace, "")
        if not _ID.fullmatch(login):
            raise InvalidArgument(f'Login must be alphanumeric, "{login}" given')
        if not _PASSWORD.fullmatch(password or ""):
            raise InvalidArgument('Password must have no "@" and no white space')
        return cls(f"{login}_{namespace}", f"{login}:{password or ''}@")

    def full(self, id: str) -> str:
        return self.prefix + id

    def short(self, full: str) -> str:
        """The id as the caller knows it; an id of somebody else stays as it is."""
        return full.removeprefix(self.prefix)

    def items(self, cursors: Mapping[str, str | None]) -> str:
        """The marker's list for these ids: `CURSOR:ID,ID`."""
        return ",".join(
            self.full(id) if cursor is None else f"{cursor}:{self.full(id)}" for id, cursor in cursors.items()
        )

    def limiters(self, ids: Iterable[str]) -> str:
        """The marker's items that limit a message, each with the comma before it: `,*ID,*ID`."""
        return "".join(f",*{self.full(id)}" for id in ids)

    def prefixes(self, prefixes: Prefixes) -> list[str]:
        """Full prefixes for ONLINE and WATCH; no prefix means all ids of the namespace."""
        if prefixes is None or isinstance(prefixes, str):
            prefixes = [prefixes or ""]
        full = [self.prefix + (checked_id(prefix) if prefix else "") for prefix in prefixes] or [self.prefix]
        return [] if "" in full else full
