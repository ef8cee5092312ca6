"""What goes into a wheel beside the modules."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_wheel_says_that_it_is_typed() -> None:
    """PEP 561: without the file a type checker takes the installed package for untyped."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["rplx"]
    assert "py.typed" in data
    assert (ROOT / "rplx" / "py.typed").read_text() == ""
