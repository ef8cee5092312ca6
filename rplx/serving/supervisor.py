"""Keeps serving processes alive: starts them, and starts them again when they die, ask for it or grow too large."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from rplx.errors import ConfigError
from rplx.log import Log
from rplx.net.listening import Sockets, show_address
from rplx.options.changes import changed
from rplx.options.table import Config
from rplx.serving.replacement import Replacement
from rplx.serving.reports import Reports
from rplx.serving.worker import Worker
from rplx.system.limits import resident_mb, starting
from rplx.system.service import notify, reloading
from rplx.system.signals import HANDLED_SIGNALS, TOO_LARGE_SIGNAL, die_with_parent

Loader = Callable[[], tuple[Config, list[str]]]

LOOK_EVERY = 1.0  # seconds between two looks at the workers' memory
READY_LOOK_EVERY = 0.02  # seconds between two looks at whether all workers serve, at the start
END_TIMEOUT = 1.5  # seconds beyond the drain that a worker may take to end: half a second more than it gives itself

START_MAX = 30.0  # seconds from the start in which a reload waits until all workers serve
IN_COMMON = {"wait.listen", "in.listen", "server.workers", "engine.url"}  # options that all workers take together

EXIT_RESTART = 64  # a worker's exit status that asks to be started again

_HANDLED = {*HANDLED_SIGNALS, signal.SIGCHLD}


class Serve(Protocol):
    """Serves in the process that calls it and returns the exit status; it calls `ready` once it serves."""

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


class Bind(Protocol):
    """Returns the sockets of each worker; lines that have sockets in `kept` go on with these. Raises ConfigError."""

    def __call__(self, config: Config, log: Log, kept: Sequence[Sockets] = ()) -> list[Sockets]: ...


class Supervisor:
    """Holds the listening sockets of every worker, so that nobody is refused while one is replaced."""

    def __init__(self, load: Loader, config: Config, log: Log, bind: Bind, serve: Serve) -> None:
        self._load = load
        self._config = self._old_config = config
        self._log = log
        self._bind = bind
        self._serve = serve
        self._workers = [Worker(sockets) for sockets in bind(config, log)]
        self._reports = Reports()
        self._awaited = set(self._workers)  # those that have not reported yet that they serve; empty once all have
        self._started = time.monotonic()
        self._look_at = 0.0  # when memory is looked at next
        self._ending = False
        self._renewing = False  # all workers end, so that new ones take options that cannot change while serving
        self._status = 0
        self._holds_hang_up = False  # a reload waits until all workers serve, or are replaced
        self._replacement = self._make_replacement()

    def run(self) -> int:
        """Supervises until a signal ends it; returns the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        for worker in self._workers:
            self._start(worker)
        while not self._ending or self._any_runs():
            caught = signal.sigtimedwait(_HANDLED, READY_LOOK_EVERY if self._awaited else LOOK_EVERY)
            try:
                self._look_around(caught.si_signo if caught is not None else signal.SIGCHLD)
            except Exception as error:  # the supervisor must live on, above all to end its workers when it is told to
                self._log.rarely(f"ERROR: {type(error).__name__} in the supervisor: {error}")
        for worker in self._workers:
            worker.sockets.close()
        return self._status

    def _look_around(self, caught: int) -> None:
        self._look_for_ready()
        if caught != signal.SIGCHLD:
            self._pass_on(signal.Signals(caught))
        self._reap()
        for worker in self._workers:
            self._look_after(worker)
        self._replacement.step()
        under_way = self._is_starting() or self._replacement.is_under_way or self._renewing or self._ending
        if self._holds_hang_up and not under_way:
            self._holds_hang_up = False
            self._pass_on(signal.SIGHUP)
        self._look_at_memory()

    def _make_replacement(self) -> Replacement:
        return Replacement(self._workers, self._start, self._deadline, self._keep_old_config)

    def _keep_old_config(self) -> None:
        """Has workers start with the old options again, as one with the new ones has ended before it served."""
        self._log.error(
            "a worker with the new options has ended before it served; the old configuration stays in force"
        )
        self._config = self._old_config

    def _any_runs(self) -> bool:
        return any(worker.is_running for worker in (*self._workers, *self._replacement.others()))

    def _start(self, worker: Worker) -> None:
        self._log.flush()
        parent = os.getpid()
        now = time.monotonic()
        try:
            pid = os.fork()
        except OSError as error:
            self._log.error(f"cannot start a worker: {error.strerror}")
            worker.runs(0, now)
            self._died(worker, 1)
            return
        if pid:
            worker.runs(pid, now)
        else:
            self._be_worker(worker, parent)

    def _be_worker(self, worker: Worker, parent: int) -> NoReturn:
        """Serves in a forked process, and ends it."""
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            die_with_parent(parent)
            status = self._work(worker)
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
                ready=self._reports.tell,
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
        """Takes note of the workers that serve by now."""
        told = self._reports.read()
        for worker in (*self._workers, *self._replacement.others()):
            if worker.pid in told:
                worker.serves = True
                self._is_there(worker)

    def _is_starting(self) -> bool:
        """Returns whether workers have not come to serve since the start, which may take its time."""
        return bool(self._awaited) and time.monotonic() < self._started + START_MAX

    def _is_there(self, worker: Worker) -> None:
        """Waits no more for a worker at the start; reports READY to systemd when it was the last."""
        if worker in self._awaited:
            self._awaited.remove(worker)
            if not self._awaited:
                self._look_at = time.monotonic() + LOOK_EVERY
                notify("READY=1", self._log)

    def _print_start(self, worker: Worker, log: Log) -> None:
        """Logs the lines of a start, as the old server printed them whenever it was started again."""
        log.message(starting())
        with contextlib.suppress(Exception):  # a wrong file was reported when it was loaded; the old options stay
            for line in self._load()[1]:
                log.message(line)
        for name, sockets in (("WAIT", worker.sockets.wait), ("IN", worker.sockets.in_)):
            for sock in sockets:
                log.message(f"{name}: listening {show_address(sock)}")

    def _pass_on(self, caught: signal.Signals) -> None:
        """Does what a signal to the supervisor asks for: all workers end or reload."""
        if caught in (signal.SIGINT, signal.SIGTERM):
            self._end(caught)
            return
        if len(self._workers) > 1 and self._is_starting():
            self._holds_hang_up = True  # they would all end for it, and at once
            return
        notify(reloading(), self._log)
        if not self._replaces_all():
            for worker in self._workers:
                worker.signal(caught)
        notify("READY=1", self._log)

    def _replaces_all(self) -> bool:
        """Begins to replace the workers one after the other if the new options ask for that, and returns whether.

        Not if there is one worker alone, nor for options that all workers must have in common: they end together. A
        reload that comes meanwhile, and asks for nothing else of the kind, is carried out once all are replaced.
        """
        if len(self._workers) == 1 or self._renewing:
            return False
        try:
            config, _ = self._load()
        except Exception:  # the workers say what is wrong
            return False
        names = {change.name for change in changed(self._config, config) if change.needs_restart}
        if not names and self._replacement.is_under_way:
            self._holds_hang_up = True  # workers with the old options would all end for it, and at once
            return True
        if not names or names & IN_COMMON:
            return False
        text = "SIGHUP received, replacing the workers one after the other, since"
        self._log.message(f"{text} {', '.join(sorted(names))} cannot change while serving")
        self._old_config, self._config = self._config, config
        self._replacement.begin()
        return True

    def _end(self, how: signal.Signals) -> None:
        """Has all workers end, and starts none any more. Told again, they end at once."""
        if self._ending:
            how = signal.SIGINT
        self._ending = True
        notify("STOPPING=1", self._log)
        others = self._replacement.others()
        self._replacement.give_up()
        for worker in (*self._workers, *others):
            worker.end_by(self._deadline())
            worker.signal(how)

    def _deadline(self) -> float:
        """Returns when a worker that is told to end now is to be killed, in monotonic seconds."""
        return time.monotonic() + self._config.server.drain + END_TIMEOUT

    def _reap(self) -> None:
        """Takes note of the workers that have ended."""
        for worker in self._workers:
            status = worker.reap()
            if status is not None:
                self._ended(worker, status)
        if self._renewing and not self._any_runs():
            self._take_new_config()
            self._renewing = False  # where not even the old addresses can be had, this is tried again

    def _ended(self, worker: Worker, status: int) -> None:
        """Decides what follows the end of a worker."""
        if status >= 0 and status != ConfigError.exit_status:
            self._is_there(worker)  # one that was killed is awaited in who comes in its place
        if self._ending:
            self._status = self._status or (0 if status == EXIT_RESTART else max(status, 0))
        elif status == EXIT_RESTART:
            self._renew()
        elif status == ConfigError.exit_status and self._awaited:
            self._status = status  # the worker has logged what is wrong, and so would each that is started after it
            self._end(signal.SIGTERM)
        else:
            self._died(worker, status)

    def _renew(self) -> None:
        """Waits for all workers to end, as each will for the same new options, before any is started again."""
        self._renewing = True
        self._replacement.give_up()
        for worker in self._workers:
            if worker.is_running and not worker.is_ending:
                worker.end_by(self._deadline())

    def _died(self, worker: Worker, status: int) -> None:
        self._log.message("Normally terminated." if status == 0 else f"The server ended with status {status}.")
        delay = worker.died(status != 0, time.monotonic())
        if delay:
            self._log.message(f"Starting it again in {delay:g} s")

    def _take_new_config(self) -> None:
        """Loads the options that cannot change while serving, and binds sockets anew where addresses differ."""
        try:
            config, _ = self._load()
        except ConfigError as error:
            self._log_problems(error)
        except Exception as error:
            self._log.error(f"{type(error).__name__} while the configuration was loaded: {error}")
        else:
            if _addresses(config) == _addresses(self._config) or self._bind_anew(config):
                self._config = config

    def _bind_anew(self, config: Config) -> bool:
        """Binds the sockets of `config`; if they cannot be had, the old ones again, and returns False.

        A line whose addresses stay goes on with the sockets that it has.
        """
        stays = config.wait.listen == self._config.wait.listen, config.in_.listen == self._config.in_.listen
        had = [worker.sockets for worker in self._workers]
        kept = [Sockets(sockets.wait if stays[0] else [], sockets.in_ if stays[1] else []) for sockets in had]
        for sockets in had:
            sockets.without(kept).close()
        try:
            self._workers = [Worker(sockets) for sockets in self._bind(config, self._log, kept)]
        except ConfigError as error:
            self._log_problems(error)
            self._log.error("the old addresses stay in force")
            self._workers = [Worker(sockets) for sockets in self._bind(self._config, self._log, kept)]
            return False
        finally:
            for worker in list(self._awaited):
                self._is_there(worker)
            self._replacement = self._make_replacement()
        return True

    def _log_problems(self, error: ConfigError) -> None:
        for problem in error.problems:
            self._log.error(problem)

    def _look_after(self, worker: Worker) -> None:
        """Starts a worker that has died, and kills one that does not end in time."""
        now = time.monotonic()
        if worker.is_running:
            worker.kill_if_overdue(now)
        elif worker.is_due(now) and not self._ending and not self._renewing:
            self._start(worker)

    def _look_at_memory(self) -> None:
        """Has workers that are too large end."""
        limit = self._config.server.max_mem_mb
        now = time.monotonic()
        if not limit or self._awaited or now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        for worker in self._workers:
            if not worker.is_running or worker.is_ending:
                continue
            used = resident_mb(worker.pid)
            if used > limit:
                text = f"Daemon process uses {used} MB of memory which is larger than {limit:g} MB. Killing..."
                self._log.message(text)
                self._log.flush()  # before the worker's own lines about its end
                worker.signal(TOO_LARGE_SIGNAL)
                worker.end_by(self._deadline())


def _addresses(config: Config) -> tuple[object, ...]:
    """Returns the options that the listening sockets are made of."""
    return config.wait.listen, config.in_.listen, config.server.workers
