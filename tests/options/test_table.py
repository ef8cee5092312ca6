"""The option table itself, and the files that are made from it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rplx.options.changes import changed
from rplx.options.reading import load
from rplx.options.rows import OPTIONS, replace
from rplx.options.table import Config
from rplx.options.values import checked
from rplx.options.writing import render_example, render_reference

ROOT = Path(__file__).parents[2]


def test_nothing_given_is_the_defaults() -> None:
    assert load(None, {}, []) == Config()


@pytest.mark.parametrize("row", OPTIONS.values(), ids=OPTIONS)
def test_every_default_is_valid_and_every_option_is_described(row) -> None:
    assert checked(row, row.default) == row.default
    assert row.help


def test_two_options_never_share_a_variable_or_an_old_key() -> None:
    assert len({row.variable for row in OPTIONS.values()}) == len(OPTIONS)
    old_keys = [row.legacy for row in OPTIONS.values() if row.legacy]
    assert len(set(old_keys)) == len(old_keys)


@pytest.mark.parametrize(
    ("file", "text"),
    [("conf/rplx.toml", render_example()), ("docs/configuration.md", render_reference())],
)
def test_shipped_files_are_what_the_table_says(file: str, text: str) -> None:
    assert (ROOT / file).read_text() == text, "run: make docs"


def test_the_command_rewrites_both_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "rplx.options.writing", tmp_path], cwd=ROOT, check=True)
    for file in ("conf/rplx.toml", "docs/configuration.md"):
        assert (tmp_path / file).read_bytes() == (ROOT / file).read_bytes()


def test_the_example_as_shipped_keeps_history_on_disk_and_has_every_option_with_its_default() -> None:
    example = (ROOT / "conf/rplx.toml").read_text()
    kept = {"engine.url": "sqlite:////var/lib/rplx/history.db"}
    assert load(str(ROOT / "conf/rplx.toml"), {}, []) == replace(Config(), kept)
    assert {row.full_name: row.example for row in OPTIONS.values() if row.example is not None} == kept
    commented = re.sub(r"^[a-z_]+ = .*\n", "", example, flags=re.MULTILINE)
    uncommented = re.sub(r"^#(?=[a-z_]+ = )", "", commented, flags=re.MULTILINE)
    values = tomllib.loads(uncommented)
    assert {f"{section}.{name}" for section in values for name in values[section]} == set(OPTIONS)
    for name, row in OPTIONS.items():
        assert checked(row, values[row.section][row.name]) == row.default, name


def test_reading_the_configuration_needs_no_gevent() -> None:
    script = (
        "import sys, rplx.options.reading, rplx.cli.old_command, rplx.access.users; sys.exit('gevent' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_changes_between_two_configurations() -> None:
    new = replace(Config(), {"wait.timeout": 5.0, "wait.listen": ("[::1]:0",), "demo.enabled": True})
    assert changed(Config(), Config()) == []
    assert changed(Config(), new) == [
        ("wait.listen", "WAIT_ADDR", ("0.0.0.0:8088",), ("[::1]:0",), True),
        ("wait.timeout", "WAIT_TIMEOUT", 55.0, 5.0, False),
        ("demo.enabled", "", False, True, True),
    ]
