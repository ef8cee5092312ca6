"""Every name under which rplx is used works from an installed wheel as from a checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import ROOT, Checkout
from tests.hosts.http import ask, get, messages, send
from tests.hosts.servers import LISTENING_AT, PYWSGI, Server

NO_PATH = {"PYTHONPATH": ""}  # which would lead to the checkout
SITE = """
from rplx import publish
from rplx.wsgi import RealplexorMiddleware

def site(environ, start_response):
    body = str(publish({"abc": 7}, "from the site")).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

application = RealplexorMiddleware(site, "/rpl")
"""
CLIENT = """
import sys
from rplx.client import Realplexor
print(Realplexor("127.0.0.1", int(sys.argv[1])).send({"abc": 8}, "by the client"))
"""


@pytest.fixture(scope="module", params=["wheel", "checkout"])
def programs(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder of the programs of an environment in which rplx is installed in this way."""
    if request.param == "wheel":
        checkout: Checkout = request.getfixturevalue("checkout")
        yield checkout.installed
    else:
        yield Path(sys.executable).parent


def run(programs: Path, folder: Path, *command: str) -> str:
    """What a command prints, which is run in an empty folder."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("RPLX_", "PYTHONPATH"))}
    done = subprocess.run(
        [str(programs / command[0]), *command[1:]], cwd=folder, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def child(programs: Path, folder: Path, *command: str, wait: str = r"WAIT: listening (\S+):(\d+)") -> Server:
    return Server([str(programs / command[0]), *command[1:]], NO_PATH, wait=wait, cwd=folder)


def gunicorn(programs: Path, folder: Path, *arguments: str) -> Server:
    command = ("python", "-m", "gunicorn", "-b", "127.0.0.1:0", "--no-control-socket", *arguments)
    return child(programs, folder, *command, wait=LISTENING_AT)


def serves_both_lines(server: Server) -> None:
    assert server.wait is not None
    assert server.in_ is not None
    assert send(server.in_, "5:abc", b'"by IN"') == {"abc": "5"}
    assert messages(ask(server.wait, get("/?identifier=1:abc")).body) == ["by IN"]


def test_where_rplx_is_found(programs: Path, tmp_path: Path) -> None:
    """Else the other tests would show nothing."""
    found = Path(run(programs, tmp_path, "python", "-c", "import rplx; print(rplx.__file__)").strip())
    assert found.is_relative_to(ROOT / "rplx") == (programs == Path(sys.executable).parent)
    assert found.is_relative_to(programs.parent) or found.is_relative_to(ROOT)


def test_the_command(programs: Path, tmp_path: Path) -> None:
    with child(programs, tmp_path, "rplx", "serve", "--wait", "127.0.0.1:0", "--in", "127.0.0.1:0") as server:
        serves_both_lines(server)
        assert server.wait is not None
        page = ask(server.wait, get("/?identifier=IFRAME"))
        assert page.status == "200 OK"
    assert run(programs, tmp_path, "rplx", "--version") == run(programs, tmp_path, "python", "-m", "rplx", "--version")


def test_the_old_command(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "old.conf").write_text('%CONFIG = (WAIT_ADDR => ["127.0.0.1:0"], IN_ADDR => ["127.0.0.1:0"]);\n')
    with child(programs, tmp_path, "dklab_realplexor", str(tmp_path / "old.conf")) as server:
        serves_both_lines(server)


@pytest.mark.parametrize("imported", ["", "from rplx.gunicorn import *\n"])
def test_under_gunicorn(programs: Path, imported: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(imported)
    hooks = str(tmp_path / "own.py") if imported else "python:rplx.gunicorn"
    with gunicorn(programs, tmp_path, "-c", hooks, "rplx.wsgi:application") as server:
        serves_both_lines(server)


def test_the_middleware_and_publish(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "site_with_it.py").write_text(SITE)
    with gunicorn(programs, tmp_path, "-c", "python:rplx.gunicorn", "site_with_it:application") as server:
        assert server.wait is not None
        assert ask(server.wait, get("/")).body == b"{'abc': '7'}"
        assert messages(ask(server.wait, get("/rpl?identifier=1:abc")).body) == ["from the site"]


def test_the_runtime_and_the_client(programs: Path, tmp_path: Path) -> None:
    with child(programs, tmp_path, "python", "-c", PYWSGI) as server:
        serves_both_lines(server)
        assert server.in_ is not None
        assert run(programs, tmp_path, "python", "-c", CLIENT, str(server.in_[1])) == "{'abc': '8'}\n"
        assert server.wait is not None
        assert messages(ask(server.wait, get("/?identifier=7:abc")).body) == ["by the client"]


def test_a_wheel_has_all_files_of_the_package(checkout: Checkout) -> None:
    """Modules of every room, and what they read: scripts for Redis, sources in C."""
    package = checkout.installed.parent / "lib"
    (installed,) = package.glob("python*/site-packages/rplx")
    ours = {str(path.relative_to(ROOT / "rplx")) for path in (ROOT / "rplx").rglob("*") if path.is_file()}
    there = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    missing = {name for name in ours - there if not re.search(r"__pycache__|\.pyc$", name)}
    assert missing == set()
