"""Who may import whom: a table of rooms, read from the sources.

An import counts wherever it stands: at the top, in a function, or as a module's name in a string, which is how
`importlib.import_module` and `sys.modules` are asked.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import rplx

ROOT = Path(rplx.__file__).parent

# Values and services that everybody may use; addresses and errors know nobody, the others know at most these.
GROUND = {"addresses", "errors", "journal", "log", "messages", "version"}
# A room is a package of ours, or a module that lies flat. It may import the rooms behind it, and no others.
ROOMS: dict[str, set[str]] = {
    "addresses": set(),
    "errors": set(),
    "journal": set(),
    "messages": set(),
    "version": set(),
    "log": {"journal"},
    "options": GROUND,
    "protocol": GROUND,
    "system": GROUND,
    "net": GROUND | {"options"},
    "legacy": GROUND | {"options"},
    "access": GROUND | {"options"},
    "engine": GROUND | {"options"},
    "hub": GROUND | {"engine"},
    "wait_line": GROUND | {"access", "hub", "legacy", "net", "options", "protocol"},
    "in_line": GROUND | {"access", "hub", "net", "options", "protocol"},
    "assembly": GROUND | {"access", "engine", "hub", "in_line", "options", "wait_line"},
    "client": set(),
    "hosts": GROUND
    | {"assembly", "client", "engine", "hub", "in_line", "net", "options", "protocol", "system", "wait_line"},
    "serving": GROUND | {"assembly", "engine", "legacy", "net", "options", "system", "wait_line"},
    "": {"client", "hosts", "version"},
    "bench": GROUND | {"options", "system"},
    "cli": GROUND | {"access", "bench", "client", "engine", "legacy", "options", "serving", "system"},
    "testing": {"client", "hosts"},
    # The other doors, see DOORS.
    "wsgi": {"hosts"},
    "runtime": {"hosts"},
    "gunicorn": {"hosts"},
    "__main__": {"cli"},
}
# Public names, handed on to those who use rplx: nobody inside imports them.
DOORS = {"rplx", "rplx.wsgi", "rplx.runtime", "rplx.gunicorn", "rplx.__main__"}
DOOR_LINES_MAX = 60
FLOORS_MAX = 13  # modules in the longest chain of imports
ROOM_FLOORS_MAX = 9  # rooms in the longest chain

# Rooms without gevent: the command line and the clients do not wait for it to be loaded.
WITHOUT_GEVENT = {"errors", "messages", "options", "protocol", "legacy", "client", "cli"}
# Rooms that get what they know as arguments: neither a clock nor a socket.
PURE = {"errors", "messages", "protocol", "engine"}
NOT_PURE = ("rplx.engine.redis", "rplx.engine.sqlite", "rplx.engine.factory")  # these talk to a server or a disk
IMPURE = {"time", "datetime", "socket", "select", "threading", "os", "random", "uuid"}


LOGGERS = {"rplx", "rplx.client"}  # names of loggers of the standard library, no imports


def name_of(path: Path) -> str:
    """`rplx/engine/history.py` -> `rplx.engine.history`, `rplx/engine/__init__.py` -> `rplx.engine`."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def room_of(module: str) -> str:
    """`rplx.engine.history` -> `engine`, `rplx` -> ``."""
    return module.split(".")[1] if "." in module else ""


def imported(tree: ast.AST) -> Iterator[str]:
    """The names of all modules that a source imports, in any of the forms; `from rplx import log` is `rplx.log`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used"
            assert node.module is not None
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [name if name in SOURCES else node.module for name in inner]
        elif isinstance(node, ast.Constant) and node.value in SOURCES and node.value not in LOGGERS:
            yield str(node.value)


@cache
def imports(module: str) -> frozenset[str]:
    """All modules, ours and others', that a module of ours imports."""
    return frozenset(imported(ast.parse(SOURCES[module].read_text()))) - {module}


def ours(module: str) -> set[str]:
    """Those of our modules that a module imports."""
    return {name for name in imports(module) if name in SOURCES}


def wrong_arrows(module: str, found: set[str]) -> set[str]:
    """Those of `found` that lie in rooms which the module's own room may not import."""
    own = room_of(module)
    return {name for name in found if room_of(name) not in ROOMS[own] | {own}}


def packages(module: str) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


@pytest.mark.parametrize("module", SOURCES)
def test_a_room_imports_what_the_table_says(module: str) -> None:
    assert not wrong_arrows(module, ours(module))


@pytest.mark.parametrize(
    "text",
    [
        "from rplx.serving.server import Server",
        "import rplx.serving.server",
        "from rplx.serving import server",
        "def late():\n    from rplx.serving.server import Server",
        "def late():\n    import importlib\n    return importlib.import_module('rplx.serving.server')",
        "import sys\nfound = sys.modules.get('rplx.serving.server')",
        "if TYPE_CHECKING:\n    from rplx.serving.server import Server",
    ],
)
def test_an_import_in_the_wrong_place_is_seen_in_each_form(text: str) -> None:
    found = set(imported(ast.parse(text))) & SOURCES.keys()
    assert wrong_arrows("rplx.hub.hub", found) == {"rplx.serving.server"}


