"""Reads values: operators, strings, variables, lists, and a few functions (protocol page, part 5)."""

from __future__ import annotations

import os.path
import re
import socket
from collections.abc import Callable

from rplx.legacy.perl.tokens import Token, TokenStream, Unreadable, shown, single_quoted, tokens_of, unescaped
from rplx.legacy.perl.values import (
    COMPARISONS,
    PerlArray,
    PerlList,
    Value,
    as_list,
    calculated,
    compared,
    dirname,
    is_true,
    literal,
    number,
    scalar,
    text,
)

DEPTH_MAX = 50  # nested brackets, minus signs and functions
READABLE = "numbers, strings, variables, undef, lists [ ... ], + - * / . and dirname(abs_path(__FILE__))"
_ESCAPE = re.compile(
    r"\\(?:x\{(?P<wide>[0-9a-fA-F]+)\}|x(?P<hex>[0-9a-fA-F]{1,2})|(?P<octal>[0-7]{1,3})|(?P<char>.))"
    r"|(?P<variable>[$@](?:\{\w+\}|\w+(?:::\w+)*)(?:(?:->)?(?:\[-?\d+\]|\{(?:'\w+'|\"\w+\"|\w+)\}))*)"
    r"|(?P<strange>[$@][{:]+\S*)",
    re.DOTALL | re.ASCII,
)
_FILE_TESTS: dict[str, Callable[[str], bool]] = {
    "e": os.path.exists,
    "f": os.path.isfile,
    "d": os.path.isdir,
    "r": lambda path: os.access(path, os.R_OK),
}


class Variables:
    """The variables that a file has set so far. `$name`, `@name` and `%name` are three; `%ENV` is the environment."""

    def __init__(self) -> None:
        self.scalars: dict[str, Value] = {}
        self.arrays: dict[str, list[Value]] = {}
        self.hashes: dict[str, dict[str, Value]] = {"CONFIG": {}, "ENV": dict(os.environ)}
        self.unreadable: dict[tuple[str, str], str] = {}  # (name, key) or ("$name", ""): why there is no value

    def container(self, sigil: str, name: str, token: Token) -> list[Value] | dict[str, Value]:
        """Returns the array or hash of that name. Raises Unreadable if nothing sets it."""
        found: list[Value] | dict[str, Value] | None
        found = self.arrays.get(name) if sigil == "@" else self.hashes.get(name)
        if found is None:
            raise _unknown(token)
        return found


def _unknown(token: Token) -> Unreadable:
    return Unreadable(token, f"cannot read the variable {shown(token)}: nothing in this file sets it")


def bare_name(token: Token) -> str:
    return re.sub(r"^(main)?::", "", token.text[1:])


