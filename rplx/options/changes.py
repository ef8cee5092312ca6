"""What differs between two configurations, which a reload has to apply."""

from __future__ import annotations

from typing import Any, NamedTuple

from rplx.options.rows import OPTIONS, RULES
from rplx.options.table import Config


class Change(NamedTuple):
    """One option that differs between two configurations."""

    name: str
    legacy: str
    old: Any
    new: Any
    needs_restart: bool


def changed(old: Config, new: Config) -> list[Change]:
    """Returns what a reload has to apply, in the order of the table."""
    found = [
        Change(row.full_name, row.legacy, row.value(old), row.value(new), not row.reload)
        for row in OPTIONS.values()
        if row.value(old) != row.value(new)
    ]
    if old.channels != new.channels:
        found.append(Change(RULES, "", f"{len(old.channels)} rules", f"{len(new.channels)} rules", False))
    return found
