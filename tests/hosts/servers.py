"""The servers that the WAIT line runs in, each as a child process on ports that the kernel chose."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent.parent
START_TIMEOUT = 20.0
STOP_TIMEOUT = 20.0

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


class Child:
    """A server as a child process; `log` is what it wrote so far, `wait` and `in_` are (host, port)."""

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
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ, cwd=cwd
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.in_ = self._bound(in_)
            self.wait = self._bound(wait)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line.rstrip("\n"))

    def _bound(self, pattern: str | None) -> tuple[str, int] | None:
        if pattern is None:
            return None
        match = self.wait_for(pattern)
        return match[1], int(match[2])

    def wait_for(self, pattern: str, timeout: float = START_TIMEOUT) -> re.Match[str]:
        """The first line that matches `pattern`; AssertionError with all lines if none comes."""
        deadline = time.monotonic() + timeout
        while True:
            for line in list(self.log):
                if match := re.search(pattern, line):
                    return match
            if time.monotonic() > deadline or (self.process.poll() is not None and not self._reader.is_alive()):
                raise AssertionError(f"no line like {pattern!r} in the log:\n" + "\n".join(self.log))
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the server; gives its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
        status = self.process.wait()
        self._reader.join(STOP_TIMEOUT)
        return status

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def rplx_serve(options: dict[str, str] | None = None) -> Child:
    command = [sys.executable, "-m", "rplx", "serve", "--wait", "127.0.0.1:0", "--in", "127.0.0.1:0"]
    return Child(command, options)


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
) -> Child:
    """gunicorn with these arguments, such as *HOOKS; ready once a worker runs."""
    command = gunicorn_command(*arguments, application=application)
    child = Child(command, options, wait=LISTENING_AT, in_=in_, cwd=cwd)
    child.wait_for("Booting worker")
    return child


def pywsgi(options: dict[str, str] | None = None) -> Child:
    return Child([sys.executable, "-c", PYWSGI], options)
