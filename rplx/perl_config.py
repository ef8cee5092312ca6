"""Reads the Perl that old configuration files are written in (protocol page, part 5): a tokenizer and a parser.

Nothing is executed. What is not in the subset is a problem with its line; the rest of the file is still read.
"""

from __future__ import annotations

import math
import os.path
import re
import sys
from dataclasses import dataclass, field
from typing import NamedTuple

Value = None | int | float | str | list["Value"]


@dataclass(frozen=True)
class Assignment:
    """One KEY and its value, and the line (from 1) of the key; `problem` says, with its line, why there is no value.

    The problem stays with its key, because who knows the keys can say more, or does not mind.
    """

    key: str
    value: Value
    line: int
    problem: tuple[int, str] | None = None


@dataclass
class PerlConfig:
    """What a file sets, in its order, and what else could not be read: pairs of line and text."""

    assignments: list[Assignment] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)


class _Token(NamedTuple):
    kind: str  # a group's name in _TOKEN, "end" behind the last one
    text: str
    line: int


class _Unreadable(Exception):
    def __init__(self, token: _Token, text: str) -> None:
        super().__init__(text)
        self.token = token


_TOKEN = re.compile(
    r"""
      (?P<pod>^=[a-zA-Z].*?(?:^=cut\b[^\n]*|\Z))
    | (?P<stop>^__(?:END|DATA)__\b.*)
    | (?P<space>\s+|\#[^\n]*)
    | (?P<number>0[xX][0-9a-fA-F_]+|0[bB][01_]+|(?:(?:\d[\d_]*)?\.\d[\d_]*|\d[\d_]*)(?:[eE][+-]?\d+)?)
    | (?P<single>'(?:\\.|[^'\\])*')
    | (?P<double>"(?:\\.|[^"\\])*")
    | (?P<variable>[$%@](?:main::)?[A-Za-z_]\w*)
    | (?P<word>[A-Za-z_]\w*(?:::\w+)*)
    | (?P<mark>=>|\*\*|<<|&&|\|\||[-+*/.,;=(){}\[\]])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.ASCII,
)
_IGNORED = {"pod", "stop", "space"}
_OPEN, _CLOSE = "([{", ")]}"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "e": "\x1b", "f": "\f", "b": "\b"}
_ESCAPE = re.compile(
    r"\\(?:x\{(?P<wide>[0-9a-fA-F]+)\}|x(?P<hex>[0-9a-fA-F]{1,2})|(?P<octal>[0-7]{1,3})|(?P<char>.))"
    r"|(?P<variable>[$@][\w{:]+)",
    re.DOTALL,
)
_NUMERIC = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
DEPTH_MAX = 50  # brackets, minus signs and functions inside each other
READABLE = "numbers, strings, undef, lists [ ... ], + - * / . and dirname(abs_path(__FILE__))"


def parse(text: str, path: str) -> PerlConfig:
    """What the configuration file `text` sets. `path` is the file's own name, for `__FILE__`."""
    return _Parser(_tokens(text), path).file()


def _tokens(text: str) -> list[_Token]:
    tokens = []
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if kind not in _IGNORED:
            tokens.append(_Token(kind, match[0], line))
        line += match[0].count("\n")
    tokens.append(_Token("end", "the end of the file", line))
    return tokens


class _Parser:
    """Recursive descent, one method a rule; `_Unreadable` unwinds to the assignment or statement that it spoils."""

    def __init__(self, tokens: list[_Token], path: str) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._path = path
        self._result = PerlConfig()

    def file(self) -> PerlConfig:
        while self._here.kind != "end":
            start = self._at
            try:
                self._statement()
            except _Unreadable as error:
                self._report(error)
                self._at = start
                self._skip_to(";")
                self._accept(";")
        return self._result

    def _statement(self) -> None:
        if self._accept(";"):
            return
        if self._here.text in ("use", "no", "package"):
            self._skip_to(";")
        elif self._here.text == "return" or self._here.kind == "number":
            self._accept("return")
            self._expression()
        else:
            self._accept("our")
            self._assignment()
        if self._here.kind != "end":
            self._expect(";")

    def _assignment(self) -> None:
        name = self._next()
        variable = name.text.replace("main::", "")
        if variable == "%CONFIG":
            self._expect("=")
            self._result.assignments.clear()  # as Perl does: a hash assigned twice holds the second list alone
            self._pairs()
        elif variable == "$CONFIG":
            self._expect("{")
            key = self._key()
            self._expect("}")
            self._expect("=")
            self._value_of(key)
        else:
            raise _Unreadable(
                name, f"cannot read {_seen(name)}: only %CONFIG = (...); and $CONFIG{{KEY}} = value; are known"
            )

    def _pairs(self) -> None:
        self._expect("(")
        while not self._accept(")"):
            if self._accept(","):
                continue
            start = self._at
            try:
                self._pair()
            except _Unreadable as error:
                self._report(error)
                self._at = start
                self._skip_to(",", ")", ";")
            if self._here.text == ";" or self._here.kind == "end":
                return

    def _pair(self) -> None:
        key = self._key()
        if not (self._accept("=>") or self._accept(",")):
            raise _Unreadable(self._here, f"expected => behind {key.text}, found {_seen(self._here)}")
        self._value_of(key)
        if not (self._here.text == ")" or self._accept(",") or self._accept("=>")):
            raise _Unreadable(self._here, f"expected , or ) behind the value of {key.text}, found {_seen(self._here)}")

    def _key(self) -> _Token:
        token = self._next()
        if token.kind == "word":
            return token
        if token.kind in ("single", "double"):
            return token._replace(text=self._string(token))
        raise _Unreadable(token, f"expected a KEY, found {_seen(token)}")

    def _value_of(self, key: _Token) -> None:
        start = self._at
        try:
            self._result.assignments.append(Assignment(key.text, self._expression(), key.line))
        except _Unreadable as error:
            problem = (error.token.line, str(error))
            self._result.assignments.append(Assignment(key.text, None, key.line, problem))
            self._at = start
            self._skip_to(",", ")", ";")

    def _expression(self) -> Value:
        value = self._product()
        while self._here.text in ("+", "-", "."):
            operator = self._next()
            right = self._product()
            if operator.text == ".":
                value = _text(value, operator) + _text(right, operator)
            else:
                a, b = _number(value, operator), _number(right, operator)
                value = _as_perl(a + b if operator.text == "+" else a - b)
        return value

    def _product(self) -> Value:
        value = self._term()
        while self._here.text in ("*", "/"):
            operator = self._next()
            a, b = _number(value, operator), _number(self._term(), operator)
            if operator.text == "*":
                value = _as_perl(a * b)
            elif b == 0:
                raise _Unreadable(operator, "division by zero")
            else:
                value = a // b if isinstance(a, int) and isinstance(b, int) and a % b == 0 else a / b
        return value

    def _term(self) -> Value:
        token = self._next()
        if self._depth >= DEPTH_MAX:
            raise _Unreadable(token, "nested too deeply")
        self._depth += 1
        try:
            return self._term_of(token)
        finally:
            self._depth -= 1

    def _term_of(self, token: _Token) -> Value:
        match token.kind, token.text:
            case "number", _:
                return _literal(token)
            case (("single" | "double"), _):
                return self._string(token)
            case _, "-":
                return -_number(self._term(), token)
            case _, "(":
                value = self._expression()
                self._expect(")")
                return value
            case _, "[":
                return self._list()
            case "word", "undef":
                return None
            case "word", "__FILE__":
                return self._path
            case "word", ("dirname" | "File::Basename::dirname"):
                return _dirname(self._path_argument(token))
            case "word", ("abs_path" | "realpath" | "Cwd::abs_path" | "Cwd::realpath"):
                return _real_path(self._path_argument(token), token)
        raise _Unreadable(token, f"cannot read {_seen(token)} as a value: known are {READABLE}")

    def _list(self) -> list[Value]:
        values: list[Value] = []
        while not self._accept("]"):
            if not (self._accept(",") or self._accept("=>")):
                values.append(self._expression())
                if self._here.text not in (",", "=>", "]"):
                    raise _Unreadable(self._here, f"expected , or ] in the list, found {_seen(self._here)}")
        return values

    def _path_argument(self, function: _Token) -> str:
        parenthesis = self._accept("(")
        path = _text(self._expression() if parenthesis else self._term(), function)
        if parenthesis:
            self._expect(")")
        return path

    def _string(self, token: _Token) -> str:
        body = token.text[1:-1]
        if token.kind == "single":
            return re.sub(r"\\([\\'])", r"\1", body)

        return _ESCAPE.sub(lambda match: _unescaped(token, match), body)

    @property
    def _here(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._here
        if token.kind != "end":
            self._at += 1
        return token

    def _accept(self, text: str) -> bool:
        if self._here.text == text and self._here.kind in ("mark", "word"):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise _Unreadable(self._here, f"expected {text}, found {_seen(self._here)}")

    def _report(self, error: _Unreadable) -> None:
        self._result.problems.append((error.token.line, str(error)))

    def _skip_to(self, *stops: str) -> None:
        """Moves to the next of `stops` that is outside any brackets opened on the way, or to the end."""
        depth = 0
        while self._here.kind != "end":
            text = self._here.text
            if depth == 0 and text in stops:
                return
            if self._here.kind == "mark":
                depth = max(0, depth + (text in _OPEN) - (text in _CLOSE))
            self._at += 1


def _unescaped(token: _Token, match: re.Match[str]) -> str:
    """What one escape of a double-quoted string stands for."""
    if name := match["variable"]:
        text = f"cannot read the variable {name} in a string; write \\{name[0]} for the sign itself"
        raise _Unreadable(token, text)
    if digits := match["wide"] or match["hex"] or match["octal"]:
        code = int(digits, 8 if match["octal"] else 16)
        if code > sys.maxunicode:
            raise _Unreadable(token, f"{match[0]} is no character")
        return chr(code)
    char = match["char"]
    if char.isalnum() and char not in _ESCAPES:
        raise _Unreadable(token, f"cannot read {match[0]} in a string")
    return _ESCAPES.get(char, char)


def _seen(token: _Token) -> str:
    if token.kind == "end":
        return token.text
    if token.text in ("'", '"'):
        return f"a string that {token.text} opens and nothing closes"
    return token.text if len(token.text) <= 40 else token.text[:40] + "..."


def _literal(token: _Token) -> int | float:
    text = token.text.replace("_", "").lower()
    try:
        if text.startswith("0x"):
            return _as_perl(int(text, 16))
        if text.startswith("0b"):
            return _as_perl(int(text, 2))
        if text.isdigit():
            return _as_perl(int(text, 8 if text.startswith("0") and text != "0" else 10))
        return float(text)
    except ValueError:
        raise _Unreadable(token, f"cannot read the number {token.text}") from None


def _number(value: Value, operator: _Token) -> int | float:
    if isinstance(value, str) and _NUMERIC.fullmatch(value):
        value = float(value)
        value = int(value) if value.is_integer() else value
    if isinstance(value, (int, float)):
        return value
    raise _Unreadable(operator, f"{operator.text} needs numbers on both sides")


def _as_perl(value: int | float) -> int | float:
    """A whole number of more than 64 bits is a floating-point one in Perl."""
    if isinstance(value, float) or -(1 << 63) <= value < 1 << 64:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _real_path(path: str, function: _Token) -> str:
    if "\0" in path:
        raise _Unreadable(function, "a path holds no NUL")
    return os.path.realpath(path)


def _text(value: Value, operator: _Token) -> str:
    if value is None or isinstance(value, list):
        raise _Unreadable(operator, f"{operator.text} needs strings")
    return perl_text(value)


def perl_text(value: int | float | str) -> str:
    """A number as Perl prints it: 15 digits, no point behind whole ones."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and math.fabs(value) < 1e15 else f"{value:.15g}"
    return str(value)


def _dirname(path: str) -> str:
    """As Perl's File::Basename: slashes at the end do not count, a bare name lies in `.`."""
    stripped = path.rstrip("/")
    if not stripped:
        return "/" if path else "."
    return os.path.dirname(stripped).rstrip("/") or ("/" if stripped.startswith("/") else ".")
