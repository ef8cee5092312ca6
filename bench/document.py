"""Puts measured tables and plots into pages of docs/, between markers, so that no figure is copied by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "plots"


@dataclass
class Section:
    """What an experiment found: Markdown for its place in the page, plots by file name without the ending."""

    name: str
    text: str
    plots: Mapping[str, str] = field(default_factory=dict)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read(name: str, page: Path = PAGE) -> str:
    """What stands in a section's place in the page. Raises ValueError if the page has no such place."""
    return _place(name, page)[2]


def write(section: Section, page: Path = PAGE) -> None:
    """Replaces the section's text in the page and writes its plots. Raises ValueError if the page has no such place."""
    place = _place(section.name, page)
    images = "".join(f"\n![{name}](plots/{name}.svg)\n" for name in section.plots)
    text = place.string
    page.write_text(f"{text[: place.start(2)]}{section.text}\n{images}{text[place.end(2) :]}")
    PLOTS.mkdir(exist_ok=True)
    for name, svg in section.plots.items():
        (PLOTS / f"{name}.svg").write_text(svg)


def _place(name: str, page: Path) -> re.Match[str]:
    place = re.search(rf"(<!-- measured: {name} -->\n)(.*?)<!-- end -->", page.read_text(), re.DOTALL)
    if place is None:
        raise ValueError(f"{page} has no place for {name}")
    return place
