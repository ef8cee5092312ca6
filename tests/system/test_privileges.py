"""`rplx serve` drops what it needed to bind, for good: ids, groups, capabilities."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lines.wire import Wire, blocks
from tests.live import LiveServer

as_root = pytest.mark.skipif(os.getuid() != 0, reason="drops privileges, so it has to have some")

# A hook runs in the server's process: the message is shown only if nothing of root can be had back.
HOOK = """
import ctypes, os, socket

def bind_low_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 1))

ATTEMPTS = [
    lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0),
    lambda: os.setegid(0), lambda: os.setresgid(0, 0, 0), lambda: os.setgroups([0]), lambda: os.chroot("/"),
    lambda: os.chown("/", 0, 0), lambda: open("/etc/shadow").close(),
]
if int(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read()) > 1:
    ATTEMPTS.append(bind_low_port)

def is_refused(attempt):
    try:
        attempt()
    except PermissionError:
        return True
    return False

def all_refused(id, listener_ids, cursor, data):
    return all([is_refused(attempt) for attempt in ATTEMPTS])
"""


@pytest.fixture
def hooks() -> Iterator[str]:
    """A shell command that lets a server find the hook."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own may be read by its user alone, not by nobody
        Path(folder).chmod(0o755)
        (Path(folder) / "attempts.py").write_text(HOOK)
        yield f"export PYTHONPATH={folder}:"


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def check(server: LiveServer, uid: int) -> None:
    wire = Wire(server)
    wire.send("5:a", "1")
    assert wire.poll("1:a") == blocks(({"a": "5"}, "1"))
    status = status_of(server.process.pid)
    assert status["Uid"].split() == [str(uid)] * 4
    gids = status["Gid"].split()
    assert len(set(gids)) == 1
    assert "0" not in gids + status["Groups"].split()
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, name


@as_root
def test_from_root(hooks: str) -> None:
    options = ("--set", "server.user=nobody", "--set", "hooks.check_visibility=attempts:all_refused")
    with LiveServer(*options, shell=hooks) as server:
        server.wait_for('Switching current user to unprivileged "nobody"$')
        check(server, pwd.getpwnam("nobody").pw_uid)


@as_root
def test_the_hook_would_show_it(hooks: str) -> None:
    """Where nothing is dropped the attempts succeed, so the message stays hidden."""
    with LiveServer("--set", "hooks.check_visibility=attempts:all_refused", shell=hooks) as server:
        wire = Wire(server)
        wire.send("5:a", "1")
        assert wire.poll("1:a") == b""


SETPRIV = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+net_bind_service",
    "--ambient-caps=+net_bind_service",
    sys.executable,
)


def _nobody_runs_python() -> bool:
    if os.getuid() != 0 or shutil.which(SETPRIV[0]) is None:
        return False
    return (
        subprocess.run([*SETPRIV, "-c", "import rplx.serving.server"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not _nobody_runs_python(), reason="needs root, setpriv, and a Python that nobody may run")
def test_the_capability_to_bind_a_low_port(hooks: str) -> None:
    """As systemd gives it to a service that is not root: given up once the ports are bound."""
    program = ("-c", f"import os, sys; os.execvp('setpriv', [*{SETPRIV!r}, '-m', 'rplx', *sys.argv[1:]])")
    with LiveServer("--set", "hooks.check_visibility=attempts:all_refused", shell=hooks, program=program) as server:
        check(server, 65534)


def test_as_any_user_nothing_is_left() -> None:
    with LiveServer() as server:
        Wire(server).send("5:a", "1")
        status = status_of(server.process.pid)
    if os.getuid() != 0:
        assert not re.search("[1-9a-f]", status["CapPrm"] + status["CapEff"] + status["CapAmb"])
