"""Writes the configuration: as TOML, as the shipped example and as the reference page, all from the option tables.

`python -m rplx.options.writing [DIRECTORY]` rewrites conf/rplx.toml and docs/configuration.md.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from rplx.options.rows import RULE_OPTIONS, RULES, SECTIONS, Option, options_of, section_help
from rplx.options.table import ChannelRule, Config

_EXAMPLE_HEAD = """\
# Configuration of rplx: every option with its default. To set an option, take the # before its line away.
# Set here is where history is kept (engine.url).
# Environment variables (RPLX_WAIT_TIMEOUT=60) and flags (--set wait.timeout=60) win over this file.
# Relative paths count from the server's working directory.
"""

_REFERENCE_HEAD = """\
# Configuration

Each option can be set in four places; the later one wins:

1. its default, in the tables below, or in a TOML file of other defaults: `--defaults FILE.toml`, as the container image
   uses it ([conf/container.toml](../conf/container.toml));
2. the TOML file of `rplx serve --config FILE.toml`, or of the variable `RPLX_CONFIG`
   ([conf/rplx.toml](../conf/rplx.toml) is one with every option);
3. an environment variable `RPLX_SECTION_NAME`, such as `RPLX_WAIT_TIMEOUT=60`;
4. a flag `--set section.name=value`, such as `--set wait.timeout=60`. Lists are written as in TOML or with commas:
   `--set wait.listen=0.0.0.0:8088,[::]:8088`.

Wrong options are named all at once, each with its file and line, variable or flag, and the server does not start: exit
status 2. `rplx serve --check-config` with the same file, variables and flags only says what is wrong.
Relative paths count from the server's working directory. Times are in seconds, sizes in bytes.

SIGHUP reads the file again. A new value of an option that is marked *restart* needs a new server process; all others
apply at once. SIGTERM answers the waiting polls, spread over `server.drain`, and ends the server; SIGINT or a
second SIGTERM ends it at once. SIGUSR1, SIGUSR2 and SIGPIPE are ignored: the log goes to the standard output, so there
is no file to open anew.

`rplx migrate-config OLD.conf` prints the TOML for an old Perl configuration file; the old keys are in the last column.
"""


def to_toml(config: Config, only_changed: bool) -> str:
    """Returns `config` as a TOML file: all options, or only those that differ from their defaults."""
    blocks = []
    for section in SECTIONS:
        rows = [row for row in options_of(section) if not only_changed or row.value(config) != row.default]
        if rows:
            lines = [f"[{section}]", *(f"{row.name} = {toml_value(row.value(config))}" for row in rows)]
            blocks.append("\n".join(lines) + "\n")
    for rule in config.channels:
        lines = [f"[[{RULES}]]", *(f"{name} = {toml_value(getattr(rule, name))}" for name in RULE_OPTIONS)]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def toml_value(value: Any) -> str:
    """Returns a value as TOML 1.0 writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        # JSON's escapes are TOML's too, but for DEL, which JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else str(value)


def render_example() -> str:
    """Returns the text of conf/rplx.toml: every option, its default and its help, and what the table sets there."""
    blocks = [_EXAMPLE_HEAD]
    for section in SECTIONS:
        lines = [f"# {section_help(section)}", f"[{section}]"]
        for row in options_of(section):
            lines += [*textwrap.wrap(row.help, 118, initial_indent="# ", subsequent_indent="# ")]
            lines.append(f"#{row.name} = {toml_value(row.default)}")
            if row.example is not None:
                lines.append(f"{row.name} = {toml_value(row.example)}")
        blocks.append("\n".join(lines) + "\n")
    lines = [f"# {ChannelRule.__doc__}", f"# [[{RULES}]]"]
    for row in RULE_OPTIONS.values():
        lines += [*textwrap.wrap(row.help, 118, initial_indent="# ", subsequent_indent="# ")]
        lines.append(f"# {row.name} = {toml_value(row.example)}")
    blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def render_reference() -> str:
    """Returns the text of docs/configuration.md."""
    blocks = [_REFERENCE_HEAD]
    for section in SECTIONS:
        lines = [f"## `[{section}]`", "", section_help(section), ""]
        lines += ["| option | default | meaning | reload | old key |", "|---|---|---|---|---|"]
        lines += [_table_row(row) for row in options_of(section)]
        blocks.append("\n".join(lines) + "\n")
    lines = [f"## `[[{RULES}]]`", "", f"{ChannelRule.__doc__} There may be many, in a file alone.", ""]
    lines += ["| option | default | meaning | reload | old key |", "|---|---|---|---|---|"]
    lines += [_table_row(row) for row in RULE_OPTIONS.values()]
    blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _table_row(row: Option) -> str:
    limits = _limits(row)
    meaning = row.help.replace("|", "\\|") + (f" ({limits})" if limits else "")
    reload = "yes" if row.reload else "*restart*"
    old_key = f"`{row.legacy}`" if row.legacy else ""
    return f"| `{row.name}` | `{toml_value(row.default)}` | {meaning} | {reload} | {old_key} |"


def _limits(row: Option) -> str:
    if isinstance(row.default, (bool, str, tuple)):
        return ""
    if row.at_most is not None:
        return f"{row.at_least} to {row.at_most}"
    return f"at least {row.at_least}" if row.at_least else ""


def main(argv: list[str]) -> int:
    root = Path(argv[0] if argv else ".")
    for file, text in (("conf/rplx.toml", render_example()), ("docs/configuration.md", render_reference())):
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
