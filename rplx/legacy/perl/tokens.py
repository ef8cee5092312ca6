"""Parts the Perl of old configuration files into tokens (protocol page, part 5). Nothing is executed."""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<pod>^=[a-zA-Z].*?(?:^=cut\b[^\n]*|\Z))
    | (?P<stop>^__(?:END|DATA)__\b.*)
    | (?P<space>\s+|\#[^\n]*)
    | (?P<number>0[xX][0-9a-fA-F_]+|0[bB][01_]+|(?:(?:\d[\d_]*)?\.\d[\d_]*|\d[\d_]*)(?:[eE][+-]?\d+)?)
    | (?P<single>'(?:\\.|[^'\\])*')
    | (?P<double>"(?:\\.|[^"\\])*")
    | (?P<quote>q[qw]?\b(?!\s*(?:=[>=]|[,;=)\]}>]|\Z))(?:\s*[^\w\s#]|\#))
    | (?P<variable>[$%@](?:::)?[A-Za-z_]\w*(?:::\w+)*)
    | (?P<word>[A-Za-z_]\w*(?:::\w+)*)
    | (?P<mark>=>|->|\*\*|<<|>>|(?:\|\||&&|//|[-+*/.])=|&&|\|\||//|[=!<>]=|[-+*/%.,;=(){}\[\]?:!<>\\@$&])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.ASCII,
)
_IGNORED = {"pod", "stop", "space"}
_KINDS = {"q": "single", "qq": "double", "qw": "words"}
_PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "e": "\x1b", "f": "\f", "b": "\b"}


class Token(NamedTuple):
    """`text` as it stands in the file, `body` of a string without its quotes, `line` from 1."""

    kind: str  # a group's name in _TOKEN, "words" for qw, "end" behind the last one
    text: str
    line: int
    body: str = ""


class Unreadable(Exception):
    """What is not in the subset, and where."""

    def __init__(self, token: Token, text: str) -> None:
        super().__init__(text)
        self.token = token


def tokens_of(text: str, line: int = 1) -> list[Token]:
    """The tokens of `text`, which begins in `line`; the last one has the kind "end"."""
    tokens = []
    at = 0
    while match := _TOKEN.match(text, at):
        kind = match.lastgroup or "other"
        token = Token(kind, match[0], line, match[0][1:-1])
        if kind == "quote":
            token = _quoted(text, match, line)
        if kind not in _IGNORED:
            tokens.append(token)
        whole = match[0] if kind in _IGNORED else token.text
        line += whole.count("\n")
        at += len(whole)
    tokens.append(Token("end", "the end of the file", line))
    return tokens


def _quoted(text: str, match: re.Match[str], line: int) -> Token:
    """The string of q(), qq() or qw(), whose brackets may stand inside each other."""
    opening = match[0][-1]
    closing = _PAIRS.get(opening, opening)
    depth = 1
    at = match.end()
    while at < len(text):
        sign = text[at]
        if sign == "\\":
            at += 1
        elif sign == closing:
            depth -= 1
            if not depth:
                name = "qq" if match[0].startswith("qq") else "qw" if match[0].startswith("qw") else "q"
                return Token(_KINDS[name], text[match.start() : at + 1], line, text[match.end() : at])
        elif sign == opening:
            depth += 1
        at += 1
    return Token("other", match[0], line)


def seen(token: Token) -> str:
    """How a problem's text names a token."""
    if token.kind == "end":
        return token.text
    if token.text in ("'", '"') or (token.kind == "other" and token.text.startswith("q")):
        return f"a string that {token.text} opens and nothing closes"
    return token.text if len(token.text) <= 40 else token.text[:40] + "..."


def single_quoted(token: Token) -> str:
    r"""What a single-quoted string holds: a backslash stands before itself and before the quotes alone."""
    opening = token.text[1:].lstrip()[0] if token.text.startswith("q") else "'"
    signs = re.escape("\\" + opening + _PAIRS.get(opening, ""))
    return re.sub(rf"\\([{signs}])", r"\1", token.body)


def unescaped(token: Token, match: re.Match[str]) -> str:
    """What one escape of a double-quoted string stands for. Errors: Unreadable."""
    if digits := match["wide"] or match["hex"] or match["octal"]:
        code = int(digits, 8 if match["octal"] else 16)
        if code > sys.maxunicode:
            raise Unreadable(token, f"{match[0]} is no character")
        return chr(code)
    char = match["char"]
    if char.isalnum() and char not in _ESCAPES:
        raise Unreadable(token, f"cannot read {match[0]} in a string")
    return _ESCAPES.get(char, char)


class Cursor:
    """A place in a list of tokens that moves on."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self.at = 0

    @property
    def here(self) -> Token:
        return self._tokens[self.at]

    @property
    def behind(self) -> Token:
        """The token behind this one."""
        return self._tokens[min(self.at + 1, len(self._tokens) - 1)]

    def next(self) -> Token:
        token = self.here
        if token.kind != "end":
            self.at += 1
        return token

    def sees(self, *texts: str) -> bool:
        return self.here.text in texts and self.here.kind in ("mark", "word")

    def accept(self, *texts: str) -> bool:
        if self.sees(*texts):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        """Errors: Unreadable."""
        if not self.accept(text):
            raise Unreadable(self.here, f"expected {text}, found {seen(self.here)}")

    def skip_to(self, *stops: str) -> None:
        """Moves to the next of `stops` that is outside any brackets opened on the way, or to the end."""
        depth = 0
        while self.here.kind != "end":
            mark = self.here.kind == "mark"
            if depth == 0 and self.here.text in stops and self.here.kind in ("mark", "word"):
                return
            if mark:
                depth = max(0, depth + (self.here.text in "([{") - (self.here.text in ")]}"))
            self.at += 1
