"""The identifier marker and its list: `identifier=[LOGIN:PASSWORD@]ITEM,ITEM,...` (protocol page, parts 1 and 9.8)."""

from __future__ import annotations

import re

from rplx.errors import BadRequest, TooLarge
from rplx.messages import Credentials, Identifiers, cursor_value
from rplx.protocol.escapes import unescaped

CURSOR_MAX = 64  # characters of a cursor; bounds the cache of cursors' numbers
_LONG_CURSOR = f"a cursor is longer than {CURSOR_MAX} characters"

ID = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"  # what an id looks like over HTTP (part 9.8)

_ID = ID.encode()
_ITEM = re.compile(rb"(\*?)(?:(\d+(?:\.\d+)?):)?(%b)" % _ID)
_TEXT_ITEM = re.compile(rb"(\*?)(?:(\d+(?:\.\d+)?):)?([A-Za-z0-9_]+)")
# Items that are dropped over HTTP, too: what plain text drops, and numbers that are no cursors, such as -5 and 1.0E+25.
_DROPPED = re.compile(rb"[*A-Za-z0-9_.:]*|\*?[0-9.Ee+-]+:%b" % _ID)
_ESCAPED_BLANKS = re.compile(rb"(?:%20|%0[9ADad])+\Z")
_SHOWN_MAX = 64  # characters of a wrong id that a refusal shows
_OPEN_ENDS = (b"", b"%", b"%2", b"%3")  # behind a list that may go on
_REFERER = re.compile(rb"(?im)^referer:[^\n]*(?:\n|\Z)")


class IdentifierParser:
    """Finds the marker in bytes.

    `word` stands before the `=`. A list has at most `max_ids` channels, and an id `id_max` characters;
    `max_ids_option` is the name of the option that says so, for refusals.
    """

    def __init__(
        self, word: str = "identifier", max_ids: int = 500, id_max: int = 128, max_ids_option: str = "wait.max_ids"
    ) -> None:
        self._max_ids_option = max_ids_option
        self.word = word
        self.max_ids = max_ids
        self.id_max = id_max
        start = rb"\b" + re.escape(word.encode()) + rb"="
        # ++ and *+ give nothing back, so that each byte of a text is looked at once.
        login = start + rb"(?:(\w++):([^@\s]*+)@)?"
        self._text_marker = re.compile(login + rb"([*A-Za-z0-9_,.:]*)")
        # Over HTTP a list goes on to what separates values, so that an id which is none is seen whole.
        self._marker = re.compile(login + rb'([^\x00-\x20\x7f&;"\\]*)')
        # In a URL an & ends the marker's value, so an e-mail address further on is no password.
        self._url_marker = re.compile(start + rb"(?:(\w++):([^@\s&]*+)@)?([^\x00-\x20\x7f&;?#]*)")
        # What nearly every request names, and is read faster than the general way: one item, nothing escaped.
        lone = rb"[^=]*" + start + rb"(?:(\d+(?:\.\d+)?):)?"
        self._lone_in_target = re.compile(lone + rb"(%b)(?:&|\Z)" % _ID)
        self._lone_in_data = re.compile(lone + rb"(%b)\Z" % _ID)
        self._lone_in_text = re.compile(lone + rb"([A-Za-z0-9_]+)\Z")
        self._credentials = re.compile(start + rb"\w+?(?::|%3[Aa])([^@\s]*+)@")
        self._open_password = re.compile(start + rb"\w++:[^@\s]*+\Z")

    def in_target(self, target: bytes) -> Identifiers | None:
        """Returns the marker of a request target, or None. Raises BadRequest, TooLarge."""
        lone = self._lone_in_target.match(target)
        return (lone and self._read_lone(lone)) or self._search(self._url_marker, target)

    def is_in_target(self, target: bytes) -> bool:
        """Returns whether a request target holds a marker, right or wrong. Its list, which may be long, is not read."""
        return self._url_marker.search(unescaped(target)) is not None

    def in_data(self, data: bytes) -> Identifiers | None:
        """Returns the marker of a header's value or a body of HTTP, or None. Raises BadRequest, TooLarge."""
        lone = self._lone_in_data.match(data)
        return (lone and self._read_lone(lone)) or self._search(self._marker, data)

    def _read_lone(self, match: re.Match[bytes]) -> Identifiers | None:
        """Returns a list of one channel, or None if it is too long, which the general way refuses."""
        cursor, id = match.groups()
        if cursor is None:
            return Identifiers({id.decode(): None}, {}) if len(id) <= self.id_max else None
        if len(id) > self.id_max or len(cursor) > CURSOR_MAX:
            return None
        return Identifiers({id.decode(): cursor.decode()}, {})

    def in_text(self, text: bytes, *, complete: bool, http: bool = False) -> Identifiers | None:
        """Returns the marker of a plain text request of which `text` has come so far; `Referer:` lines do not count.

        `http`: the text is a body of HTTP that says what plain text may say, with the ids of HTTP (part 9.8).
        Returns None while the list is not complete. It ends at the first character that cannot be part of it, so a list
        cut by a segment is never taken for a whole one, nor is a password that may yet be followed by `@`. Raises
        BadRequest, TooLarge.
        """
        raw = _REFERER.sub(b"", text)
        if not complete:
            text = unescaped(raw)
            match = (self._marker if http else self._text_marker).search(text)
            if match is None or text[match.end() :] in _OPEN_ENDS or self._open_password.match(text, match.start()):
                return None
        if http:
            return self.in_data(raw)
        lone = self._lone_in_text.match(raw)
        return (lone and self._read_lone(lone)) or self._search(self._text_marker, raw)

    def _search(self, pattern: re.Pattern[bytes], data: bytes) -> Identifiers | None:
        match = pattern.search(unescaped(data))
        if match is None:
            return None
        identifiers = self._read(match, is_http=pattern is not self._text_marker)
        if identifiers.credentials is not None and pattern is not self._url_marker and b"%" in data:
            literal = self._credentials.search(data)
            if literal is not None:  # outside a URL a password is what stands there (part 7.6)
                password = literal[1].decode("utf-8", "surrogateescape")
                identifiers.credentials = Credentials(identifiers.credentials.login, password)
        return identifiers

    def _read(self, match: re.Match[bytes], *, is_http: bool) -> Identifiers:
        """Raises TooLarge for more than `max_ids` ids, and BadRequest for a wrong id, too long an id or cursor."""
        login, password, items = match.groups()
        item_form = _TEXT_ITEM
        if is_http:
            item_form = _ITEM
            items = _ESCAPED_BLANKS.sub(b"", items) if b"%" in items else items
        cursors: dict[str, str | None] = {}
        limiters: dict[str, str | None] = {}
        given = items.split(b",")
        distinct = dict.fromkeys(given)  # the same item any number of times is one
        count = len(given)
        for item in distinct:
            parts = item_form.fullmatch(item)
            if parts is None:
                if is_http and not _DROPPED.fullmatch(item):
                    raise BadRequest(_wrong_id(items, behind_login=login is not None))
                count -= 1
                continue
            star, cursor, id = parts.groups()
            if len(id) > self.id_max:
                raise BadRequest(f"a channel id is longer than {self.id_max} characters (wait.id_max)")
            if cursor is not None and len(cursor) > CURSOR_MAX:
                raise BadRequest(_LONG_CURSOR)
            _keep_smaller(limiters if star else cursors, id.decode(), None if cursor is None else cursor.decode())
            if len(cursors) + len(limiters) > self.max_ids:
                raise TooLarge(f"more than {self.max_ids} channels in one list ({self._max_ids_option})")
        credentials = (
            None if login is None else Credentials(login.decode(), password.decode("utf-8", "surrogateescape"))
        )
        return Identifiers(cursors, limiters, credentials, count)


