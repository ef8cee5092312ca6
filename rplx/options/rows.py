"""The option table as rows, by the full names of options."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rplx.options import checks
from rplx.options.table import ChannelRule, Config

VARIABLE_PREFIX = "RPLX_"  # of the environment variables that set options


@dataclass(frozen=True)
class Option:
    """One row of the table: where its value lives in a Config, and what is known about it."""

    section: str  # as files and flags call it: "in", not "in_"
    name: str
    default: Any
    help: str
    legacy: str
    reload: bool
    at_least: float
    at_most: float | None
    check: checks.Check | None
    is_table: bool
    example: Any

    @property
    def full_name(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"{VARIABLE_PREFIX}{self.section}_{self.name}".upper()

    def value(self, config: Config) -> Any:
        """Returns the value of this option in `config`."""
        return getattr(getattr(config, _field_of(self.section)), self.name)


def _field_of(section: str) -> str:
    return "in_" if section == "in" else section


def _rows() -> Iterator[Option]:
    for section in dataclasses.fields(Config):
        if section.name != RULES:
            yield from _rows_of(section.name.rstrip("_"), section.default)


def _rows_of(section: str, values: Any) -> Iterator[Option]:
    for field in dataclasses.fields(values):
        yield Option(section, field.name, field.default, **field.metadata)


RULES = "channels"  # [[channels]]: a section that may be there several times, a rule each
OPTIONS: dict[str, Option] = {row.full_name: row for row in _rows()}
RULE_OPTIONS: dict[str, Option] = {row.name: row for row in _rows_of(RULES, ChannelRule)}
SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(row.section for row in OPTIONS.values()))


def options_of(section: str) -> list[Option]:
    """Returns the options of a section, in the order of the table."""
    return [row for row in OPTIONS.values() if row.section == section]


def section_help(section: str) -> str:
    """Returns one line on what the options of a section are about."""
    doc: str = getattr(Config(), _field_of(section)).__doc__
    return doc


def replace(config: Config, values: dict[str, Any]) -> Config:
    """Returns `config` with the options of `values`, full name to value, set. The values are not checked."""
    sections: dict[str, dict[str, Any]] = {}
    for full_name, value in values.items():
        section, _, name = full_name.partition(".")
        sections.setdefault(_field_of(section), {})[name] = value
    replaced = {field: dataclasses.replace(getattr(config, field), **names) for field, names in sections.items()}
    return dataclasses.replace(config, **replaced)
