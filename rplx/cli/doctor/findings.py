"""What the doctor has found, as values, as lines for people and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rplx.cli.doctor.cures import CURES

WIDTH = 100  # characters in a line for people


class State(Enum):
    """How a question was answered. WRONG makes the exit status 1; UNTESTED is what could not be asked."""

    WELL = "well"
    NOTE = "note"
    WRONG = "wrong"
    UNTESTED = "untested"


_ORDER = (State.WRONG, State.NOTE, State.UNTESTED, State.WELL)


@dataclass(frozen=True)
class Finding:
    """The answer to a question. `check` names the question; cures.py knows lines by that name."""

    check: str
    state: State
    text: str

    @property
    def cures(self) -> dict[str, tuple[str, ...]]:
        """Returns the lines that mend it, by the program in whose configuration they stand."""
        return CURES.get(self.check, {}) if self.state in (State.WRONG, State.NOTE) else {}


def well(check: str, text: str) -> Finding:
    return Finding(check, State.WELL, text)


def note(check: str, text: str) -> Finding:
    return Finding(check, State.NOTE, text)


def wrong(check: str, text: str) -> Finding:
    return Finding(check, State.WRONG, text)


def untested(check: str, text: str) -> Finding:
    return Finding(check, State.UNTESTED, text)


def is_well(findings: Iterable[Finding]) -> bool:
    """Returns whether nothing is wrong."""
    return all(finding.state is not State.WRONG for finding in findings)


def as_json(url: str, programs: list[str], findings: list[Finding]) -> dict[str, Any]:
    """Returns what `--json` prints: the findings with the lines for every program."""
    return {
        "url": url,
        "well": is_well(findings),
        "programs": programs,
        "findings": [
            {"check": each.check, "state": each.state.value, "text": each.text, "cures": each.cures}
            for each in findings
        ],
    }


def as_lines(findings: list[Finding], programs: list[str]) -> Iterable[str]:
    """Returns the findings as lines of text, what is wrong first.

    `programs` are those that were recognised on the way: their cures alone are shown, or all if there are none.
    """
    for finding in sorted(findings, key=lambda finding: _ORDER.index(finding.state)):
        first = f"{finding.state.value:<9}{finding.check}: "
        yield from textwrap.wrap(first + finding.text, WIDTH, subsequent_indent=" " * 9, break_on_hyphens=False)
        cures = finding.cures
        known = [name for name in cures if name == "rplx" or name in programs]
        shown = known if known and programs else list(cures)
        for name in shown:
            yield f"{'':<9}{name}:"
            yield from (f"{'':<13}{line}" for line in cures[name])
    count = sum(each.state is State.WRONG for each in findings)
    if count == 0:
        yield "Nothing is wrong."
    else:
        yield f"{count} {'thing is' if count == 1 else 'things are'} wrong. Whole configurations: docs/proxies.md"
