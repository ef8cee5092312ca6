"""Keeps serving processes alive: starts them, starts them again when they die, ask for it or grow too large."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Protocol

from rplx.errors import ConfigError
from rplx.log import Log
from rplx.net.listening import Sockets, show_address
from rplx.options.table import Config
from rplx.system.limits import resident_mb, starting
from rplx.system.service import notify, reloading
from rplx.system.signals import HANDLED_SIGNALS, TOO_LARGE_SIGNAL, die_with_parent

Loader = Callable[[], tuple[Config, list[str]]]

LOOK_EVERY = 1.0  # seconds between two looks at the workers' memory
READY_LOOK_EVERY = 0.02  # seconds between two looks at whether all serve, at the start
DELAY_MAX = 30.0  # seconds before a worker that keeps dying is started again; the delay doubles from one second on
YOUNG = 10.0  # seconds: a worker that dies younger is started again with a delay
END_TIMEOUT = 5.0  # seconds beyond the drain that a worker may take to end

EXIT_RESTART = 64  # a worker's exit status that asks to be started again

_HANDLED = {*HANDLED_SIGNALS, signal.SIGCHLD}


class Serve(Protocol):
    """Serves in the process that calls it and gives the exit status; `ready` is called once it serves."""

    def __call__(
        self,
        config: Config,
        load: Loader,
        sockets: Sockets,
        log: Log,
        *,
        ready: Callable[[], None],
        supervised: bool,
    ) -> int: ...


Bind = Callable[[Config, Log], list[Sockets]]


class Worker:
    """One serving process, or the place of one that has died. `sockets` outlive it."""

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets
        self.pid = 0  # 0: none runs
        self.started = 0.0
        self.delay = 0.0  # seconds that were waited, or are, before it is started again
        self.start_at = 0.0
        self.has_died = False
        self.kill_at = 0.0  # 0: it has not been told to end


class Supervisor:
    """Holds the listening sockets of every worker, so that nobody is refused while one is replaced."""

    def __init__(self, load: Loader, config: Config, log: Log, bind: Bind, serve: Serve) -> None:
        self._load = load
        self._config = config
        self._log = log
        self._bind = bind
        self._serve = serve
        self._workers = [Worker(sockets) for sockets in bind(config, log)]
        self._ready_from, self._ready_to = os.pipe()
        os.set_blocking(self._ready_from, False)
        os.set_blocking(self._ready_to, False)  # nobody reads what later workers tell
        self._awaited = len(self._workers)  # workers that have not told yet that they serve
        self._look_at = 0.0  # when memory is looked at next
        self._ending = False
        self._renewing = False  # workers end, to begin anew together with options that cannot change while serving
        self._status = 0

    def run(self) -> int:
        """Supervises until a signal ends it; gives the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        for worker in self._workers:
            self._start(worker)
        while not self._ending or any(worker.pid for worker in self._workers):
            caught = signal.sigtimedwait(_HANDLED, READY_LOOK_EVERY if self._awaited else LOOK_EVERY)
            try:
                self._look_around(caught.si_signo if caught is not None else signal.SIGCHLD)
            except Exception as error:  # who supervises outlives what goes wrong, above all to end others when told
                self._log.rarely(f"ERROR: {type(error).__name__} in the supervisor: {error}")
        return self._status

    def _look_around(self, caught: int) -> None:
        if caught != signal.SIGCHLD:
            self._pass_on(signal.Signals(caught))
        self._look_for_ready()
        self._reap()
        for worker in self._workers:
            self._look_after(worker)
        self._look_at_memory()

    def _start(self, worker: Worker) -> None:
        self._log.flush()
        worker.started = time.monotonic()
        worker.kill_at = 0.0
        parent = os.getpid()
        try:
            worker.pid = os.fork()
        except OSError as error:
            self._log.error(f"cannot start a worker: {error.strerror}")
            self._died(worker, 1)
            return
        if worker.pid:
            return
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            die_with_parent(parent)
            status = self._work(worker)
            if status != ConfigError.exit_status:
                self._tell_ready()  # if it did not get so far, nobody must wait for it
            sys.stdout.flush()
        finally:
            os._exit(status)

    def _work(self, worker: Worker) -> int:
        log = Log(self._config.log.verbosity, self._config.log.connections)
        if worker.has_died:
            self._print_start(worker, log)
        try:
            return self._serve(
                self._config,
                self._load,
                worker.sockets,
                log,
                ready=self._tell_ready,
                supervised=True,
            )
        except ConfigError as error:
            for problem in error.problems:
                log.error(problem)
            return error.exit_status
        except Exception:
            log.error(f"the server failed:\n{traceback.format_exc()}")
        finally:
            log.flush()
        return 1

    def _look_for_ready(self) -> None:
        """Tells systemd once all serve; one that was killed before it did is awaited in who comes in its place."""
        if not self._awaited:
            return
        with contextlib.suppress(BlockingIOError):
            self._awaited -= len(os.read(self._ready_from, self._awaited))
        if not self._awaited:
            self._look_at = time.monotonic() + LOOK_EVERY
            notify("READY=1", self._log)

    def _print_start(self, worker: Worker, log: Log) -> None:
        """The lines of the start again, as the old server printed them when it was started again."""
        log.message(starting())
        with contextlib.suppress(Exception):  # a wrong file was told of; what serves goes on with what it had
            for line in self._load()[1]:
                log.message(line)
        for name, sockets in (("WAIT", worker.sockets.wait), ("IN", worker.sockets.in_)):
            for sock in sockets:
                log.message(f"{name}: listening {show_address(sock)}")

    def _tell_ready(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._ready_to, b"x")

    def _pass_on(self, caught: signal.Signals) -> None:
        if caught in (signal.SIGINT, signal.SIGTERM):
            self._end(caught)
            return
        notify(reloading(), self._log)
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, caught)
        notify("READY=1", self._log)

    def _end(self, how: signal.Signals) -> None:
        """All workers end, and none begins any more."""
        self._ending = True
        notify("STOPPING=1", self._log)
        for worker in self._workers:
            if worker.pid:
                worker.kill_at = time.monotonic() + self._config.server.drain + END_TIMEOUT
                os.kill(worker.pid, how)

    def _reap(self) -> None:
        """Takes note of the workers that have ended."""
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                continue
            worker.pid = 0
            code = os.waitstatus_to_exitcode(status)
            if self._ending:
                self._status = self._status or max(code, 0)
            elif code == EXIT_RESTART:
                self._renew()
            elif code == ConfigError.exit_status and self._awaited:
                self._status = code  # it has said what is wrong, and would be again with every start
                self._end(signal.SIGTERM)
            else:
                self._died(worker, code)
        if self._renewing and not any(worker.pid for worker in self._workers):
            self._take_new_config()
            self._renewing = False  # where not even the old addresses can be had, this is tried again

    def _renew(self) -> None:
        """A worker has ended for the sake of new options: those that drain still follow it, and none begins before."""
        self._renewing = True
        for worker in self._workers:
            if worker.pid and not worker.kill_at:
                worker.kill_at = time.monotonic() + self._config.server.drain + END_TIMEOUT

    def _died(self, worker: Worker, code: int) -> None:
        self._log.message("Normally terminated." if code == 0 else f"The server ended with status {code}.")
        worker.has_died = True
        now = time.monotonic()
        young = now - worker.started < YOUNG
        worker.delay = min(max(1.0, worker.delay * 2), DELAY_MAX) if young and code else 0.0
        worker.start_at = now + worker.delay
        if worker.delay:
            self._log.message(f"Starting it again in {worker.delay:g} s")

    def _take_new_config(self) -> None:
        """The options that cannot change while serving; sockets are bound anew where addresses differ."""
        old = self._config
        try:
            config, _ = self._load()
        except ConfigError as error:
            for problem in error.problems:
                self._log.error(problem)
            return
        except Exception as error:
            self._log.error(f"{type(error).__name__} while the configuration was loaded: {error}")
            return
        where = (config.wait.listen, config.in_.listen, config.server.workers)
        if where != (old.wait.listen, old.in_.listen, old.server.workers):
            for worker in self._workers:
                worker.sockets.close()
            try:
                self._workers = [Worker(sockets) for sockets in self._bind(config, self._log)]
            except ConfigError as error:
                for problem in error.problems:
                    self._log.error(problem)
                self._log.error("the old addresses stay in force")
                self._workers = [Worker(sockets) for sockets in self._bind(old, self._log)]
                return
        self._config = config

    def _look_after(self, worker: Worker) -> None:
        """Starts a worker that has died, and ends for good one that does not end."""
        now = time.monotonic()
        if not worker.pid:
            if not self._ending and not self._renewing and now >= worker.start_at:
                self._start(worker)
        elif worker.kill_at and now > worker.kill_at:
            os.kill(worker.pid, signal.SIGKILL)

    def _look_at_memory(self) -> None:
        """Ends workers that are too large."""
        limit = self._config.server.max_mem_mb
        now = time.monotonic()
        if not limit or self._awaited or now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        for worker in self._workers:
            if not worker.pid or worker.kill_at:
                continue
            used = resident_mb(worker.pid)
            if used > limit:
                text = f"Daemon process uses {used} MB of memory which is larger than {limit:g} MB. Killing..."
                self._log.message(text)
                self._log.flush()  # before the worker's own lines about its end
                os.kill(worker.pid, TOO_LARGE_SIGNAL)
                worker.kill_at = now + self._config.server.drain + END_TIMEOUT
