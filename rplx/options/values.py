"""A value that a source gives to an option, as the option's type, or what is wrong with it."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable
from typing import Any

from rplx.options.rows import Option

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "a list of strings",
}


def from_text(option: Option, text: str) -> object:
    """Returns what the text of a flag or variable means for `option`: a TOML value, or else the bare text."""
    kind = type(option.default)
    if kind is bool:
        return _WORDS.get(text.strip().lower(), text)
    if kind is str and not (len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return [item.strip() for item in text.split(",") if item.strip()] if kind is tuple else text


def checked(option: Option, value: object) -> Any:
    """Returns `value` as the option's type. Raises ValueError, a one-line text, for another type or out of range."""
    kind = type(option.default)
    if kind is tuple:
        return _checked_list(option, value)
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"must be {_KINDS[kind]}, is {_shown(value)}")
    if isinstance(value, str) and option.check is not None and (problem := option.check(value)):
        raise ValueError(problem)
    if not isinstance(value, str) and kind is not bool:
        assert isinstance(value, (int, float))
        _check_range(option, value)
    return kind(value)


def _checked_list(option: Option, value: object) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if isinstance(items, dict) and option.is_table:
        items = [f"{name}={item}" if isinstance(item, str) else item for name, item in items.items()]
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"must be {_KINDS[tuple]}, is {_shown(value)}")
    if not items and option.default:
        raise ValueError("must not be empty")
    if option.check is not None and (wrong := list(filter(None, map(option.check, items)))):
        raise ValueError("; ".join(wrong))
    return tuple(items)


def _check_range(option: Option, value: float) -> None:
    if isinstance(value, int) and value.bit_length() > 63:
        raise ValueError("must be a number of 64 bits")
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number, is {value}")
    if value < option.at_least:
        raise ValueError(f"must be at least {option.at_least}, is {value}")
    if option.at_most is not None and value > option.at_most:
        raise ValueError(f"must be at most {option.at_most}, is {value}")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a hint, behind what is wrong, at the word among `known` that is like this one; "" if none is."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f', did you mean "{close[0]}"?' if close else ""
