"""Two kinds of plots as SVG text: lines over a numeric axis, and groups of horizontal bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#1f77b4", "#999999", "#d62728", "#2ca02c", "#9467bd", "#8c564b")
WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 50, 50
BAR, BAR_GAP, NAME_WIDTH = 18, 8, 130

Points = Sequence[tuple[float, float]]


def line_chart(
    title: str, x_label: str, y_label: str, series: Mapping[str, Points], *, limit: float | None = None
) -> str:
    """Lines with their points, both axes from 0. `limit` is drawn as a dashed line across."""
    x_max = max(x for points in series.values() for x, _ in points)
    y_max = _round_up(max([y for points in series.values() for _, y in points] + ([limit] if limit else [])))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + width * x / x_max, TOP + height * (1 - y / y_max)

    parts = [_text(LEFT, 20, title, weight="bold")]
    for step in range(6):
        x, y = x_max * step / 5, y_max * step / 5
        parts += [
            _line(place(0, y), place(x_max, y), "#ddd"),
            _text(LEFT - 6, place(0, y)[1] + 4, _short(y), anchor="end"),
            _text(place(x, 0)[0], HEIGHT - BOTTOM + 16, _short(x), anchor="middle"),
        ]
    if limit:
        parts.append(_line(place(0, limit), place(x_max, limit), "#d62728", dashes="6 4"))
    parts += [
        _text(LEFT + width / 2, HEIGHT - 12, x_label, anchor="middle"),
        f'<g transform="rotate(-90 16 {TOP + height / 2})">{_text(16, TOP + height / 2, y_label, anchor="middle")}</g>',
    ]
    for index, points in enumerate(series.values()):
        colour = COLOURS[index % len(COLOURS)]
        placed = [place(x, y) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(placed) <= 20:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in placed]
    parts += _legend(list(series))
    return _document(HEIGHT, parts)


def bar_chart(title: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """A group of bars for each figure, one bar a server; each group has a scale of its own, values are written out."""
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    parts = [_text(10, 20, title, weight="bold")]
    y = 36.0
    for group, bars in groups.items():
        y += 16
        parts.append(_text(10, y, group, weight="bold"))
        y += 8
        longest = max(bars.values()) or 1
        for name, value in bars.items():
            length = (WIDTH - NAME_WIDTH - 90) * value / longest
            colour = COLOURS[names.index(name) % len(COLOURS)]
            parts += [
                _text(NAME_WIDTH - 8, y + BAR - 5, name, anchor="end"),
                f'<rect x="{NAME_WIDTH}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
                _text(NAME_WIDTH + length + 6, y + BAR - 5, _short(value)),
            ]
            y += BAR + BAR_GAP / 2
        y += BAR_GAP
    return _document(math.ceil(y + 10), parts)


def _document(height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], float(LEFT)
    for index, name in enumerate(names):
        parts.append(f'<rect x="{x}" y="30" width="12" height="12" fill="{COLOURS[index % len(COLOURS)]}"/>')
        parts.append(_text(x + 17, 40, name))
        x += 35 + 7 * len(name)
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, dashes: str = "none") -> str:
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" stroke="{colour}"'
        f' stroke-dasharray="{dashes}"/>'
    )


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 8 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 5, 8, 10) if value <= step * power)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
