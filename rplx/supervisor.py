"""Keeps a serving process alive: starts it, starts it again when it dies, asks for it or grows too large."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Protocol

from rplx import process
from rplx.errors import ConfigError
from rplx.log import Log
from rplx.options import Config

Loader = Callable[[], tuple[Config, list[str]]]

LOOK_EVERY = 1.0  # seconds between two looks at the child's memory
DELAY_MAX = 30.0  # seconds before a child that keeps dying is started again; the delay doubles from one second on
YOUNG = 10.0  # seconds: a child that dies younger is started again with a delay
END_TIMEOUT = 5.0  # seconds beyond the drain that a child may take to end

EXIT_RESTART = 64  # a child's exit status that asks to be started again

_HANDLED = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}


class Serve(Protocol):
    """Serves in the process that calls it and gives the exit status."""

    def __call__(
        self, config: Config, load: Loader, sockets: process.Sockets, log: Log, *, supervised: bool
    ) -> int: ...


class Supervisor:
    """Holds the listening sockets, so that nobody is refused while the child is replaced."""

    def __init__(self, load: Loader, config: Config, sockets: process.Sockets, log: Log, serve: Serve) -> None:
        self._load = load
        self._config = config
        self._sockets = sockets
        self._log = log
        self._serve = serve
        self._child = 0
        self._started = 0.0
        self._delay = 0.0
        self._ending = False
        self._kill_at = 0.0

    def run(self) -> int:
        """Supervises until a signal ends it; gives the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        self._start()
        status: int | None = None
        while status is None:
            caught = signal.sigtimedwait(_HANDLED, LOOK_EVERY)
            if caught is not None and caught.si_signo != signal.SIGCHLD:
                self._pass_on(signal.Signals(caught.si_signo))
            status = self._reap()
            if status is None:
                self._look()
        return status

    def _start(self) -> None:
        self._log.flush()
        self._started = time.monotonic()
        self._kill_at = 0.0
        parent = os.getpid()
        self._child = os.fork()
        if self._child:
            return
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            process.die_with_parent(parent)
            log = Log(self._config.log.verbosity, self._config.log.connections)
            try:
                status = self._serve(self._config, self._load, self._sockets, log, supervised=True)
            except ConfigError as error:
                for problem in error.problems:
                    log.error(problem)
            log.flush()
        finally:
            sys.stdout.flush()
            os._exit(status)

    def _pass_on(self, caught: signal.Signals) -> None:
        if caught in (signal.SIGINT, signal.SIGTERM):
            self._ending = True
            self._kill_at = time.monotonic() + self._config.server.drain + END_TIMEOUT
        if self._child:
            os.kill(self._child, caught)

    def _reap(self) -> int | None:
        """What to exit with if the child has ended and shall not be started again."""
        if not self._child:
            if self._ending:
                return 0
            self._restart_when_due()
            return None
        pid, status = os.waitpid(self._child, os.WNOHANG)
        if not pid:
            return None
        self._child = 0
        code = os.waitstatus_to_exitcode(status)
        if self._ending:
            return max(code, 0)
        if code == EXIT_RESTART:
            self._delay = 0.0
            self._take_new_config()
        else:
            self._log.message("Normally terminated." if code == 0 else f"The server ended with status {code}.")
            young = time.monotonic() - self._started < YOUNG
            self._delay = min(max(1.0, self._delay * 2), DELAY_MAX) if young and code else 0.0
            if self._delay:
                self._log.message(f"Starting it again in {self._delay:g} s")
        self._restart_when_due()
        return None

    def _restart_when_due(self) -> None:
        if time.monotonic() >= self._started + self._delay:
            self._start()

    def _take_new_config(self) -> None:
        """The options that cannot change while serving; sockets are bound anew where addresses differ."""
        from rplx.daemon import bind

        try:
            config, _ = self._load()
            if (config.wait.listen, config.in_.listen) != (self._config.wait.listen, self._config.in_.listen):
                self._sockets.close()
                self._sockets = bind(config, self._log)
            self._config = config
        except ConfigError as error:
            for problem in error.problems:
                self._log.error(problem)
            self._sockets = bind(self._config, self._log)

    def _look(self) -> None:
        """Ends a child that is too large, and for good one that does not end."""
        now = time.monotonic()
        if not self._child:
            return
        if self._kill_at:
            if now > self._kill_at:
                os.kill(self._child, signal.SIGKILL)
            return
        limit = self._config.server.max_mem_mb
        used = process.resident_mb(self._child) if limit else 0
        if used > limit:
            self._log.message(f"Daemon process uses {used} MB of memory which is larger than {limit} MB. Killing...")
            os.kill(self._child, signal.SIGTERM)
            self._kill_at = now + self._config.server.drain + END_TIMEOUT