def names_from_doors(tree: ast.AST) -> set[str]:
    """What a source takes from a door: whole doors as `rplx.wsgi`, names of the package itself as `publish`."""
    names = set(imported(tree)) & DOORS - {"rplx"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "rplx":
            names |= {alias.name for alias in node.names if f"rplx.{alias.name}" not in SOURCES}
        elif isinstance(node, ast.Import):
            names |= {"rplx"} & {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("module", SOURCES)
def test_nobody_inside_imports_a_door(module: str) -> None:
    assert not names_from_doors(ast.parse(SOURCES[module].read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "from rplx import publish",
        "import rplx",
        "from rplx import runtime",
        "from rplx.runtime import serve",
        "import rplx.wsgi",
        "from rplx.gunicorn import *",
        "def late():\n    import sys\n    return sys.modules['rplx.runtime']",
    ],
)
def test_a_door_that_is_imported_inside_is_seen_in_each_form(text: str) -> None:
    assert names_from_doors(ast.parse(text))


@pytest.mark.parametrize("door", sorted(DOORS))
def test_a_door_hands_on(door: str) -> None:
    assert len(SOURCES[door].read_text().splitlines()) <= DOOR_LINES_MAX


def test_the_table_names_the_rooms_that_there_are() -> None:
    assert ROOMS.keys() == {room_of(module) for module in SOURCES}


def test_the_table_names_no_arrow_that_is_not_there() -> None:
    used: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module in SOURCES:
        used[room_of(module)] |= {room_of(name) for name in ours(module)}
    unused = {room: rooms - used[room] - GROUND for room, rooms in ROOMS.items()}
    assert {room: rooms for room, rooms in unused.items() if rooms} == {}


def test_the_table_has_no_circle() -> None:
    order = TopologicalSorter({room: rooms - {room} for room, rooms in ROOMS.items()})
    order.prepare()


def test_modules_make_no_circle() -> None:
    try:
        TopologicalSorter({module: ours(module) for module in SOURCES}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def longest_chain(below: Mapping[str, set[str]]) -> list[str]:
    """Returns the longest way down from one to another of those that it imports."""

    @cache
    def chain(name: str) -> list[str]:
        return [name, *max(map(chain, sorted(below[name])), key=len, default=[])]

    return max(map(chain, below), key=len)


def test_the_house_has_few_floors() -> None:
    modules = {module: ours(module) for module in SOURCES}
    rooms: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module in SOURCES:
        own = room_of(module)
        rooms[own] |= set(map(room_of, ours(module))) - {own}
    for below, at_most in ((modules, FLOORS_MAX), (rooms, ROOM_FLOORS_MAX)):
        chain = longest_chain(below)
        assert len(chain) <= at_most, " -> ".join(chain)


@pytest.mark.parametrize("module", [module for module in SOURCES if room_of(module) in WITHOUT_GEVENT])
def test_has_no_gevent(module: str) -> None:
    assert not packages(module) & {"gevent", "greenlet"}


@pytest.mark.parametrize(
    "module",
    [module for module in SOURCES if room_of(module) in PURE and not module.startswith(NOT_PURE)],
)
def test_pure_rooms_read_no_clock_and_no_socket(module: str) -> None:
    assert not packages(module) & (IMPURE | {"gevent", "greenlet"})


@pytest.mark.parametrize("module", [module for module in SOURCES if room_of(module) == "client"])
def test_the_client_needs_the_standard_library_alone(module: str) -> None:
    """What is awaited has an extra of its own."""
    extra = {"anyio", "httpx"} if module.startswith("rplx.client.async_") else set()
    assert packages(module) <= set(sys.stdlib_module_names) | {"rplx"} | extra


@pytest.mark.parametrize("module", ["rplx", "rplx.client", "rplx.cli.command", "rplx.options.reading"])
def test_what_is_loaded_by(module: str) -> None:
    """As Python tells it, not the source: neither the command line nor a client waits for gevent to be loaded."""
    late = {"gevent", "greenlet", "redis", "passlib", "httpx", "anyio", "asyncio"}
    code = f"import sys, {module}; print(sorted(set(sys.modules) & {late}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_a_supervisor_loads_makes_no_loop() -> None:
    """Its children could not share one."""
    code = (
        "import importlib; from rplx.serving import daemon;"
        " [importlib.import_module(name) for name in daemon.BEFORE_FORKS]"
    )
    asked = "from gevent._hub_local import get_hub_if_exists; print(get_hub_if_exists())"
    done = subprocess.run([sys.executable, "-c", f"{code}; {asked}"], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_all_is_loaded_before_anybody_can_connect() -> None:
    """The line in the log is written when the socket is bound."""
    code = (
        "import sys; from rplx.serving import daemon; from rplx.options.table import Config\n"
        "def bind(*_, **__): print('rplx.serving.server' in sys.modules); raise SystemExit\n"
        "daemon.bind = bind; daemon.serve(Config)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "True"
