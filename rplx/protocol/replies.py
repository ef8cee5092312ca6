"""What goes out: poll bodies, command answers, receipts, refusals. Values in, bytes out (parts 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter, eq

from rplx.errors import Refusal
from rplx.messages import Due, Event

_LINE_FEED = 10  # as a number: it is found in half the time
PREFIX = b" \r\n"  # what a poll's body begins with, before any block (part 2.1)
CHUNK = 500  # blocks, or lines, that are made without a rest

Rest = Callable[[], None]


def _go_on() -> None:
    """No rest."""


def encode_blocks(dues: Iterable[Due], rest: Rest = _go_on) -> bytes:
    """The blocks of a poll's body (part 2.3), sorted by their smallest cursor, then by the message's bytes.

    `rest` is called now and then, so that others can go on.
    """
    ordered = sorted(dues, key=_value)
    if any(map(eq, map(_value, ordered), map(_value, ordered[1:]))):  # rare, and sorting by both takes twice the time
        ordered.sort(key=_place)
    rest()
    if len(ordered) <= CHUNK:
        return b"[\n" + b",\n".join(map(_block, ordered)) + b"\n]"
    parts = []
    for at in range(0, len(ordered), CHUNK):
        parts.append(b",\n".join(map(_block, ordered[at : at + CHUNK])))
        rest()
    return b"[\n" + b",\n".join(parts) + b"\n]"


class Pairs(dict[str, str]):
    """The text `"ID": "CURSOR"` for each id of a message, made when it is first asked for."""

    def __init__(self, cursors: Mapping[str, str]) -> None:
        self._cursors = cursors

    def __missing__(self, id: str) -> str:
        pair = self[id] = f'"{id}": "{self._cursors[id]}"'
        return pair


def encode_one(data: bytes, pairs: Pairs, ids: Iterable[str]) -> bytes:
    """A poll's body of one message (part 2.3), by `ids`, which are sorted."""
    gap = "\n" if _LINE_FEED in data else " "
    head = f'[\n  {{\n    "ids": {{ {", ".join(map(pairs.__getitem__, ids))} }},\n    "data":{gap}'
    return head.encode("ascii") + data + b"\n  }\n]"


_value = attrgetter("value")
_place = attrgetter("value", "message.data")


def _block(due: Due) -> bytes:
    data = due.message.data
    gap = "\n" if _LINE_FEED in data else " "
    if len(due.ids) == 1:  # half the time of the general way
        ((id, cursor),) = due.ids.items()
        head = f'  {{\n    "ids": {{ "{id}": "{cursor}" }},\n    "data":{gap}'
    else:
        ids = ", ".join([f'"{id}": "{cursor}"' for id, cursor in sorted(due.ids.items())])
        head = f'  {{\n    "ids": {{ {ids} }},\n    "data":{gap}'
    return head.encode("ascii") + data + b"\n  }"  # half the time of a format of bytes


def answer(text: bytes | Sequence[bytes], *, keep_alive: bool) -> Sequence[bytes]:
    """A command's answer or a send's receipt (parts 3 and 7.1, 7.2), in as many parts as its text.

    A kept connection is answered as HTTP/1.1, since an HTTP/1.0 answer would tell the client to close it.
    """
    version = "1.1" if keep_alive else "1.0"
    parts = (text,) if isinstance(text, bytes) else text
    length = sum(map(len, parts))
    head = f"HTTP/{version} 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    return (head.encode() + parts[0], *parts[1:])


def refusal(error: Refusal, *, keep_alive: bool = False) -> bytes:
    """A refusal on the IN line, its reason as one line of text (parts 3 and 7.3)."""
    version = "1.1" if keep_alive else "1.0"
    text = f"{error.text}\n".encode()
    status = f"HTTP/{version} {error.status} {error.reason}\r\n"
    allow = "Allow: GET, POST\r\n" if error.status == 405 else ""  # RFC 9110, 15.5.6
    head = f"{status}{allow}Content-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
    return head.encode("latin-1") + text


def receipt(cursors: Mapping[str, str]) -> bytes:
    """A line `ID CURSOR` for each channel in which a message was stored (part 7.1)."""
    return "".join([f"{id} {cursor}\n" for id, cursor in cursors.items()]).encode("ascii")


def events(events: Iterable[Event]) -> bytes:
    """A line `online POS:ID` or `offline POS:ID` for each event (part 3, WATCH)."""
    return "".join([f"{event.kind} {event.position}:{event.id}\n" for event in events]).encode("ascii")


def fake_event(position: int) -> bytes:
    """Where a watcher starts (part 3, WATCH)."""
    return b"FAKE %d:FAKE\n" % position
