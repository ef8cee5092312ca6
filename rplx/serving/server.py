"""One serving process: both lines, from the first connection to the last, with new options taken on the way."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from rplx.assembly import SWEEP_EVERY, Assembly, load
from rplx.errors import ConfigError
from rplx.legacy.perl.config import perl_text
from rplx.log import WARNING, Log
from rplx.net.accepting import accept_last
from rplx.net.listening import Sockets, admit_attempts, is_inherited, own_host, show_address, show_port
from rplx.options.changes import Change, changed
from rplx.options.table import Config
from rplx.serving.collecting import Collector
from rplx.serving.supervisor import EXIT_RESTART, Loader
from rplx.system.service import notify, reloading
from rplx.system.signals import REPLACED_SIGNAL, TOO_LARGE_SIGNAL, release_signals
from rplx.wait_line.demo import Demo
from rplx.wait_line.server import WaitServer

END_TIMEOUT = 1.0  # seconds beyond server.drain after which the process has ended, whatever still hangs
# Seconds before that in which all but late comers have been answered, then all have, and only the engine is closed.
LAST_ANSWERS = 0.5
LAST_STEPS = 0.1
HAND_OVER = 1.0  # seconds over which polls are answered at most that wait for the next process then
HAND_OVER_LATE = 2.0  # seconds more for those that a busy process has not answered by then

EXIT_OK = 0


class Server:
    """Both lines in this process. One to a process; `run` after construction."""

    def __init__(self, config: Config, load: Loader, sockets: Sockets, log: Log, *, supervised: bool = False) -> None:
        """`load` reads the options anew at a reload; `supervised`: a supervisor starts us again if we ask for it.

        Raises ConfigError, Unavailable.
        """
        self._config = config
        self._load = load
        self._sockets = sockets
        self._log = log
        self._supervised = supervised
        self._leaving = False  # told to end, or to be started again
        self._end_at = 0.0  # monotonic seconds at which the process has ended, once it has been told to
        self._followed = False  # another process serves in our place already
        self._ended = Event()
        self._failure: ConfigError | None = None  # for which it has ended
        self._status = EXIT_OK
        self._assembly = Assembly(config, log)
        # Ports alone: whoever polls on IN is told, and need not know how the machine's other addresses are called.
        in_ports = ", ".join(map(show_port, sockets.in_))
        self._application = self._assembly.application(in_line=f"{in_ports} (in.listen)")
        self._wait_server = WaitServer(self._outermost(), self._assembly.hub, config, log)
        wait_line = ", ".join(map(show_address, sockets.wait)) + " (wait.listen)"
        self._in_server = self._assembly.in_server(wait_line=wait_line)
        self._warm_up()

    def _outermost(self) -> Any:
        """Returns the application that is served: with the sandbox page around it, if demo.enabled says so."""
        return Demo(self._application, self._assembly.executor) if self._config.demo.enabled else self._application

    def run(self, ready: Callable[[], None]) -> int:
        """Serves until a signal ends it; returns the exit status. Calls `ready` when both lines accept.

        Raises ConfigError if the engine cannot be opened, or not be read to its end.
        """
        for number, handler in (
            (signal.SIGINT, self._interrupt),
            (signal.SIGTERM, self._terminate),
            (signal.SIGHUP, self._hang_up),
            (TOO_LARGE_SIGNAL, self._too_large),
            (REPLACED_SIGNAL, self._replaced),
        ):
            gevent.signal_handler(number, gevent.spawn, handler)
        release_signals()
        collector = Collector(time.monotonic())  # first, so that nothing walks through a history that is read
        self._assembly.engine.open()
        self._warn_of_guests()
        admit_attempts(self._all_sockets())
        self._wait_server.start(self._sockets.wait)
        self._in_server.start(self._sockets.in_)
        greenlets: list[Any] = [
            gevent.spawn(self._load_engine, collector, ready),
            gevent.spawn(self._sweep_forever, collector),
        ]
        self._ended.wait()
        gevent.killall(greenlets)
        self._close_engine()
        self._log.flush()
        if self._failure is not None:
            raise self._failure
        return self._status

    def _load_engine(self, collector: Collector, ready: Callable[[], None]) -> None:
        """Calls `ready` once all that was kept is there. Ends the process if it cannot be read."""
        try:
            self._assembly.engine.load()
        except ConfigError as failure:
            self._failure = failure
            self._ended.set()
            return
        collector.pass_over()
        ready()
        self._tell_of_the_sandbox()

    def _tell_of_the_sandbox(self) -> None:
        if self._config.demo.enabled:
            for sock in self._sockets.wait:
                where = show_port(sock).replace("port ", "http://localhost:")
                self._log.message(f"The sandbox page is on {where}/ and lets anybody publish")

    def _close_engine(self) -> None:
        seconds = self._seconds_left(0.0) if self._leaving else END_TIMEOUT
        try:
            with gevent.Timeout.start_new(max(seconds, LAST_STEPS)):
                self._assembly.engine.close()
        except (Exception, gevent.Timeout) as error:  # an engine that fails or hangs must not keep us from ending
            self._log.error(f"{type(error).__name__} while the engine was closed: {error}")

    def _warn_of_guests(self) -> None:
        warning = self._assembly.logins.warning_of_guests(map(own_host, self._sockets.in_))
        if warning:
            self._log.message(warning, WARNING)

    def _warm_up(self) -> None:
        """Loads what the first requests need, as the user that we become may have no right to read it."""
        for kind in ("IFRAME", "SCRIPT"):
            with contextlib.suppress(OSError):  # reported when a client asks for the page
                self._application.pages.get(kind)
        self._assembly.logins.warm_up()

    # -- signals

    def _interrupt(self) -> None:
        self._log.message("SIGINT received, exiting")
        self._ended.set()

    def _terminate(self) -> None:
        if self._leaving:
            self._terminate_again()
            return
        self._log.message(f"SIGTERM received, answering {self._assembly.hub.waiting} waiting polls and exiting")
        if not self._supervised:
            notify("STOPPING=1", self._log)
        self._leave(EXIT_OK, last=True)

    def _terminate_again(self) -> None:
        """Ends at once, as whoever repeats the signal has no time for the rest.

        A worker leaves that to its supervisor, as a service manager may have sent the first one to both.
        """
        if not self._supervised:
            self._log.message("SIGTERM received again, exiting")
            self._ended.set()

    def _too_large(self) -> None:
        # The signal's name and words are the old watchdog's (part 5), but here polls are answered.
        self._log.message("SIGINT received, exiting")
        self._leave(EXIT_OK)

    def _replaced(self) -> None:
        """Ends, as another process accepts from the same sockets by now."""
        if not self._leaving:
            self._log.message(f"Replaced, answering {self._assembly.hub.waiting} waiting polls and exiting")
            self._wait_server.stop_accepting()
            self._in_server.stop_accepting()
            self._followed = True
            self._leave(EXIT_OK)

    def _leave(self, status: int, *, last: bool = False) -> None:
        """Drains both lines, then ends with `status`, whatever goes wrong meanwhile.

        `last`: no other process goes on serving these sockets.
        """
        self._status = status
        self._leaving = True
        self._end_at = time.monotonic() + self._drain_seconds(HAND_OVER + HAND_OVER_LATE) + END_TIMEOUT
        gevent.spawn_later(self._seconds_left(LAST_STEPS), self._ended.set)
        try:
            self._drain(last=last)
        except Exception as error:
            self._log.error(f"{type(error).__name__} while polls were answered at the end: {error}")
        finally:
            self._ended.set()

    def _drain(self, *, last: bool) -> None:
        """Answers the waiting polls and ends all connections.

        Both lines accept to the very end, since connections that nobody accepts hang, and are reset at last. Sends are
        carried out meanwhile, and reach the polls that still wait; no poll begins to wait. Sockets that outlive this
        process keep their connections for the next one: those of WAIT at once, those of IN from the last poll's answer.
        """
        drain = self._drain_seconds(HAND_OVER)
        if self._hands_over:
            self._wait_server.stop_accepting()
        elif not self._followed:
            self._application.begin_to_drain(drain + END_TIMEOUT)
        self._in_server.begin_to_drain()
        self._wait_server.drain(drain, self._seconds_left(LAST_ANSWERS) - drain)
        self._in_server.drain(self._seconds_left(LAST_ANSWERS))
        if all(map(is_inherited, self._sockets.in_)):
            self._in_server.stop_accepting()
        if last:
            accept_last(self._all_sockets())
        self._wait_server.stop_accepting()
        self._in_server.stop_accepting()
        self._sockets.close()  # clients that come now are refused, or wait for the worker that follows
        self._wait_server.stop(self._seconds_left(LAST_STEPS))
        self._in_server.stop(self._seconds_left(LAST_STEPS))

    @property
    def _hands_over(self) -> bool:
        """Whether polls that come now are left to the next process, as the sockets of WAIT outlive this one."""
        return all(map(is_inherited, self._sockets.wait))

    def _drain_seconds(self, most: float) -> float:
        """Returns server.drain, but not more than `most` where clients that come wait for the next process already."""
        return min(self._config.server.drain, most if self._hands_over else math.inf)

    def _seconds_left(self, reserve: float) -> float:
        """Returns the seconds until `reserve` seconds before the end; 0 if that has passed."""
        return max(self._end_at - reserve - time.monotonic(), 0.0)

    def _all_sockets(self) -> list[socket.socket]:
        return [*self._sockets.wait, *self._sockets.in_]

    def _hang_up(self) -> None:
        self._log.message("SIGHUP received, reloading the config")
        if self._leaving:
            return
        if not self._supervised:
            notify(reloading(), self._log)
        try:
            self._reload()
        except ConfigError as error:
            for problem in error.problems:
                self._log.error(problem)
            self._log.error("the old configuration stays in force")
        except Exception as error:
            self._log.error(f"{type(error).__name__} while the configuration was reloaded: {error}")
        finally:
            if not self._supervised:
                notify("READY=1", self._log)

    def _reload(self) -> None:
        """Takes the options that may change while serving. Raises ConfigError; then nothing has changed."""
        config, lines = self._load()
        loaded = load(config, self._log)
        for line in lines:
            self._log.message(line)
        restart = []
        for change in changed(self._config, config):
            name = change.legacy if self._config.log.connections and change.legacy else change.name
            self._log.message(f"Option {name} is changed: {_show(change, change.old)} -> {_show(change, change.new)}")
            if change.needs_restart:
                restart.append(change.name)
        self._config = config
        self._assembly.configure(config, loaded)
        self._wait_server.configure(config)
        if restart and self._supervised:
            self._log.message(f"Restarting, since {', '.join(restart)} cannot change while serving")
            self._leave(EXIT_RESTART)
        elif restart:
            self._log.message(f"{', '.join(restart)} will count from the next restart on")

    def _sweep_forever(self, collector: Collector) -> None:
        while True:
            gevent.sleep(SWEEP_EVERY)
            self._assembly.sweep()
            try:
                busy = self._assembly.hub.turns.is_somebody_resting()
                collector.look(time.monotonic(), self._wait_server.accepted, busy=busy)
            except Exception as error:  # it must not end presence and expiry
                self._log.error(f"{type(error).__name__} in the sweep: {error}")


def _show(change: Change, value: Any) -> str:
    """Returns an option's value for the log."""
    if change.name == "engine.url":
        return "(hidden)"  # may hold a password
    return ", ".join(value) if isinstance(value, tuple) else perl_text(value)
