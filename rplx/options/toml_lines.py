"""The lines at which a TOML text sets its keys. tomllib tells the values, but not where they stand."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""+'
    r"|'''.*?'''+"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*|[^\S\n]+|[^\"'\#\s\[\]{}=]+|.|\n",
    re.DOTALL,
)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Returns the line, from 1, of each table header and key of `text`, by its dotted path. `text` is valid TOML.

    Keys inside an inline table have the line of the table's key, so look for the longest path that is there. In an
    array of tables, such as [[x]], those of the second one have the path x, "1".
    """
    counts: dict[tuple[str, ...], int] = {}
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for line, statement in _statements(text):
        if statement[0] == "[":
            table = _path("".join(statement))
            if statement[1] == "[":
                count = counts[table] = counts.get(table, -1) + 1
                table = (*table, str(count)) if count else table
            lines.setdefault(table, line)
        else:
            key = "".join(statement[: statement.index("=")])
            lines.setdefault(table + _path(key + "=0"), line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the line and the tokens of each header or key-value pair, without comments."""
    line = 1
    start = 1
    depth = 0
    tokens: list[str] = []
    for token in _TOKEN.findall(text):
        if token == "\n" and depth == 0:
            if tokens:
                yield start, tokens
            tokens = []
        elif token.strip() and not token.startswith("#"):
            if not tokens:
                start = line
            tokens.append(token)
            depth += (token in ("[", "{")) - (token in ("]", "}"))
        line += token.count("\n")
    if tokens:
        yield start, tokens


def _path(statement: str) -> tuple[str, ...]:
    """Returns the dotted path that one statement sets; tomllib itself reads quoted keys."""
    path: list[str] = []
    value: object = tomllib.loads(statement)
    while value:
        if isinstance(value, list):  # [[array of tables]]
            value = value[0]
        elif isinstance(value, dict):
            key, value = next(iter(value.items()))
            path.append(key)
        else:
            break
    return tuple(path)
