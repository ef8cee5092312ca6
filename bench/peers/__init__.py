"""What a user would pick instead of rplx, each with the least configuration that does the same work."""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import os
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from string import Template

from rplx.bench.servers import LISTENING, Target, running

NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")  # where Debian's libnginx-mod-nchan puts it
NCHAN_ASK = "GET /{}?id=%c HTTP/1.1\\r\\nHost: x\\r\\n{}\\r\\n"
NCHAN_POLLS = {
    "close": NCHAN_ASK.format("sub", "Connection: close\\r\\n"),
    "keepalive": NCHAN_ASK.format("sub", ""),
    "stream": NCHAN_ASK.format("events", "Accept: text/event-stream\\r\\n"),
    "websocket": NCHAN_ASK.format(
        "socket",
        "Connection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n",
    ),
}
NCHAN_SEND = (
    "POST /pub?id=%c HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: text/json\\r\\nContent-Length: %l\\r\\n"
    'Connection: close\\r\\n\\r\\n"%m"'
)
ROOT = Path(__file__).resolve().parent.parent.parent


class Missing(Exception):
    """A peer is not installed here; the text says what to install."""


@contextlib.contextmanager
def started_nchan() -> Iterator[Target]:
    """nginx with nchan, one worker. Raises Missing."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None or not NCHAN_MODULE.exists():
        raise Missing("nginx with nchan (Debian: nginx libnginx-mod-nchan)")
    with tempfile.TemporaryDirectory(prefix="rplx-nchan-") as directory:
        port = _free_port()
        values = {
            "DIRECTORY": directory, "PORT": str(port), "MODULE": str(NCHAN_MODULE), "USER": getpass.getuser(),
            "FILES": str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        }  # fmt: skip
        config = Path(directory, "nginx.conf")
        config.write_text(Template(Path(__file__).with_name("nginx.conf").read_text()).safe_substitute(values))
        command = [nginx, "-p", directory, "-e", "stderr", "-c", str(config)]
        with running(command, [r"start worker process (\d+)"]) as (pid, (worker,)):
            address = f"127.0.0.1:{port}"
            yield Target(
                "nginx + nchan", address, address, pid, int(worker), NCHAN_POLLS, NCHAN_SEND,
                answers_head=False, half_close=False,
            )  # fmt: skip


@contextlib.contextmanager
def _started_python(name: str, module: str) -> Iterator[Target]:
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    with running([sys.executable, "-m", module], LISTENING, environ) as (pid, (wait, in_)):
        yield Target(name, wait, in_, pid, pid, answers_head=False, half_close=False)


@contextlib.contextmanager
def started_tornado() -> Iterator[Target]:
    """Raises Missing."""
    if importlib.util.find_spec("tornado") is None:
        raise Missing("Tornado (pip install tornado)")
    with _started_python("Tornado", "bench.peers.tornado_server") as target:
        yield target


@contextlib.contextmanager
def started_pywsgi() -> Iterator[Target]:
    with _started_python("gevent.pywsgi", "bench.peers.pywsgi_server") as target:
        yield target


def _free_port() -> int:
    """A port that is free now; nginx does not tell which one it got for port 0."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