class Expressions(TokenStream):
    """Recursive descent with a method for each level of precedence. All raise Unreadable."""

    def __init__(self, tokens: list[Token], path: str, variables: Variables) -> None:
        super().__init__(tokens)
        self.path = os.path.abspath(path)
        self.variables = variables
        self._depth = 0

    def values(self, *ends: str) -> list[Value]:
        """Returns the values with commas between them, up to one of the marks `ends`, which is not read."""
        found: list[Value] = []
        while not self.sees(*ends):
            if not self.accept(",", "=>"):
                found += as_list(self.expression())
                if not self.sees(",", "=>", *ends):
                    raise Unreadable(self.current, f"expected , or {ends[0]} in the list, found {shown(self.current)}")
        return found

    def condition(self) -> bool:
        """Returns whether a condition holds; `and`, `or` and `not` bind less than all else."""
        found = self._negated()
        while self.sees("and", "or"):
            is_and = self.next().text == "and"
            right = self._negated()
            found = (found and right) if is_and else (found or right)
        return found

    def _negated(self) -> bool:
        if self.accept("not"):
            return not self._negated()
        return is_true(self.expression())

    def expression(self) -> Value:
        value = self._or_expression()
        if not self.accept("?"):
            return value
        first = self.expression()
        self.expect(":")
        second = self.expression()
        return first if is_true(value) else second

    def _or_expression(self) -> Value:
        value = self._and_expression()
        while self.sees("||", "//"):
            wanted = is_true(value) if self.next().text == "||" else scalar(value) is not None
            right = self._and_expression()
            value = value if wanted else right
        return value

    def _and_expression(self) -> Value:
        value = self._comparison()
        while self.accept("&&"):
            right = self._comparison()
            value = right if is_true(value) else value
        return value

    def _comparison(self) -> Value:
        value = self._sum()
        while self.sees(*COMPARISONS):
            operator = self.next()
            value = compared(operator, value, self._sum())
        return value

    def _sum(self) -> Value:
        value = self._product()
        while self.sees("+", "-", "."):
            operator = self.next()
            value = calculated(operator, value, self._product())
        return value

    def _product(self) -> Value:
        value = self._term()
        while self.sees("*", "/"):
            operator = self.next()
            value = calculated(operator, value, self._term())
        return value

    def _term(self) -> Value:
        token = self.next()
        if self._depth >= DEPTH_MAX:
            raise Unreadable(token, "nested too deeply")
        self._depth += 1
        try:
            return self._subscripted(self._term_value(token))
        finally:
            self._depth -= 1

    def _term_value(self, token: Token) -> Value:
        if token.kind in ("word", "mark"):
            return self._word_value(token) if token.kind == "word" else self._mark_value(token)
        if token.kind == "number":
            return literal(token)
        if token.kind in ("single", "double"):
            return self.string(token)
        if token.kind == "words":
            return PerlList(token.body.split())
        if token.kind == "variable":
            return self._variable(token)
        raise _unexpected(token)

    def _mark_value(self, token: Token) -> Value:
        match token.text:
            case "-":
                return self._minus(token)
            case "!":
                return "" if is_true(self._term()) else 1
            case "(":
                return self._parenthesis()
            case "[":
                found = self.values("]")
                self.expect("]")
                return found
            case "{":
                return self._anonymous_hash(token)
            case "\\" if self.current.kind == "variable" and self.current.text[0] in "@%":
                name = self.next()
                return self.variables.container(name.text[0], bare_name(name), name)
            case "@":
                return PerlArray(self.referred_array(token))
        raise _unexpected(token)

    def _word_value(self, token: Token) -> Value:
        if self.sees("=>"):
            return token.text
        match token.text.rpartition("::")[2]:
            case "undef":
                return None
            case "__FILE__":
                return self.path
            case "dirname":
                return dirname(self._path_argument(token))
            case "abs_path" | "realpath":
                return self._real_path(token)
            case "hostname":
                if self.accept("("):
                    self.expect(")")
                return socket.gethostname()
            case "defined" | "exists":
                return self._defined()
            case "lc" | "uc":
                argument = text(self._argument(), token)
                return argument.lower() if token.text == "lc" else argument.upper()
        raise _unexpected(token)

    def _minus(self, token: Token) -> Value:
        test = _FILE_TESTS.get(self.current.text) if self.current.kind == "word" else None
        if test is None:
            return -number(self._term(), token)
        self.next()
        return 1 if test(self._in_folder(text(self._argument(), token), token)) else ""

    def _parenthesis(self) -> Value:
        found = PerlList()
        only = not self.sees(")")
        while not self.sees(")"):
            if self.accept(",", "=>"):
                only = False
                continue
            value = self.expression()
            if only and self.accept(")"):
                return value
            found += as_list(value)
            if not self.sees(",", "=>", ")"):
                raise Unreadable(self.current, f"expected ), found {shown(self.current)}")
        self.expect(")")
        return found

    def _anonymous_hash(self, opening: Token) -> Value:
        found = self.values("}")
        self.expect("}")
        return as_hash(found, opening)

    def _argument(self) -> Value:
        if self.accept("("):
            value = self.expression()
            self.expect(")")
            return value
        return self._term()

    def _path_argument(self, function: Token) -> str:
        return text(self._argument(), function)

    def _real_path(self, function: Token) -> str:
        return os.path.realpath(self._in_folder(self._path_argument(function), function))

    def _in_folder(self, path: str, function: Token) -> str:
        """Returns `path`, which counts from the folder of the file if it is relative."""
        if "\0" in path:
            raise Unreadable(function, "a path holds no NUL")
        return os.path.join(os.path.dirname(self.path), path)

    def _defined(self) -> Value:
        parenthesis = self.accept("(")
        start = self.current
        try:
            found = scalar(self._term()) is not None
        except Unreadable as error:
            if error.token is not start:
                raise
            found = False
        if parenthesis:
            self.expect(")")
        return 1 if found else ""

    # -- variables

    def _variable(self, token: Token) -> Value:
        name, variables = bare_name(token), self.variables
        if token.text[0] == "@":
            if self.sees("{"):
                found = variables.container("%", name, token)
                return PerlArray([element(found, key, token) for key in self.keys()])
            return PerlArray(variables.container("@", name, token))
        if token.text[0] == "%":
            pairs = variables.container("%", name, token)
            assert isinstance(pairs, dict)
            return PerlList([part for pair in pairs.items() for part in pair])
        if self.sees("[", "{"):
            return self._element(token, name)
        if reason := variables.unreadable.get((token.text[0] + name, "")):
            raise Unreadable(token, reason)
        if name not in variables.scalars:
            raise _unknown(token)
        return variables.scalars[name]

    def _element(self, token: Token, name: str) -> Value:
        """Returns an element: `$name[0]` of `@name`, `$name{KEY}` of `%name`."""
        container = self.variables.container("@" if self.sees("[") else "%", name, token)
        key = self.key()
        if reason := self.variables.unreadable.get((name, str(key))):
            raise Unreadable(token, reason)
        return element(container, key, token)

    def _subscripted(self, value: Value) -> Value:
        """Returns the element of `value` that `->[0]`, `{KEY}` and the like behind it name."""
        while (isinstance(value, (list, dict)) and not isinstance(value, PerlList) and self.sees("[", "{")) or (
            self.sees("->") and self.upcoming.text in ("[", "{")
        ):
            self.accept("->")
            token = self.current
            value = element(value, self.key(), token)
        return value

    def key(self) -> int | str:
        """Returns the subscript `[NUMBER]` or `{KEY}`."""
        opening = self.next()
        if opening.text == "[":
            index = number(self.expression(), opening)
            self.expect("]")
            return int(index)
        if self.current.kind == "word" and self.upcoming.text == "}":
            name = self.next().text
        else:
            name = text(self.expression(), opening)
        self.expect("}")
        return name

    def keys(self) -> list[str]:
        """Returns the keys of the subscript `{KEY, KEY}` or `{qw(KEY KEY)}`."""
        opening = self.next()
        found = [text(value, opening) for value in self.values("}")]
        self.expect("}")
        return found

    def referred_array(self, token: Token) -> list[Value]:
        """Returns the array behind `@`: `@{ EXPRESSION }` or `@$name`."""
        if self.accept("{"):
            value = self.expression()
            self.expect("}")
        else:
            value = self._variable(self.next()) if self.current.text.startswith("$") else None
        if not isinstance(value, list) or isinstance(value, PerlList):
            raise Unreadable(token, "what stands behind @ is no list")
        return value

    # -- strings

    def string(self, token: Token) -> str:
        """Returns what a quoted string holds, with its variables filled in."""
        if token.kind == "single":
            return single_quoted(token)
        return _ESCAPE.sub(lambda match: self._interpolated(token, match), token.body)

    def _interpolated(self, token: Token, match: re.Match[str]) -> str:
        if match["strange"]:
            raise _unknown_in_string(token, match[0])
        if not match["variable"]:
            return unescaped(token, match)
        inside = Expressions(
            tokens_of(re.sub(r"^(.)\{(\w+)\}", r"\1\2", match[0]), token.line), self.path, self.variables
        )
        inside._depth = self._depth
        try:
            value = inside._term()
        except Unreadable as error:
            if error.token.kind == "variable" and "nothing in this file" in str(error):
                raise _unknown_in_string(token, re.match(r".[\w:{}]+", match[0])[0]) from None  # type: ignore[index]
            raise Unreadable(token, str(error)) from None
        if isinstance(value, PerlList):
            return " ".join([text(item, token) for item in value])
        return text(value, token)


def _unknown_in_string(token: Token, name: str) -> Unreadable:
    return Unreadable(token, f"cannot read the variable {name} in a string; write \\{name[0]} for the sign itself")


def _unexpected(token: Token) -> Unreadable:
    return Unreadable(token, f"cannot read {shown(token)} as a value: known are {READABLE}")


def element(container: Value, key: int | str, token: Token) -> Value:
    """Returns what stands at `key`, or None (undef). Raises Unreadable if `container` is neither a list nor a hash."""
    if isinstance(container, list) and isinstance(key, int):
        return container[key] if -len(container) <= key < len(container) else None
    if isinstance(container, dict) and isinstance(key, str):
        return container.get(key)
    raise Unreadable(token, "a subscript stands behind what is no list and no hash")


def as_hash(values: list[Value], token: Token) -> dict[str, Value]:
    """Returns the hash of keys and values in turn. Raises Unreadable if the last key has no value."""
    if len(values) % 2:
        raise Unreadable(token, "a key has no value")
    return {text(values[at], token): values[at + 1] for at in range(0, len(values), 2)}
