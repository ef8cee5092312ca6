"""The server's own machine: descriptors of its process, and settings of the kernel (docs/performance.md)."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rplx.cli.doctor.findings import Finding, note, untested, well, wrong

DESCRIPTORS_MIN = 4096
RESERVED = 500  # descriptors that are not for listeners
_LISTENING = "0A"  # the state of a socket in /proc/net/tcp
_ACCEPTING = 0x10000  # the flag of a socket that listens in /proc/net/unix


class Setting(NamedTuple):
    """A setting of the kernel: wrong below `least`, worth a note below `better`. `why` says what it bounds."""

    name: str
    least: int
    better: int
    why: str


SETTINGS = (
    Setting(
        "net.core.somaxconn", 1024, 4096, "connections that wait to be accepted, as all come at once after a restart"
    ),
    Setting("net.ipv4.tcp_max_syn_backlog", 128, 1024, "connections that are not yet established"),
    Setting("fs.file-max", 20_000, 100_000, "open files of all processes, each connection being one"),
)
PORTS = "net.ipv4.ip_local_port_range"


def is_here(host: str) -> bool:
    """Returns whether a name or an address is this machine's: a socket can be bound to it."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False
    for family, kind, _, _, address in found:
        with contextlib.suppress(OSError), socket.socket(family, kind) as bound:
            bound.bind(address)
            return True
    return False


def check(places: Iterable[int | str], proc: Path = Path("/proc")) -> Iterator[Finding]:
    """Yields all checks. `places` are ports, and paths of sockets, at which a line of the server may listen."""
    yield _descriptors(places, proc)
    for setting in SETTINGS:
        yield from _setting(setting, proc)
    with contextlib.suppress(OSError, ValueError):
        low, high = map(int, _read(proc, PORTS).split())
        text = f"a proxy on this machine holds {high - low + 1:,} connections to one address of rplx at most"
        say = note if high - low < 50_000 else well
        yield say(PORTS, f"{text}; for more name several in wait.listen, such as 127.0.0.1:8088 and 127.0.0.2:8088")


def _setting(setting: Setting, proc: Path) -> Iterator[Finding]:
    with contextlib.suppress(OSError, ValueError):
        value = int(_read(proc, setting.name))
        say = wrong if value < setting.least else note if value < setting.better else well
        yield say(setting.name, f"{value:,}: {setting.why}")


def _read(proc: Path, name: str) -> str:
    return (proc / "sys" / name.replace(".", "/")).read_text()


def _descriptors(places: Iterable[int | str], proc: Path) -> Finding:
    found = owner(places, proc)
    if found is None:
        return untested("descriptors", "the server's process is not found; as root, and with --in HOST:PORT, it may be")
    limits = (found / "limits").read_text()
    match = re.search(r"Max open files +(\d+)", limits)
    if match is None:
        return well("descriptors", "the server's process may have as many as it likes")
    limit = int(match[1])
    text = f"the server's process may have {limit:,} open, that is some {max(0, limit - RESERVED):,} browsers"
    return (wrong if limit < DESCRIPTORS_MIN else well)("descriptors", text)


def owner(places: Iterable[int | str], proc: Path = Path("/proc")) -> Path | None:
    """Returns the folder in /proc of a process that listens at one of these ports or paths, or None."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(frozenset(places), proc)}
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) in sockets:
                    return process
    return None


def _inodes(places: frozenset[int | str], proc: Path) -> Iterator[str]:
    """Yields the inodes of the sockets that listen at these ports and paths."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) in places:
                    yield fields[9]
    with contextlib.suppress(OSError):
        for line in (proc / "net" / "unix").read_text(errors="surrogateescape").splitlines()[1:]:
            fields = line.split(None, 7)
            if len(fields) == 8 and int(fields[3], 16) & _ACCEPTING and fields[7] in places:
                yield fields[6]
