"""Refusals: each class has a machine code of its own."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator

import rplx
from rplx.errors import Refusal


def refusals(kind: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from refusals(narrower)


def test_each_has_a_code_of_its_own() -> None:
    """In whatever module it stands."""
    for module in pkgutil.walk_packages(rplx.__path__, "rplx."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    codes = {kind.__name__: vars(kind).get("code") for kind in refusals()}
    assert [name for name, code in codes.items() if not re.fullmatch("[a-z]+(_[a-z]+)*", str(code or ""))] == []
    assert [code for code, times in Counter(codes.values()).items() if times > 1] == []
    assert codes.items() >= {"TooLarge": "too_large", "Unavailable": "unavailable", "EmptyBody": "empty_body"}.items()