def _wrong_id(items: bytes, *, behind_login: bool) -> str:
    """Returns what is said of a list with a wrong id (part 9.8). What may be a password is not shown.

    `behind_login`: a login and a password stand before `items`, so what is before an @ is the rest of a password.
    """
    colon, at = items.find(b":"), max(items.rfind(b"@"), items.rfind(b"%40"))  # a client may have escaped the @, too
    if behind_login and at >= 0:
        shown = b"..." + items[at:]
    else:
        shown = items[: colon + 1] + b"..." + items[at:] if 0 <= colon < at else items
    wrong = next(
        (item for item in shown.split(b",") if not _ITEM.fullmatch(item) and not _DROPPED.fullmatch(item)), b""
    )
    text = wrong.decode("ascii", "backslashreplace")
    return f'"{text[:_SHOWN_MAX]}" is no channel id; one looks like {ID}'


def _keep_smaller(cursors: dict[str, str | None], id: str, cursor: str | None) -> None:
    """Notes an id at the smaller of its cursors (part 7.8); a cursor that was named wins over none."""
    known = cursors.get(id)
    if known is None or (cursor is not None and _is_below(cursor, known)):
        cursors[id] = cursor


def _is_below(a: str, b: str) -> bool:
    """Returns whether cursor `a` is the smaller one. Most pairs are compared as texts, which is faster."""
    if len(a) == len(b) and a.find(".") == b.find("."):
        return a < b
    return cursor_value(a) < cursor_value(b)


def listened_to(identifiers: Identifiers) -> dict[str, str | None]:
    """Returns the channels and cursors of a list on the WAIT line, where `*ghi` is the same as `ghi` (part 1)."""
    if not identifiers.limiters:
        return identifiers.cursors
    cursors = dict(identifiers.cursors)
    for id, cursor in identifiers.limiters.items():
        _keep_smaller(cursors, id, cursor)
    return cursors
