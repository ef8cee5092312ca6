"""The servers that the WAIT line runs in, each as a child process on ports that the kernel chose."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.child import Child

ROOT = Path(__file__).resolve().parent.parent.parent

PYWSGI = """
from gevent import monkey; monkey.patch_all()
from gevent.pywsgi import WSGIServer
from rplx import runtime
from rplx.wsgi import application
runtime.serve().start_in()
server = WSGIServer(("127.0.0.1", 0), application, backlog=1024, log=None)  # 400 connect at once
server.start()
print(f"WAIT: listening 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


class Server(Child):
    """A server with both lines; `wait` and `in_` are (host, port), as its log tells them where these patterns are."""

    def __init__(
        self,
        command: list[str],
        options: dict[str, str] | None = None,
        *,
        wait: str | None = r"WAIT: listening (\S+):(\d+)",
        in_: str | None = r"IN: listening (\S+):(\d+)",
        cwd: Path = ROOT,
    ) -> None:
        given = {name: value for name, value in os.environ.items() if not name.startswith("RPLX_")}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environ = {**given, "PYTHONPATH": os.pathsep.join(paths), "RPLX_IN_LISTEN": "127.0.0.1:0", **(options or {})}
        super().__init__(command, environ, cwd)
        self.in_ = self.bound(in_) if in_ else None
        self.wait = self.bound(wait) if wait else None


def rplx_serve(options: dict[str, str] | None = None) -> Server:
    command = [sys.executable, "-m", "rplx", "serve", "--wait", "127.0.0.1:0", "--in", "127.0.0.1:0"]
    return Server(command, options)


def gunicorn_command(*arguments: str, application: str = "rplx.wsgi:application") -> list[str]:
    own = ["-b", "127.0.0.1:0", "--no-control-socket"]
    # The script, not -m: with -m a new master (SIGUSR2) would find gunicorn's own modules in place of Python's.
    return [sys.executable, str(Path(sys.executable).with_name("gunicorn")), *own, *arguments, application]


HOOKS = ("-c", "python:rplx.gunicorn")
LISTENING_AT = r"Listening at: http://(\S+):(\d+)"


def gunicorn(
    *arguments: str,
    options: dict[str, str] | None = None,
    application: str = "rplx.wsgi:application",
    in_: str | None = r"IN: listening (\S+):(\d+)",
    cwd: Path = ROOT,
) -> Server:
    """gunicorn with these arguments, such as *HOOKS; ready once a worker runs."""
    command = gunicorn_command(*arguments, application=application)
    child = Server(command, options, wait=LISTENING_AT, in_=in_, cwd=cwd)
    child.wait_for("Booting worker")
    return child


def pywsgi(options: dict[str, str] | None = None) -> Server:
    return Server([sys.executable, "-c", PYWSGI], options)
