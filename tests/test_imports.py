"""Who may import whom: arrows point one way. Read from the sources, so an import in a function counts too."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import rplx

ROOT = Path(rplx.__file__).parent

# A room (a module or a package of ours) and what of ours it may import. What a room may import, so may its inner modules,
# which may import each other as well. A room that is not here fails: its place has to be chosen.
FOUNDATION = {"errors", "messages"}
SETTINGS = FOUNDATION | {"checks", "options"}
CONFIGURATION = SETTINGS | {"config", "config_text", "toml_lines"}
HUB = SETTINGS | {"engine", "protocol", "log", "hub"}
MAY_IMPORT: dict[str, set[str]] = {
    "": set(),  # the package itself
    "errors": set(),
    "messages": set(),
    "checks": set(),
    "options": {"checks"},
    "toml_lines": set(),
    "config_text": {"options"},
    "config": CONFIGURATION - {"config"},
    "perl_config": set(),
    "legacy_names": CONFIGURATION | {"perl_config"},
    "log": set(),
    "users": FOUNDATION,
    "process": FOUNDATION,
    "protocol": FOUNDATION,
    "engine": FOUNDATION | {"options"},
    "hub": {"engine", "protocol", "messages", "errors", "log"},
    "pages": {"options", "legacy_names"},
    "wsgi": HUB | {"pages"},
    "wsgi_environ": HUB | {"wait_connection"},
    "wait_connection": HUB,
    "acceptor": {"errors", "log"},
    "wait_server": HUB | {"acceptor", "wait_connection", "wsgi_environ"},
    "in_server": HUB | {"users"},
    "demo": HUB | {"wsgi"},
    "server": HUB | {"process", "users", "wsgi", "wait_server", "in_server", "demo", "supervisor"},
    "supervisor": {"errors", "log", "options", "process", "daemon"},
    "daemon": {"errors", "log", "options", "process", "server", "supervisor"},
    "legacy": CONFIGURATION | {"", "perl_config", "legacy_names", "daemon"},
    "client": {""},
    "cli_client": {"", "client", "errors"},
    "cli": CONFIGURATION | {"", "cli_client", "daemon", "legacy"},
    "__main__": {"cli"},
}
WITHOUT_GEVENT = ["errors", "messages", "checks", "options", "config", "config_text", "toml_lines", "perl_config", "legacy_names",
                  "protocol", "engine", "users", "process", "daemon", "legacy", "client", "cli", "cli_client", "supervisor"]  # fmt: skip
SERVER_ROOMS = {"hub", "wsgi", "wait_server", "in_server", "server", "daemon", "supervisor"}


def room_of(module: str) -> str:
    """The room of a dotted module name: `rplx.engine.history` -> `engine`; None of ours: ``None`` is not given here."""
    return module.split(".")[1] if "." in module else ""


def sources() -> dict[str, Path]:
    """Dotted names of all our modules, and their files."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


SOURCES = sources()


def imports(module: str) -> set[str]:
    """The modules that a module imports, anywhere in it; `from rplx import log` is `rplx.log`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in SOURCES else node.module)
    return found


def ours(module: str) -> set[str]:
    """The rooms that a module imports from, beside its own."""
    rooms = {room_of(name) for name in imports(module) if name.split(".")[0] == "rplx"}
    return rooms - {room_of(module)}


def at_start(module: str) -> set[str]:
    """What a module imports as it is loaded, outside functions and `if TYPE_CHECKING`."""
    tree = ast.parse(SOURCES[module].read_text())
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("module", SOURCES)
def test_arrows_point_one_way(module: str) -> None:
    room = room_of(module)
    assert room in MAY_IMPORT, f"{module} has no place yet: say here what it may import"
    assert ours(module) <= MAY_IMPORT[room]


def test_every_room_named_here_exists() -> None:
    """But for those that come with a feature that is not built everywhere."""
    rooms = {room_of(module) for module in SOURCES}
    assert set(MAY_IMPORT) <= rooms


@pytest.mark.parametrize("module", [module for module in SOURCES if room_of(module) in WITHOUT_GEVENT])
def test_what_has_no_gevent(module: str) -> None:
    if module == "rplx.engine.redis":
        pytest.skip("lives elsewhere, so it waits")
    assert not {name.split(".")[0] for name in imports(module)} & {"gevent", "greenlet"}


@pytest.mark.parametrize("module", [module for module in SOURCES if room_of(module) in ("protocol", "engine", "messages", "errors")])
def test_the_pure_rooms_read_no_clock_and_no_socket(module: str) -> None:
    if module == "rplx.engine.redis":
        pytest.skip("lives elsewhere")
    assert not {name.split(".")[0] for name in imports(module)} & {"time", "datetime", "socket", "select", "threading", "os"}


@pytest.mark.parametrize("module", [module for module in SOURCES if room_of(module) == "client"])
def test_the_client_needs_the_standard_library_alone(module: str) -> None:
    foreign = {name.split(".")[0] for name in imports(module)} - set(sys.stdlib_module_names) - {"rplx"}
    assert not foreign


def test_nobody_imports_the_command() -> None:
    assert not [module for module in SOURCES if "cli" in ours(module) and module != "rplx.__main__"]


@pytest.mark.parametrize("line", ["wsgi", "wait_server", "in_server"])
def test_the_lines_do_not_know_each_other_nor_who_wires_them(line: str) -> None:
    assert not ours(f"rplx.{line}") & ({"wsgi", "wait_server", "in_server", "server", "daemon", "supervisor"} - {line})


def test_no_circle_as_modules_load() -> None:
    """What is imported inside a function may point to a room that is loaded later, but loading makes no circle."""
    loading = {module: {name for name in at_start(module) if name in SOURCES} for module in SOURCES}

    def reach(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        for name in loading[module]:
            reach(name, (*path, module))

    for module in SOURCES:
        reach(module, ())
