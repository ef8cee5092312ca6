"""Finds out whether the marker of a request that is still coming in is complete, in work linear in its size."""

from __future__ import annotations

import re

from rplx.protocol.escapes import unescaped

_REFERER = re.compile(rb"(?im)^referer:[^\n]*(?:\n|\Z)")
_REFERER_INSIDE = re.compile(rb"(?i)(?<=\n)referer:[^\n]*(?:\n|\Z)")  # not in what goes on with a line
_BEGINS_REFERER = b"referer:"
_OPEN_ESCAPES = (b"%", b"%2", b"%3")  # what may yet become , * or :
_NOT_IN_LIST = re.compile(rb"[^*A-Za-z0-9_,.:]")
_NOT_IN_HTTP_LIST = re.compile(rb'[\x00-\x20\x7f&;"\\]')
_NOT_IN_HTTP_LIST_OR_LOGIN = re.compile(rb'[\x00-\x20\x7f&;"\\@]')
_LOGIN = re.compile(rb"\w++:")
_ENDS_PASSWORD = re.compile(rb"[@\s]")


class MarkerScan:
    """Follows one text that grows. `word` stands before the `=` of the marker (protocol page, part 1).

    `http`: the text is HTTP, whose ids have more characters (part 9.8).

    Its answer is that of `IdentifierParser.in_text` for a text that is not complete, but no byte is looked at twice: a
    client that sends byte by byte costs no more than one that sends all at once.
    """

    __slots__ = (
        "_clean",
        "_ends",
        "_ends_behind_login",
        "_inside",
        "_look",
        "_looked",
        "_marker",
        "_read",
        "_skips",
        "_value",
        "_word_size",
    )

    def __init__(self, word: str, *, http: bool = False) -> None:
        self._marker = re.compile(rb"\b" + re.escape(word.encode()) + rb"=")
        self._word_size = len(word.encode())
        self._ends = _NOT_IN_HTTP_LIST_OR_LOGIN if http else _NOT_IN_LIST
        self._ends_behind_login = _NOT_IN_HTTP_LIST if http else _NOT_IN_LIST
        self._clean = bytearray()  # what came, without Referer lines and escapes
        self._read = 0  # bytes of the text that are in there, or left out
        self._inside = False  # whether they end inside a line,
        self._skips = False  # which is a Referer line
        self._looked = 0  # bytes of `_clean` that need no other look
        self._value = 0  # where the marker's value begins
        self._look = MarkerScan._find_marker  # a step, and no method of this object: that would be a cycle

    def is_complete(self, text: bytes | bytearray) -> bool:
        """Returns whether the list has ended in `text`, which begins with what was given before."""
        self._take(bytes(memoryview(text)[self._read :]))
        return self._look(self)

    def _take(self, new: bytes) -> None:
        """Adds what has come to the clean text. What may begin a Referer line or an escape is left for later."""
        if self._skips:
            end = new.find(b"\n") + 1
            self._read += end or len(new)
            if not end:
                return
            new = new[end:]
            self._skips = self._inside = False
        new = self._without_open_end(new)
        if not new:
            return
        last = new[new.rfind(b"\n") + 1 :]
        starts_line = len(last) < len(new) or not self._inside
        self._read += len(new)
        pattern = _REFERER_INSIDE if self._inside else _REFERER
        self._clean += unescaped(pattern.sub(b"", new))
        self._inside = bool(last)
        self._skips = starts_line and last[: len(_BEGINS_REFERER)].lower() == _BEGINS_REFERER

    def _without_open_end(self, new: bytes) -> bytes:
        for size in (1, 2):
            if new[-size:] in _OPEN_ESCAPES:
                return new[:-size]
        begin = new.rfind(b"\n") + 1
        last = new[begin : begin + len(_BEGINS_REFERER)]
        may_be_referer = len(last) < len(_BEGINS_REFERER) and _BEGINS_REFERER.startswith(last.lower())
        return new[:begin] if may_be_referer and (begin or not self._inside) else new

    # -- steps, one after another. Each goes on where the last look ended, and returns whether the list has ended.

    def _find_marker(self) -> bool:
        found = self._marker.search(self._clean, self._looked)
        if found is None:
            self._looked = max(self._looked, len(self._clean) - self._word_size)
            return False
        self._looked = self._value = found.end()
        self._look = MarkerScan._find_end
        return self._look(self)

    def _find_end(self) -> bool:
        if not self._skip_to(self._ends):
            return False
        if _LOGIN.match(self._clean, self._value) is None:
            self._look = (
                MarkerScan._find_end_behind_login
            )  # an @ without a login before it is part of a wrong id over HTTP
        else:
            self._look = MarkerScan._find_password
        return self._look(self)

    def _find_password(self) -> bool:
        """Looks for the end of a password: what looked like a list may have been a login."""
        if not self._skip_to(_ENDS_PASSWORD):
            return False
        if self._clean[self._looked] != ord("@"):
            return True
        self._looked += 1
        self._look = MarkerScan._find_end_behind_login
        return self._look(self)

    def _find_end_behind_login(self) -> bool:
        return self._skip_to(self._ends_behind_login)

    def _skip_to(self, pattern: re.Pattern[bytes]) -> bool:
        found = pattern.search(self._clean, self._looked)
        self._looked = len(self._clean) if found is None else found.start()
        return found is not None
