"""`python -m tests.soak [--quick] [--write] [--seconds S] [NAME ...]`: the scenarios behind docs/reliability.md.

Prints each scenario's figures when they are there; --write also puts them into the page. Exit status 1 if one is not
flawless. The long forms take over an hour and a half in all, nearly all of it `steady` and `paths`.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable

from bench import document
from rplx.bench.report import number
from rplx.system.limits import raise_descriptor_limit
from tests.soak import paths, steady
from tests.soak.scenarios import SCENARIOS, Count

PAGE = document.ROOT / "docs" / "reliability.md"
SECTION = "soak"
TIMED: dict[str, Callable[..., Count]] = {"steady": steady.run, "paths": paths.run}
HEAD = ("scenario", "figures", "result", "when, commit")


def figures(count: Count) -> str:
    """All figures of a count in one line."""
    values = {field.name: getattr(count, field.name) for field in dataclasses.fields(count)}
    shown = {name: number(value) if isinstance(value, float) else f"{value:,}" for name, value in values.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def commit() -> str:
    """The short hash of what is checked out, with `+` if something was changed since."""
    git = ["git", "-C", str(document.ROOT)]
    hash = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    status = [*git, "status", "--porcelain", "rplx", "tests/soak"]
    changed = subprocess.run(status, capture_output=True, text=True).stdout
    return f"{hash}{'+' if changed else ''}" or "-"


def write(name: str, count: Count) -> None:
    """Puts a scenario's row into the page's table; the others' rows stay as they are."""
    rows = {row[2:].partition(" ")[0].strip("*"): row for row in document.read(SECTION, PAGE).splitlines()[2:] if row}
    title = f"**{name}** {SCENARIOS[name].title}"
    result = "flawless" if count.flawless else "**not flawless**"
    row = (title, figures(count), result, f"{time.strftime('%Y-%m-%d')}, {commit()}")
    rows[name] = f"| {' | '.join(row)} |"
    known = [rows[name] for name in SCENARIOS if name in rows]
    table = [f"| {' | '.join(HEAD)} |", "|---|---|---|---|", *known]
    document.write(document.Section(SECTION, "\n".join(table)), PAGE)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="Shows what docs/reliability.md promises."
    )
    parser.add_argument("--quick", action="store_true", help="the short forms, as the tests run them")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/reliability.md")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of `steady` (3600) and of `paths` (1800)")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)} (default: all)")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in SCENARIOS]:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    if args.quick and args.write:
        parser.error("--quick figures are not for the page")
    raise_descriptor_limit()
    flawless = True
    for name in args.names or SCENARIOS:
        scenario = SCENARIOS[name]
        begin = time.monotonic()
        if name in TIMED and args.seconds:
            count = TIMED[name](seconds=args.seconds)
        else:
            count = (scenario.short if args.quick else scenario.long)()
        flawless = flawless and count.flawless
        result = "flawless" if count.flawless else "NOT FLAWLESS"
        print(f"{name} ({time.monotonic() - begin:.0f} s), {result}: {figures(count)}", flush=True)
        if args.write:
            write(name, count)
    return 0 if flawless else 1


if __name__ == "__main__":
    sys.exit(main())
