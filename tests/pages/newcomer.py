"""Somebody who types what a page says, in an empty folder and a fresh virtual environment.

What is put in place of what stands there: ports that are free here (and the server at one of them for
`https://rpl.example.com/`), and for the checkout `/path/to/rplx` the wheel of this session, since building it again and
again would take long and give the same.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.checkout import PLACE, Checkout, environ_without_ours
from tests.redis_server import free_port
from tests.waiting import accepts, eventually

TIMEOUT = 150.0  # seconds for one command, which may install much, and for a server to be there
PORTS = ("8088", "10010", "8000", "6379")
SERVER = "https://rpl.example.com/"
_PORT = re.compile(r"(?<![\d.])(?:%s)(?!\d)" % "|".join(PORTS))


class Newcomer:
    """`folder` is where the commands are typed; `port` gives the free port in place of the one on the page."""

    def __init__(self, checkout: Checkout, folder: Path) -> None:
        self.checkout = checkout
        self.folder = folder
        self._ports = {port: free_port() for port in PORTS}
        self._servers: list[subprocess.Popen[bytes]] = []
        wait, in_ = (f"127.0.0.1:{self.port(port)}" for port in (8088, 10010))
        self.environ = {
            **checkout.environ,
            "RPLX_WAIT_LISTEN": wait,  # a page that names no port means these
            "RPLX_IN_LISTEN": in_,
            "RPLX_IN": in_,
            "RPLX_WAIT": f"http://{wait}/",
            "GUNICORN_CMD_ARGS": "--no-control-socket",  # it has one place in a user's home
            "PYTHONUNBUFFERED": "1",
            "RPLX_SERVER_DRAIN": "0.2",  # what a stopping server takes is no matter here
        }

    def port(self, number: int) -> int:
        return self._ports[str(number)]

    def address(self, number: int) -> tuple[str, int]:
        return "127.0.0.1", self.port(number)

    def place(self, number: int, port: int) -> None:
        """This port is the page's `number`."""
        self._ports[str(number)] = port

    def here(self, text: str) -> str:
        """What a page says, with the ports of this place."""
        text = text.replace(PLACE, str(self.checkout.folder)).replace("0.0.0.0:", "127.0.0.1:")
        text = text.replace(SERVER, f"http://127.0.0.1:{self.port(8088)}/")
        return _PORT.sub(lambda match: str(self._ports[match[0]]), text)

    def install(self, commands: str) -> None:
        """Types what makes an environment, and is in it from now on."""
        self.use(self.checkout.environment(commands))

    def use(self, programs: Path) -> None:
        assert programs.is_dir(), f"no environment {programs}"
        self.environ["PATH"] = f"{programs}:{environ_without_ours()['PATH']}"

    def install_more(self, command: str) -> None:
        """Types a `pip install` in the environment that is in use."""
        self.run(command.replace(PLACE, str(self.checkout.wheel)))

    def run(self, commands: str, **more: str) -> str:
        """What these commands print, with `more` in their environment."""
        done = self._popen(commands, more, subprocess.PIPE)
        try:
            out, _ = done.communicate(timeout=TIMEOUT)
        finally:
            end(done)
        assert done.returncode == 0, f"{commands}\n{out.decode()}"
        return out.decode()

    def python(self, program: str) -> str:
        (self.folder / "typed.py").write_text(self.here(program))
        return self.run("python typed.py")

    def start(self, commands: str, port: int, **more: str) -> Path:
        """Begins commands that stay, and waits for the port on the page; gives the file of their output."""
        output = self.begin(commands, **more)
        process = self._servers[-1]
        until(lambda: accepts(self.address(port)) or process.poll() is not None, output)
        assert process.poll() is None, output.read_text()
        return output

    def begin(self, commands: str, **more: str) -> Path:
        """Begins commands that stay; gives the file of their output."""
        output = self.folder / f"output{len(self._servers)}"
        with output.open("wb") as file:
            process = self._popen(commands, more, file.fileno())
        self._servers.append(process)
        return output

    def stop(self) -> None:
        """Ends what was started, the last first."""
        while self._servers:
            end(self._servers.pop())

    def _popen(self, commands: str, more: dict[str, str], output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-ec", self.here(commands)],
            cwd=self.folder,
            env={**self.environ, **more},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a command and what it has begun: they are a group of their own."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def until(what: Callable[[], bool], output: Path | None = None) -> None:
    """Waits until it is so; AssertionError with the output if it never is."""
    eventually(what, True, TIMEOUT, told=output.read_text if output else None)
