"""The Lua scripts that run in Redis, each behind lua/common.lua."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files

NAMES = ("append", "read", "clock", "heartbeat", "report", "sweep", "remove_process", "watch")


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the name by which EVALSHA knows it."""

    name: str
    source: bytes
    digest: str
    stores: bool
    """Whether it keeps a message."""


def load() -> dict[str, Script]:
    """Returns all scripts by name."""
    folder = files(__package__) / "lua"
    common = (folder / "common.lua").read_bytes()
    found = {}
    for name in NAMES:
        source = common + (folder / f"{name}.lua").read_bytes()
        found[name] = Script(name, source, sha1(source, usedforsecurity=False).hexdigest(), name == "append")
    return found
