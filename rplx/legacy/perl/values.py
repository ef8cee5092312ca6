"""Perl's rules for values: scalar and list context, numbers, strings, operators, paths (protocol page, part 5)."""

from __future__ import annotations

import math
import os.path
import re

from rplx.legacy.perl.tokens import Token, Unreadable

Value = None | int | float | str | list["Value"] | dict[str, "Value"]


class PerlList(list[Value]):
    """The values of a list such as `(1, 2)`. In scalar context it is the last of them."""

    def as_scalar(self) -> Value:
        return self[-1] if self else None


class PerlArray(PerlList):
    """The values of `@name`. In scalar context it is their number."""

    def as_scalar(self) -> Value:
        return len(self)


_NUMERIC = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def scalar(value: Value) -> Value:
    """Returns `value` in scalar context."""
    return value.as_scalar() if isinstance(value, PerlList) else value


def as_list(value: Value) -> list[Value]:
    """Returns `value` in list context."""
    return list(value) if isinstance(value, PerlList) else [value]


def is_true(value: Value) -> bool:
    """Returns whether Perl takes `value` for true."""
    value = scalar(value)
    return value not in (None, "", "0", 0) or isinstance(value, (list, dict))


def literal(token: Token) -> int | float:
    """Returns the number that a token is. Raises Unreadable."""
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
        raise Unreadable(token, f"cannot read the number {token.text}") from None


def number(value: Value, operator: Token) -> int | float:
    """Returns `value` as a number. Raises Unreadable if it is none; Perl would take it for 0 and go on."""
    value = scalar(value)
    if value is None or value == "":
        return 0
    if isinstance(value, str) and _NUMERIC.fullmatch(value):
        value = float(value)
        value = int(value) if value.is_integer() else value
    if isinstance(value, (int, float)):
        return value
    raise Unreadable(operator, f"{operator.text} needs numbers on both sides")


def text(value: Value, operator: Token) -> str:
    """Returns `value` as a string; undef is an empty one, as in Perl. Raises Unreadable for a list or hash."""
    value = scalar(value)
    if isinstance(value, (list, dict)):
        raise Unreadable(operator, f"{operator.text} needs strings")
    return "" if value is None else perl_text(value)


def perl_text(value: int | float | str) -> str:
    """Returns a value as Perl prints it: a number with 15 digits, without a point if it is whole."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and math.fabs(value) < 1e15 else f"{value:.15g}"
    return str(value)


def calculated(operator: Token, left: Value, right: Value) -> Value:
    """Returns the value of `left operator right`. Raises Unreadable."""
    sign = operator.text.removesuffix("=")
    if sign == ".":
        return text(left, operator) + text(right, operator)
    a, b = number(left, operator), number(right, operator)
    match sign:
        case "+":
            return _as_perl(a + b)
        case "-":
            return _as_perl(a - b)
        case "*":
            return _as_perl(a * b)
    return _divided(operator, a, b)


def _divided(operator: Token, a: int | float, b: int | float) -> int | float:
    if b == 0:
        raise Unreadable(operator, "division by zero")
    return a // b if isinstance(a, int) and isinstance(b, int) and a % b == 0 else a / b


COMPARISONS = {"==", "!=", "<", ">", "<=", ">=", "eq", "ne", "lt", "gt", "le", "ge"}


def compared(operator: Token, left: Value, right: Value) -> Value:
    """Returns 1 if `left operator right` is true, else an empty string. Raises Unreadable."""
    convert = text if operator.text.isalpha() else number
    a: str | int | float = convert(left, operator)
    b: str | int | float = convert(right, operator)
    match operator.text:
        case "==" | "eq":
            found = a == b
        case "!=" | "ne":
            found = a != b
        case "<" | "lt":
            found = a < b  # type: ignore[operator]
        case ">" | "gt":
            found = a > b  # type: ignore[operator]
        case "<=" | "le":
            found = a <= b  # type: ignore[operator]
        case _:
            found = a >= b  # type: ignore[operator]
    return 1 if found else ""


def _as_perl(value: int | float) -> int | float:
    """Returns a whole number of more than 64 bits as a floating-point one, as Perl has it."""
    if isinstance(value, float) or -(1 << 63) <= value < 1 << 64:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def dirname(path: str) -> str:
    """Returns the folder as Perl's File::Basename does: slashes at the end do not count, a bare name lies in `.`."""
    stripped = path.rstrip("/")
    if not stripped:
        return "/" if path else "."
    return os.path.dirname(stripped).rstrip("/") or ("/" if stripped.startswith("/") else ".")
