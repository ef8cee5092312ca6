"""The bodies of polls (protocol page, part 2): messages as they came, or as JSON of a charset (part 7.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from operator import attrgetter, eq

from rplx.messages import Due, Message
from rplx.protocol.json_texts import as_json

_LINE_FEED = 10  # as a number it is found faster
PREFIX = b" \r\n"  # what a poll's body begins with, before any block (part 2.1)
CHUNK = 500  # blocks that are made without a rest

Rest = Callable[[], None]
Write = Callable[[tuple[str, ...]], bytes]


class LongPoll:
    """The encoding of polls: one answer is an array of blocks (part 2.3), behind PREFIX."""

    reserved = len(PREFIX)

    def convert(self, dues: list[Due], rest: Rest) -> list[Due]:
        """Returns `dues`: messages are written as they came."""
        return dues

    def encode(self, dues: list[Due], rest: Rest) -> bytes:
        """Returns the blocks of `dues`, which may come in any order. `rest` is called now and then."""
        return encode_blocks(dues, rest)

    def writer(self, message: Message) -> Write:
        """Returns what writes the body of one message by some of its ids, which are sorted."""
        return partial(encode_one, message.data, Pairs(message.cursors))


class JsonLongPoll(LongPoll):
    """Polls whose answer has to be JSON (part 7.5): messages that are none are taken for text of `charset`."""

    def __init__(self, charset: str) -> None:
        self.charset = charset

    def convert(self, dues: list[Due], rest: Rest) -> list[Due]:
        """Returns as many dues, whose messages are JSON. They may be longer. `rest` is called behind each."""
        found = []
        for due in dues:
            data = as_json(due.message.data, self.charset)
            found.append(Due(Message(data, due.message.cursors), due.ids, due.value))
            rest()
        return found

    def writer(self, message: Message) -> Write:
        """Returns what writes the body of one message by some of its ids, which are sorted."""
        return partial(encode_one, as_json(message.data, self.charset), Pairs(message.cursors))


AS_IT_CAME = LongPoll()


@cache
def json_of(charset: str) -> JsonLongPoll:
    """Returns the one encoding of polls that want JSON, where other messages are texts of `charset`."""
    return JsonLongPoll(charset)


def _go_on() -> None:
    """Takes no rest."""


def encode_blocks(dues: Iterable[Due], rest: Rest = _go_on) -> bytes:
    """Returns the blocks of a poll's body (part 2.3), sorted by their smallest cursor, then by the message's bytes.

    `rest` is called now and then, so that others can go on.
    """
    ordered = sorted(dues, key=_value)
    if any(map(eq, map(_value, ordered), map(_value, ordered[1:]))):  # rare; to sort by both always would be slow
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
    """Returns a poll's body of one message (part 2.3), by `ids`, which are sorted."""
    gap = "\n" if _LINE_FEED in data else " "
    head = f'[\n  {{\n    "ids": {{ {", ".join(map(pairs.__getitem__, ids))} }},\n    "data":{gap}'
    return head.encode("ascii") + data + b"\n  }\n]"


_value = attrgetter("value")
_place = attrgetter("value", "message.data")


def _block(due: Due) -> bytes:
    data = due.message.data
    gap = "\n" if _LINE_FEED in data else " "
    if len(due.ids) == 1:  # most blocks have one id, and this is faster than the general way
        ((id, cursor),) = due.ids.items()
        head = f'  {{\n    "ids": {{ "{id}": "{cursor}" }},\n    "data":{gap}'
    else:
        ids = ", ".join([f'"{id}": "{cursor}"' for id, cursor in sorted(due.ids.items())])
        head = f'  {{\n    "ids": {{ {ids} }},\n    "data":{gap}'
    return head.encode("ascii") + data + b"\n  }"  # faster than a format of bytes
