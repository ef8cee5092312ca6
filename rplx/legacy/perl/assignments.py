"""Carries out the statements that set variables: assignments, push, unshift and delete (protocol page, part 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from rplx.legacy.perl.expressions import Expressions, Variables, as_hash, bare_name, element
from rplx.legacy.perl.tokens import Token, Unreadable, shown
from rplx.legacy.perl.values import PerlList, Value, as_list, calculated, is_true, scalar

INDEX_MAX = 1000  # largest index of an element that may be set


@dataclass(frozen=True)
class Assignment:
    """One KEY, its value and its line (from 1). `problem` says, with its line, why there is no value.

    The problem stays with its key: a caller that knows the keys can say more, or ignore it.
    """

    key: str
    value: Value
    line: int
    problem: tuple[int, str] | None = None


class Assignments(Expressions):
    """The statements of one file. Unreadable ends the assignment that raises it, and the next one follows.

    `defaults` is what `%CONFIG` holds at the beginning.
    """

    def __init__(self, tokens: list[Token], path: str, defaults: Mapping[str, Value]) -> None:
        super().__init__(tokens, path, Variables())
        self._config = self.variables.hashes["CONFIG"]
        self._config.update({key: list(value) if isinstance(value, list) else value for key, value in defaults.items()})
        self._lines: dict[str, int] = {}  # of the keys that the file sets
        self._unread: dict[str, tuple[int, str]] = {}
        self._problems: list[tuple[int, str]] = []
        self._began = False  # whether the = of the assignment that is read has been passed

    def _report(self, error: Unreadable) -> None:
        self._problems.append((error.token.line, str(error)))

    def _assignment(self) -> None:
        declared = self.accept("my", "our", "local")
        name = self.current
        if declared and self.sees("("):
            self._assign_several()
        elif name.kind != "variable":
            raise Unreadable(
                name, f"cannot read {shown(name)}: known are %CONFIG = (...), $CONFIG{{KEY}} = value, push and if"
            )
        elif declared and self.upcoming.text in (";", "}"):
            self._declare(self.next())
        elif name.text[0] == "$":
            self._assign_scalar(self.next())
        elif name.text[0] == "@" and self.upcoming.text == "{":
            self._assign_slice(self.next())
        elif name.text[0] == "@":
            self.next()
            self.expect("=")
            self.variables.arrays[bare_name(name)] = as_list(self.expression())
        else:
            self._assign_hash(self.next())

    def _declare(self, name: Token) -> None:
        variables, bare = self.variables, bare_name(name)
        match name.text[0]:
            case "$":
                variables.scalars[bare] = None
            case "@":
                variables.arrays.setdefault(bare, [])
            case _:
                variables.hashes.setdefault(bare, {})

    def _assign_several(self) -> None:
        """`my ($a, $b) = (1, 2);`."""
        self.expect("(")
        names = []
        while not self.accept(")"):
            token = self.next()
            if token.kind != "variable" or token.text[0] != "$":
                raise Unreadable(token, f"expected a variable, found {shown(token)}")
            names.append(bare_name(token))
            self.accept(",")
        values = as_list(self.expression()) if self.accept("=") else []
        for at, name in enumerate(names):
            self.variables.scalars[name] = values[at] if at < len(values) else None

    def _assign_scalar(self, name: Token) -> None:
        """`$name`, `$name{KEY}`, `$CONFIG{KEY}[0]` and so on, with `=`, `.=`, `||=` and their like."""
        bare = bare_name(name)
        key = self.upcoming
        keys = self._subscripts()
        if not keys:
            if bare == "CONFIG":
                self.expect("{")
            self._assign_variable(bare)
            return
        container, last = self._container_of(name, keys)
        problem = None
        try:
            _store(container, last, self._assigned(element(container, last, name)), name)
        except Unreadable as error:
            if bare != "CONFIG" or not self._began:
                raise
            problem = (error.token.line, str(error))
            self.skip_to(",", ")", ";", "}")
        if bare == "CONFIG":
            self._record(str(keys[0]), key.line, problem)

    def _subscripts(self) -> list[int | str]:
        keys: list[int | str] = []
        while self.sees("[", "{") or (keys and self.sees("->")):
            self.accept("->")
            keys.append(self.key())
        return keys

    def _container_of(self, name: Token, keys: list[int | str]) -> tuple[Value, int | str]:
        """Returns the list or hash that the last of `keys` is an element of, and that key."""
        bare = bare_name(name)
        container: Value
        if isinstance(keys[0], int):
            container = self.variables.arrays.setdefault(bare, [])
        else:
            container = self.variables.hashes.setdefault(bare, {})
        for key, following in pairwise(keys):
            container = _descend(container, key, following, name)
        return container, keys[-1]

    def _assigned(self, old: Value) -> Value:
        self._began = False
        operator = self.current
        if not self.accept("=", ".=", "+=", "-=", "*=", "/=", "||=", "//=", "&&="):
            raise Unreadable(operator, f"expected =, found {shown(operator)}")
        self._began = True
        value = scalar(self.expression())
        match operator.text:
            case "=":
                return value
            case "||=":
                return old if is_true(old) else value
            case "//=":
                return value if old is None else old
            case "&&=":
                return value if is_true(old) else old
        return calculated(operator, old, value)

    def _assign_variable(self, bare: str) -> None:
        variables = self.variables
        try:
            variables.scalars[bare] = self._assigned(variables.scalars.get(bare))
            variables.unreadable.pop(("$" + bare, ""), None)
        except Unreadable as error:
            if not self._began:
                raise
            variables.unreadable["$" + bare, ""] = str(error)  # reported where the variable is used
            self.skip_to(";", "}")

    def _record(self, key: str, line: int, problem: tuple[int, str] | None = None) -> None:
        """Notes that the file sets `key` of %CONFIG, or could not because of `problem`."""
        self._lines[key] = line
        self._unread.pop(key, None)
        self.variables.unreadable.pop(("CONFIG", key), None)
        if problem is not None:
            self._config[key] = None
            self._unread[key] = problem
            self.variables.unreadable["CONFIG", key] = problem[1]

    def _assign_slice(self, name: Token) -> None:
        """`@CONFIG{qw(KEY KEY)} = (value, value);`."""
        bare, line = bare_name(name), self.current.line
        keys = self.keys()
        self.expect("=")
        values = as_list(self.expression())
        for at, key in enumerate(keys):
            self.variables.hashes.setdefault(bare, {})[key] = values[at] if at < len(values) else None
            if bare == "CONFIG":
                self._record(key, line)

    def _assign_hash(self, name: Token) -> None:
        self.expect("=")
        if bare_name(name) != "CONFIG":
            self.variables.hashes[bare_name(name)] = as_hash(as_list(self.expression()), name)
            return
        self.expect("(")
        found = self._pairs()
        # As Perl does: a hash assigned twice holds the second list alone.
        self._config.clear()
        self._lines.clear()
        self._unread.clear()
        for key, entry in found.items():
            self._config[key] = entry.value
            if entry.line:
                self._record(key, entry.line, entry.problem)

    def _pairs(self) -> dict[str, Assignment]:
        """Returns the pairs of `%CONFIG = (...)`. One that cannot be read is a problem, and the next one follows."""
        found: dict[str, Assignment] = {}
        while not self.accept(")") and not self.sees(";") and self.current.kind != "end":
            if self.accept(","):
                continue
            start = self.at
            try:
                if self.current.kind == "variable" and self.current.text[0] == "%":
                    found.update(self._merged(self.next()))
                else:
                    self._pair(found)
            except Unreadable as error:
                self._report(error)
                self.at = start
                self.skip_to(",", ")", ";")
        return found

    def _merged(self, name: Token) -> dict[str, Assignment]:
        """Returns the pairs of a hash that stands within the list; `%CONFIG` is what it was before."""
        bare = bare_name(name)
        if bare == "CONFIG":
            return {
                key: Assignment(key, value, self._lines.get(key, 0), self._unread.get(key))
                for key, value in self._config.items()
            }
        merged = self.variables.container("%", bare, name)
        assert isinstance(merged, dict)
        return {key: Assignment(key, value, name.line) for key, value in merged.items()}

    def _pair(self, found: dict[str, Assignment]) -> None:
        token = self.current
        key = self._key()
        if not self.accept("=>", ","):
            raise Unreadable(self.current, f"expected => behind {key}, found {shown(self.current)}")
        start = self.at
        try:
            found[key] = Assignment(key, _single_value(self.expression(), token), token.line)
        except Unreadable as error:
            found[key] = Assignment(key, None, token.line, (error.token.line, str(error)))
            self.at = start
            self.skip_to(",", ")", ";")
        if not self.sees(")", ",", "=>"):
            raise Unreadable(self.current, f"expected , or ) behind the value of {key}, found {shown(self.current)}")

    def _key(self) -> str:
        token = self.next()
        if token.kind == "word":
            return token.text
        if token.kind in ("single", "double"):
            return self.string(token)
        raise Unreadable(token, f"expected a KEY, found {shown(token)}")

    # -- push and delete

    def _push(self) -> None:
        """`push @{$CONFIG{KEY}}, value, value;`, `push @name, ...`, `unshift`."""
        word = self.next()
        parenthesis = self.accept("(")
        array = self._pushed_to()
        self.expect(",")
        values = self.values(*(")",) if parenthesis else (";", "}", "if", "unless"))
        if parenthesis:
            self.expect(")")
        array[:] = array + values if word.text == "push" else values + array

    def _pushed_to(self) -> list[Value]:
        token = self.next()
        if token.kind == "variable" and token.text[0] == "@":
            return self.variables.arrays.setdefault(bare_name(token), [])
        if token.text != "@":
            raise Unreadable(token, f"expected @, found {shown(token)}")
        start = self.at
        if self.accept("{") and self.current.kind == "variable" and bare_name(self.current) == "CONFIG":
            line = self.next().line
            key = str(self.key())
            if self.accept("}"):
                if self._config.get(key) is None and key not in self._unread:
                    self._config[key] = []
                elif isinstance(self._config.get(key), str):
                    self._config[key] = [self._config[key]]
                array = self._config.get(key)
                if not isinstance(array, list):
                    raise Unreadable(token, f"{key} is no list")
                self._lines[key] = line
                return array
        self.at = start
        return self.referred_array(token)

    def _delete(self) -> None:
        """`delete $CONFIG{KEY};`."""
        self.next()
        parenthesis = self.accept("(")
        name = self.next()
        if name.kind != "variable" or not self.sees("{"):
            raise Unreadable(name, f"cannot read delete {shown(name)}")
        for key in self.keys() if name.text[0] == "@" else [str(self.key())]:
            self.variables.hashes.setdefault(bare_name(name), {}).pop(key, None)
            if bare_name(name) == "CONFIG":
                self._lines.pop(key, None)
                self._unread.pop(key, None)
        if parenthesis:
            self.expect(")")


def _single_value(value: Value, token: Token) -> Value:
    """Returns the value of a pair. Raises Unreadable for a list, which would change which words are keys."""
    if isinstance(value, PerlList):
        if len(value) != 1:
            raise Unreadable(token, "a list stands where one value is expected; write [ ... ]")
        return value[0]
    return value


def _descend(container: Value, key: int | str, following: int | str, token: Token) -> Value:
    """Returns the list or hash at `key`, and makes it where there is none, as Perl does."""
    value = element(container, key, token)
    if value is None:
        value = [] if isinstance(following, int) else {}
        _store(container, key, value, token)
    return value


def _store(container: Value, key: int | str, value: Value, token: Token) -> None:
    if isinstance(container, dict):
        container[str(key)] = value
    elif isinstance(container, list) and isinstance(key, int):
        if not -len(container) <= key <= INDEX_MAX:
            raise Unreadable(token, f"[{key}] is no place in the list")
        container.extend([None] * (key + 1 - len(container)))
        container[key] = value
