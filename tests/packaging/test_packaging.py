"""What goes into a wheel beside the modules."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from rplx.version import __version__

ROOT = Path(__file__).parents[2]


def test_a_wheel_says_that_it_is_typed() -> None:
    """PEP 561: without the file a type checker takes the installed package for untyped."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["rplx"]
    assert "py.typed" in data
    assert (ROOT / "rplx" / "py.typed").read_text() == ""


def test_a_wheel_has_every_file_that_lies_among_the_modules() -> None:
    """Also the pages that the server sends: the WAIT line reads them from rplx/served, installed or in a checkout."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["rplx"]
    packed = {path for pattern in data for path in (ROOT / "rplx").glob(pattern)}
    there = {path for path in (ROOT / "rplx").rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert ROOT / "rplx" / "served" / "script.js" in there
    assert there <= packed


def test_there_is_one_version() -> None:
    """What pip and npm take has the version that the changelog says first. Composer takes it from the tag."""
    assert json.loads((ROOT / "js" / "package.json").read_text())["version"] == __version__
    assert json.loads((ROOT / "js" / "package-lock.json").read_text())["version"] == __version__
    assert "version" not in json.loads((ROOT / "php" / "composer.json").read_text())
    found = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] == __version__
