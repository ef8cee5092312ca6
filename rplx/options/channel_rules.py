"""Rules for channels by prefix, as a configuration file has them: [[channels]] sections, one a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from rplx.options.rows import RULE_OPTIONS, RULES
from rplx.options.table import ChannelRule
from rplx.options.values import checked, did_you_mean


class Placed(NamedTuple):
    """A rule, and where it stands: FILE:LINE."""

    where: str
    rule: ChannelRule


def read(path: str, value: object, line_of: Callable[..., int], problems: list[str]) -> list[Placed]:
    """Returns the rules of a file. `line_of` returns the line of a key; what is wrong is added to `problems`."""
    if not isinstance(value, list) or not all(isinstance(names, dict) for names in value):
        problems.append(f"{path}:{line_of(RULES)}: a rule is a section of its own and is written [[{RULES}]]")
        return []
    found = []
    for number, names in enumerate(value):
        place = (RULES, str(number)) if number else (RULES,)
        where = f"{path}:{line_of(*place)}"
        values: dict[str, Any] = {}
        for name, given in names.items():
            at = f"{path}:{line_of(*place, name)}: {RULES}.{name}"
            try:
                values[name] = checked(RULE_OPTIONS[name], given)
            except KeyError:
                problems.append(f"{at}: there is no such option{did_you_mean(name, RULE_OPTIONS)}")
            except ValueError as error:
                problems.append(f"{at}: {error}")
        if "prefix" not in names:
            problems.append(f'{where}: a rule needs a prefix; "" stands for all channels')
        found.append(Placed(where, ChannelRule(**values)))
    return found


def contradictions(rules: Iterable[Placed], id_max: int) -> Iterator[str]:
    """Yields what is said of rules that can never fit a channel. `id_max`: characters that an id may have."""
    seen: dict[str, str] = {}
    for where, rule in rules:
        first = seen.setdefault(rule.prefix, where)
        if first != where:
            yield f'{where}: a rule for "{rule.prefix}" stands at {first}; this one would never count'
        if len(rule.prefix) > id_max:
            yield f'{where}: no channel id is as long as "{rule.prefix}" ({id_max} characters: wait.id_max)'
