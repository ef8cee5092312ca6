"""Keeps long answers from history for all who get the same: a crowd that was cut off comes back all at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from rplx.hub.encoding import Encoding
from rplx.messages import Due

LONG = 4096  # bytes of messages from which on an answer is kept
KEPT_MAX = 4 << 20  # bytes of all answers kept; a single one may be larger


class SharedBodies:
    """The latest long answers, by the messages in them and the channels by which these are due."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[list[Due], bytes]] = OrderedDict()  # the messages are kept alive
        self._size = 0

    def key(self, dues: list[Due], encoding: Encoding) -> Hashable:
        """Returns the key of the answer of `dues` in `encoding`; None for a short answer, which is not kept."""
        if sum([len(due.message.data) for due in dues]) < LONG:
            return None
        return (encoding, *[(id(due.message), *due.ids) for due in dues])

    def find(self, key: Hashable) -> bytes:
        """Returns the answer, b"" if it is not kept."""
        found = self._kept.get(key)
        return found[1] if found is not None else b""

    def keep(self, key: Hashable, dues: list[Due], body: bytes) -> None:
        """Keeps an answer, and lets go of the oldest beyond KEPT_MAX."""
        if key in self._kept:  # another has encoded it meanwhile
            return
        self._kept[key] = (dues, body)
        self._size += len(body)
        while self._size > KEPT_MAX and len(self._kept) > 1:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._size -= len(oldest)
