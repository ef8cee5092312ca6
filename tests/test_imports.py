"""Who may import whom: arrows point one way. Read from the sources, so an import in a function counts too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import rplx

ROOT = Path(rplx.__file__).parent

# A room is a module or a package of ours. These may import of ours what stands behind them, and nothing else.
ONLY: dict[str, set[str]] = {
    "errors": set(),
    "addresses": set(),
    "messages": set(),
    "checks": set(),
    "options": {"checks"},
    "protocol": {"errors", "messages"},
    "engine": {"addresses", "errors", "messages", "options"},
    "system_crypt": set(),
    "users": {"errors", "messages", "system_crypt"},
    "standard_streams": set(),
    "log": {"standard_streams"},
    "toml_lines": set(),
    "origins": set(),
    "perl_tokens": set(),
    "perl_values": {"perl_tokens"},
    "perl_expressions": {"perl_tokens", "perl_values"},
    "perl_assignments": {"perl_expressions", "perl_tokens", "perl_values"},
    "perl_config": {"perl_assignments", "perl_tokens", "perl_values"},
    "config_text": {"options"},
    "config": {"errors", "checks", "options", "config_text", "toml_lines"},
    "legacy_names": {"config", "options", "perl_config"},
    "turns": set(),
    "visibility": {"messages", "log"},
    "channel_sets": {"engine", "messages"},
    "delivery": {"channel_sets", "engine", "log", "messages", "protocol", "turns", "visibility"},
    "listings": {"engine", "messages"},
    "shared_bodies": {"messages"},
    "hub": {
        "channel_sets",
        "delivery",
        "engine",
        "errors",
        "listings",
        "log",
        "messages",
        "protocol",
        "shared_bodies",
        "turns",
        "visibility",
    },
    "client": {""},  # the version
}
WITHOUT_GEVENT = set(ONLY) - {"hub", "channel_sets", "delivery", "turns", "visibility", "log"} | {
    "cli",
    "cli_client",
    "legacy",
    "environment",
}
ELSEWHERE = "rplx.engine.redis"  # talks to a server, so it waits and has a clock: part of the engine, but not pure
WIRING = {"server", "daemon", "supervisor", "runtime", "gunicorn", "middleware", "legacy", "cli", "cli_client"}
LINES = {"wsgi", "wait_server", "in_server"}
# These may import what they like but the rooms behind them.
NEVER: dict[str, set[str]] = {
    "wsgi": WIRING | LINES - {"wsgi"},
    "wait_server": WIRING | LINES - {"wait_server"},
    "in_server": WIRING | LINES - {"in_server"},
    "pages": WIRING | LINES | {"hub"},
    "engines": WIRING | LINES | {"hub"},
    "process": WIRING | LINES | {"hub"},
    "cli_client": (WIRING | LINES | {"hub", "engine", "engines"}) - {"cli_client"},
}


def room_of(module: str) -> str:
    """The room of a dotted module name: `rplx.engine.history` -> `engine`, `rplx` -> ``."""
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
    """Those of our modules that a module imports as it is loaded: not inside functions or `if TYPE_CHECKING`."""
    found: set[str] = set()
    for node in ast.parse(SOURCES[module].read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & SOURCES.keys()
            found |= inner or {node.module}
    return found & SOURCES.keys()


def in_rooms(rooms: Iterable[str]) -> list[str]:
    """The pure modules of these rooms."""
    return [module for module in SOURCES if room_of(module) in rooms and not module.startswith(ELSEWHERE)]


def packages(module: str) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


@pytest.mark.parametrize("module", [module for module in SOURCES if room_of(module) in ONLY])
def test_may_import_only(module: str) -> None:
    assert ours(module) <= ONLY[room_of(module)]


@pytest.mark.parametrize("module", [module for module in SOURCES if room_of(module) in NEVER])
def test_never_imports(module: str) -> None:
    assert not ours(module) & NEVER[room_of(module)]


def test_every_room_named_here_exists() -> None:
    assert {*ONLY, *NEVER} <= {room_of(module) for module in SOURCES}


@pytest.mark.parametrize("module", in_rooms(WITHOUT_GEVENT))
def test_has_no_gevent(module: str) -> None:
    assert not packages(module) & {"gevent", "greenlet"}


@pytest.mark.parametrize("module", in_rooms(("protocol", "engine", "messages", "errors")))
def test_pure_rooms_read_no_clock_and_no_socket(module: str) -> None:
    assert not packages(module) & {"time", "datetime", "socket", "select", "threading", "os", "random", "uuid"}


@pytest.mark.parametrize("module", in_rooms(("client",)))
def test_the_client_needs_the_standard_library_alone(module: str) -> None:
    assert packages(module) <= set(sys.stdlib_module_names) | {"rplx"}


def test_nobody_imports_the_command() -> None:
    assert [module for module in SOURCES if "cli" in ours(module)] == ["rplx.__main__"]


def test_no_circle_as_modules_load() -> None:
    """An import inside a function may point to what is loaded later; loading itself makes no circle."""
    loading = {module: at_start(module) for module in SOURCES}
    done: set[str] = set()

    def reach(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module in done:
            return
        for name in loading[module]:
            reach(name, (*path, module))
        done.add(module)

    for module in SOURCES:
        reach(module, ())


@pytest.mark.parametrize("module", ["rplx", "rplx.client", "rplx.cli", "rplx.config"])
def test_what_is_loaded_by(module: str) -> None:
    """As Python tells it, not the source: neither the command line nor a client waits for gevent to be loaded."""
    code = f"import sys, {module}; print(sorted(set(sys.modules) & {{'gevent', 'greenlet', 'redis', 'passlib'}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_a_supervisor_loads_makes_no_loop() -> None:
    """Its children could not share one."""
    code = "import importlib; from rplx import daemon; [importlib.import_module(name) for name in daemon.BEFORE_FORKS]"
    asked = "from gevent._hub_local import get_hub_if_exists; print(get_hub_if_exists())"
    done = subprocess.run([sys.executable, "-c", f"{code}; {asked}"], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_all_is_loaded_before_anybody_can_connect() -> None:
    """The line in the log is written when the socket is bound."""
    code = (
        "import sys; from rplx import daemon, process; from rplx.options import Config\n"
        "def bind(*_, **__): print('rplx.server' in sys.modules); raise SystemExit\n"
        "daemon.bind = bind; daemon.serve(Config)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "True"
