"""Records as lines of JSON, one each. Pure.

    {"rplx_history":1,"beginning":CURSOR,"drawn":MICROSECONDS}
    {"floor":CURSOR,"channel":ID,"emptied":SECONDS}                  "emptied" where the channel has no messages
    {"message":TEXT,"drawn":MICROSECONDS,"cursors":{ID:CURSOR},"limit_to":[ID],"dropped_in":[ID]}
    {"event":"online","position":N,"id":ID}                          or "offline"
    {"online":ID}
    {"end":{"floors":N,"messages":N,"events":N,"online":N}}

"limit_to" and "dropped_in" are left out where they are empty. A message that is no UTF-8 has "base64" in place of
"message".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, BinaryIO

from rplx.engine.archive.records import (
    ArchivedMessage,
    Checker,
    Floor,
    Head,
    OnlineId,
    Record,
    Totals,
    WrongRecord,
    check_id,
)
from rplx.messages import Event

VERSION = 1
LINE_MAX = 256 << 20  # bytes
SHOWN_MAX = 60  # characters of a wrong line that its error shows


class WrongLine(ValueError):
    """A line that is none of an archive; the text begins with its number."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number}: {why}")


# -- writing


def written(records: Iterable[Record]) -> Iterator[bytes]:
    """Yields the line of each record and the line of the end, with their newlines."""
    totals = Totals()
    for record in records:
        totals.count(record)
        yield _line(_members(record))
    yield _line({"end": asdict(totals)})


def _line(members: dict[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _members(record: Record) -> dict[str, Any]:
    if isinstance(record, ArchivedMessage):
        return _message_members(record)
    if isinstance(record, Event):
        return {"event": record.kind, "position": record.position, "id": record.id}
    if isinstance(record, OnlineId):
        return {"online": record.id}
    if isinstance(record, Head):
        return {"rplx_history": VERSION, "beginning": record.beginning, "drawn": record.drawn}
    emptied = {} if record.emptied is None else {"emptied": record.emptied}
    return {"floor": record.floor, "channel": record.channel, **emptied}


def _message_members(message: ArchivedMessage) -> dict[str, Any]:
    members: dict[str, Any] = {}
    try:
        members["message"] = message.data.decode()
    except UnicodeDecodeError:
        members["base64"] = base64.b64encode(message.data).decode()
    members |= {"drawn": message.drawn, "cursors": message.cursors}
    if message.limiters:
        members["limit_to"] = message.limiters
    if message.dropped:
        members["dropped_in"] = message.dropped
    return members


# -- reading


def read(stream: BinaryIO) -> Iterator[Record]:
    """Yields the records of an archive, to its end. Raises WrongLine for the first line that is wrong, OSError."""
    totals, checker = Totals(), Checker()
    number = 0
    while line := stream.readline(LINE_MAX):
        number += 1
        try:
            members = _parsed(line)
            if "end" in members:
                _check_end(members, totals)
                _check_rest(stream)
                return
            record = _record(members, is_first=number == 1)
            checker.check(record)
        except WrongRecord as error:
            raise WrongLine(number, str(error)) from None
        totals.count(record)
        yield record
    raise WrongLine(number + 1, "the end is missing, so this is a part of an archive" if number else "there is nothing")


def _parsed(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise WrongRecord("it is cut, or longer than can be read")
    try:
        members = json.loads(line.decode())
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        shown = line[:SHOWN_MAX].decode("utf-8", "replace").strip()
        raise WrongRecord(f"{json.dumps(shown, ensure_ascii=False)} is no object of JSON")
    return members


def _record(members: dict[str, Any], *, is_first: bool) -> Record:
    if is_first and "rplx_history" not in members:
        raise WrongRecord('this is no archive of rplx, which begins with {"rplx_history":1,...}')
    for name, (required, optional, make) in _KINDS.items():
        if name in members:
            if missing := required - members.keys():
                raise WrongRecord(f"{', '.join(sorted(missing))} missing")
            if unknown := members.keys() - required - optional:
                raise WrongRecord(f"{', '.join(sorted(unknown))[:SHOWN_MAX]} not known")
            return make(members)
    raise WrongRecord("it is none of " + ", ".join(_KINDS))


def _head(members: dict[str, Any]) -> Head:
    version = members["rplx_history"]
    if version != VERSION or version is True:
        raise WrongRecord(f"it is of version {json.dumps(version)[:SHOWN_MAX]}, and this rplx reads {VERSION}")
    return Head(members["beginning"], members["drawn"])


def _text(members: dict[str, Any]) -> ArchivedMessage:
    text = members["message"]
    try:
        data = text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise WrongRecord("the message is no text") from None
    return _message(members, data)


def _binary(members: dict[str, Any]) -> ArchivedMessage:
    try:
        data = base64.b64decode(members["base64"], validate=True)
    except (TypeError, ValueError):
        raise WrongRecord("the message is no base64") from None
    return _message(members, data)


def _message(members: dict[str, Any], data: bytes) -> ArchivedMessage:
    cursors = members["cursors"]
    if not isinstance(cursors, dict):
        raise WrongRecord("the cursors are no object of JSON")
    limiters, dropped = [_ids(members, name) for name in ("limit_to", "dropped_in")]
    return ArchivedMessage(members["drawn"], cursors, data, limiters, dropped)


def _ids(members: dict[str, Any], name: str) -> tuple[str, ...]:
    ids = members.get(name, [])
    if not isinstance(ids, list):
        raise WrongRecord(f"{name} is no list")
    for id in ids:
        check_id(id)
    return tuple(ids)


_Kind = tuple[set[str], set[str], Callable[[dict[str, Any]], Record]]
_MESSAGE = ({"drawn", "cursors"}, {"limit_to", "dropped_in"})
_KINDS: dict[str, _Kind] = {
    "message": ({"message"} | _MESSAGE[0], _MESSAGE[1], _text),
    "base64": ({"base64"} | _MESSAGE[0], _MESSAGE[1], _binary),
    "event": ({"event", "position", "id"}, set(), lambda it: Event(it["position"], it["event"], it["id"])),
    "online": ({"online"}, set(), lambda it: OnlineId(it["online"])),
    "floor": ({"floor", "channel"}, {"emptied"}, lambda it: Floor(it["channel"], it["floor"], it.get("emptied"))),
    "rplx_history": ({"rplx_history", "beginning", "drawn"}, set(), _head),
}


def _check_end(members: dict[str, Any], totals: Totals) -> None:
    if members != {"end": asdict(totals)}:
        told = json.dumps(members["end"])[:SHOWN_MAX]
        raise WrongRecord(f"the end counts {told}, and there were {json.dumps(asdict(totals))}: lines are missing")


def _check_rest(stream: BinaryIO) -> None:
    if stream.read(1):
        raise WrongRecord("the archive ends here, and something follows")
