"""Parts a file into tokens, and reads quotes and escapes (protocol page, part 5)."""

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
    """Raised for what is not in the subset of Perl that is read; `token` is where that stands."""

    def __init__(self, token: Token, text: str) -> None:
        super().__init__(text)
        self.token = token


def tokens_of(text: str, line: int = 1) -> list[Token]:
    """Returns the tokens of `text`, which begins in `line`; the last one has the kind "end"."""
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
    """Returns the string of q(), qq() or qw(), whose brackets may be nested."""
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


def shown(token: Token) -> str:
    """Returns how a problem's text names a token."""
    if token.kind == "end":
        return token.text
    if token.text in ("'", '"') or (token.kind == "other" and token.text.startswith("q")):
        return f"a string that {token.text} opens and nothing closes"
    return token.text if len(token.text) <= 40 else token.text[:40] + "..."


def single_quoted(token: Token) -> str:
    r"""Returns what a single-quoted string holds: a backslash escapes itself and the quotes, and nothing else."""
    opening = token.text[1:].lstrip()[0] if token.text.startswith("q") else "'"
    signs = re.escape("\\" + opening + _PAIRS.get(opening, ""))
    return re.sub(rf"\\([{signs}])", r"\1", token.body)


def unescaped(token: Token, match: re.Match[str]) -> str:
    """Returns what one escape of a double-quoted string stands for. Raises Unreadable."""
    if digits := match["wide"] or match["hex"] or match["octal"]:
        code = int(digits, 8 if match["octal"] else 16)
        if code > sys.maxunicode:
            raise Unreadable(token, f"{match[0]} is no character")
        return chr(code)
    char = match["char"]
    if char.isalnum() and char not in _ESCAPES:
        raise Unreadable(token, f"cannot read {match[0]} in a string")
    return _ESCAPES.get(char, char)


class TokenStream:
    """Tokens that are read one after another; `at` is the index of the current one."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self.at = 0

    @property
    def current(self) -> Token:
        return self._tokens[self.at]

    @property
    def upcoming(self) -> Token:
        """The token after the current one."""
        return self._tokens[min(self.at + 1, len(self._tokens) - 1)]

    def next(self) -> Token:
        """Returns the current token and moves past it."""
        token = self.current
        if token.kind != "end":
            self.at += 1
        return token

    def sees(self, *texts: str) -> bool:
        """Returns whether the current token is one of these marks or words."""
        return self.current.text in texts and self.current.kind in ("mark", "word")

    def accept(self, *texts: str) -> bool:
        """Moves past the current token if it is one of these marks or words, and returns whether it was."""
        if self.sees(*texts):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        """Moves past `text`. Raises Unreadable if it is not there."""
        if not self.accept(text):
            raise Unreadable(self.current, f"expected {text}, found {shown(self.current)}")

    def skip_to(self, *stops: str) -> None:
        """Moves to the next of `stops` that is outside any brackets opened on the way, or to the end."""
        depth = 0
        while self.current.kind != "end":
            mark = self.current.kind == "mark"
            if depth == 0 and self.current.text in stops and self.current.kind in ("mark", "word"):
                return
            if mark:
                depth = max(0, depth + (self.current.text in "([{") - (self.current.text in ")]}"))
            self.at += 1
