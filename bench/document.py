"""Puts measured tables and plots into docs/performance.md, between markers, so that no figure is copied by hand."""

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


def write(section: Section) -> None:
    """Replaces the section's text in the page and writes its plots. Raises ValueError if the page has no such place."""
    page = PAGE.read_text()
    place = re.compile(rf"(<!-- measured: {section.name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not place.search(page):
        raise ValueError(f"{PAGE} has no place for {section.name}")
    images = "".join(f"\n![{name}](plots/{name}.svg)\n" for name in section.plots)
    PAGE.write_text(place.sub(lambda match: f"{match[1]}{section.text}\n{images}{match[2]}", page))
    PLOTS.mkdir(exist_ok=True)
    for name, svg in section.plots.items():
        (PLOTS / f"{name}.svg").write_text(svg)
