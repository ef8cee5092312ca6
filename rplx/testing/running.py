"""A real server for a test: its own process, on ports that the system chose."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rplx.client import Realplexor

START_TIMEOUT = 60.0  # seconds
STOP_TIMEOUT = 10.0
_LISTENS = re.compile(r"\b(WAIT|IN): listening (\S+):(\d+)$")


class Server(NamedTuple):
    """A running server. `url` is for listeners: its WAIT line; `host` and `port` are those of its IN line."""

    url: str
    host: str
    port: int

    def client(self, **arguments: Any) -> Realplexor:
        """Returns a client that sends to it. `arguments`: as for Realplexor."""
        return Realplexor(self.host, self.port, **arguments)

    @property
    def environ(self) -> dict[str, str]:
        """What `rplx.publish` needs in the environment to send to it."""
        return {"RPLX_IN": f"{self.host}:{self.port}"}


@contextlib.contextmanager
def server(options: Mapping[str, object] | None = None) -> Iterator[Server]:
    """Runs `rplx serve` while the block runs. `options`: such as {"history.max_messages": 5}.

    `rplx.publish` of this process sends to it meanwhile, if it serves no polls itself. Raises RuntimeError with what
    the server has said if it does not start within START_TIMEOUT.
    """
    given = [word for name, value in (options or {}).items() for word in ("--set", f"{name}={_text(value)}")]
    command = [sys.executable, "-m", "rplx", "serve", "--wait", "127.0.0.1:0", "--in", "127.0.0.1:0", *given]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RPLX_")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ)
    try:
        started = _started(process)
        before = os.environ.get("RPLX_IN")
        os.environ.update(started.environ)
        try:
            yield started
        finally:
            _restore("RPLX_IN", before)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _started(process: subprocess.Popen[str]) -> Server:
    """Reads what a server says until it listens on both lines, and throws away the rest behind the test's back."""
    assert process.stdout is not None
    timer = threading.Timer(START_TIMEOUT, process.kill)
    timer.start()
    said: list[str] = []
    found: dict[str, tuple[str, int]] = {}
    for line in process.stdout:
        said.append(line)
        if match := _LISTENS.search(line):
            found[match[1]] = match[2], int(match[3])
        if len(found) == 2:
            break
    timer.cancel()
    if len(found) < 2:
        raise RuntimeError("rplx serve did not start: " + "".join(said))
    threading.Thread(target=deque, args=(process.stdout, 0), daemon=True).start()
    return Server("http://{}:{}/".format(*found["WAIT"]), *found["IN"])
