"""One serving process: joins the rooms, runs until it is told to end, and takes new options while it runs."""

from __future__ import annotations

import contextlib
import gc
import signal
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from rplx.access.gate import is_loopback
from rplx.assembly import SWEEP_EVERY, Assembly, load
from rplx.errors import ConfigError
from rplx.legacy.perl.config import perl_text
from rplx.log import WARNING, Log
from rplx.net.listening import Sockets, show_address, take_all, take_no_more
from rplx.options.table import Change, Config, changed
from rplx.serving.supervisor import EXIT_RESTART, Loader
from rplx.system.limits import trim_memory
from rplx.system.service import notify, reloading
from rplx.system.signals import TOO_LARGE_SIGNAL, release_signals
from rplx.wait_line.demo import Demo
from rplx.wait_line.server import WaitServer

COLLECT_WHEN_BELOW = 1000  # listeners: with fewer, a full collection is short
COLLECT_FROM = 10_000  # new objects that are worth a collection
COLLECT_AT_LEAST_EVERY = 600.0  # seconds between full collections, whatever the crowd
LAST_REQUESTS = 1.0  # seconds that sends under way have at least when the server ends
END_TIMEOUT = 4.0  # seconds beyond the drain after which the server ends, whatever still hangs
LAST_COMERS = 0.2  # seconds in which those who have begun to connect are taken when the server ends
TRIM_CROWD = 1000  # connections that must have left before memory is given back


EXIT_OK = 0


class Server:
    """Both lines in this process. `load` reads the configuration anew; `supervised`: somebody restarts us if we ask."""

    def __init__(self, config: Config, load: Loader, sockets: Sockets, log: Log, *, supervised: bool = False) -> None:
        self.config = config
        self._load = load
        self._sockets = sockets
        self.log = log
        self._supervised = supervised
        self._leaving = False  # told to end, or to be started again
        self._ended = Event()
        self._status = EXIT_OK
        self.assembly = Assembly(config, log)
        # Ports alone: whoever polls is told, and need not know how the machine's other addresses are called.
        in_ports = ", ".join(f"port {sock.getsockname()[1]}" for sock in sockets.in_)
        self._application = self.assembly.application(in_line=f"{in_ports} (in.listen)")
        self.wait_server = WaitServer(self._outermost(), self.assembly.hub, config, log)
        wait_line = ", ".join(map(show_address, sockets.wait)) + " (wait.listen)"
        self.in_server = self.assembly.in_server(wait_line=wait_line)
        self._warm_up()
        self._collected = time.monotonic()
        self._crowd = 0

    def _outermost(self) -> Any:
        """The application that is served: with the sandbox page around it, if that is asked for."""
        return Demo(self._application, self.assembly.hub) if self.config.demo.enabled else self._application

    def run(self, ready: Callable[[], None]) -> int:
        """Serves until a signal ends it; gives the exit status. `ready` is called when both lines accept."""
        for number, handler in (
            (signal.SIGINT, self._interrupt),
            (signal.SIGTERM, self._terminate),
            (signal.SIGHUP, self._hang_up),
            (TOO_LARGE_SIGNAL, self._too_large),
        ):
            gevent.signal_handler(number, gevent.spawn, handler)
        release_signals()
        self._warn_of_guests()
        take_all((*self._sockets.wait, *self._sockets.in_))
        self.wait_server.start(self._sockets.wait)
        self.in_server.start(self._sockets.in_)
        # The collector would walk through all listeners, 34 ms with 19,000: what lives now is set aside, and _collect
        # chooses the moment.
        gc.collect()
        gc.freeze()
        gc.disable()
        ready()
        if self.config.demo.enabled:
            for sock in self._sockets.wait:
                port = sock.getsockname()[1]
                self.log.message(f"The sandbox page is on http://localhost:{port}/ and lets anybody publish")
        sweeper = gevent.spawn(self._sweep_forever)
        self._ended.wait()
        sweeper.kill()
        self._close_engine()
        self.log.flush()
        return self._status

    def _close_engine(self) -> None:
        try:
            with gevent.Timeout.start_new(END_TIMEOUT):
                self.assembly.engine.close()
        except (Exception, gevent.Timeout) as error:  # it must not keep us from ending
            self.log.error(f"{type(error).__name__} while the engine was closed: {error}")

    def _warn_of_guests(self) -> None:
        everywhere = [sock for sock in self._sockets.in_ if not is_loopback(sock.getsockname()[0])]
        if everywhere and not self.assembly.users.has_file:
            who = "the machine itself" if self.config.in_.guests_loopback_only else "EVERY machine that can connect"
            self.log.message(f"IN: there is no users file (users.file), so {who} may send without a password", WARNING)

    def _warm_up(self) -> None:
        """Loads what is otherwise loaded at the first request: the user that we become may not be able to."""
        for kind in ("IFRAME", "SCRIPT"):
            with contextlib.suppress(OSError):  # told when somebody asks for it
                self._application.pages.get(kind)
        self.assembly.users.warm_up()

    # -- signals

    def _interrupt(self) -> None:
        self.log.message("SIGINT received, exiting")
        self._ended.set()

    def _terminate(self) -> None:
        self.log.message(f"SIGTERM received, answering {self.assembly.hub.listening} waiting polls and exiting")
        if not self._supervised:
            notify("STOPPING=1", self.log)
        self._leave(EXIT_OK, last=True)

    def _too_large(self) -> None:
        self.log.message(
            "SIGINT received, exiting"
        )  # the old watchdog's way and words (part 5); here polls are answered
        self._leave(EXIT_OK)

    def _leave(self, status: int, *, last: bool = False) -> None:
        """Drains both lines, then ends with `status`, whatever goes wrong meanwhile. `last`: nobody comes after us."""
        self._status = status
        self._leaving = True
        gevent.spawn_later(self.config.server.drain + END_TIMEOUT, self._ended.set)
        try:
            self._drain(last=last)
        except Exception as error:
            self.log.error(f"{type(error).__name__} while polls were answered at the end: {error}")
        finally:
            self._ended.set()

    def _drain(self, *, last: bool) -> None:
        """Both lines answer those who come, to the end: what is not accepted hangs, and then is reset."""
        begin = time.monotonic()
        self.in_server.draining = True
        self.wait_server.drain(self.config.server.drain)
        left = begin + self.config.server.drain - time.monotonic()
        self.in_server.drain(max(left, LAST_REQUESTS))
        if last and take_no_more((*self._sockets.wait, *self._sockets.in_)):
            gevent.sleep(LAST_COMERS)
        self.wait_server.stop_accepting()
        self.in_server.stop_accepting()
        self._sockets.close()  # who comes now is refused, or waits for the worker that comes after us
        self.wait_server.stop()
        self.in_server.stop(LAST_REQUESTS)

    def _hang_up(self) -> None:
        self.log.message("SIGHUP received, reloading the config")
        if self._leaving:
            return
        if not self._supervised:
            notify(reloading(), self.log)
        try:
            self._reload()
        except ConfigError as error:
            for problem in error.problems:
                self.log.error(problem)
            self.log.error("the old configuration stays in force")
        except Exception as error:
            self.log.error(f"{type(error).__name__} while the configuration was reloaded: {error}")
        finally:
            if not self._supervised:
                notify("READY=1", self.log)

    def _reload(self) -> None:
        """Takes the options that may change while serving. Errors: ConfigError; then nothing has changed."""
        config, lines = self._load()
        loaded = load(config, self.log)
        for line in lines:
            self.log.message(line)
        restart = []
        for change in changed(self.config, config):
            name = change.legacy if self.config.log.connections and change.legacy else change.name
            self.log.message(f"Option {name} is changed: {_show(change, change.old)} -> {_show(change, change.new)}")
            if change.needs_restart:
                restart.append(change.name)
        self.config = config
        self.assembly.configure(config, loaded)
        self.wait_server.configure(config)
        if restart and self._supervised:
            self.log.message(f"Restarting, since {', '.join(restart)} cannot change while serving")
            self._leave(EXIT_RESTART)
        elif restart:
            self.log.message(f"{', '.join(restart)} will count from the next restart on")

    # -- what time brings

    def _sweep_forever(self) -> None:
        while True:
            gevent.sleep(SWEEP_EVERY)
            self.assembly.sweep()
            try:
                self._collect()
                self._trim()
            except Exception as error:  # it must not end presence and expiry
                self.log.error(f"{type(error).__name__} in the sweep: {error}")

    def _collect(self) -> None:
        now = time.monotonic()
        overdue = now - self._collected > COLLECT_AT_LEAST_EVERY
        # While long work is under way what it has made would be walked through.
        few = self.wait_server.accepted < COLLECT_WHEN_BELOW and not self.assembly.hub.turns.is_somebody_resting()
        if overdue or (few and gc.get_count()[0] > COLLECT_FROM):
            if overdue:  # else what is new alone: a long history would hold up the loop for each look
                gc.unfreeze()
            gc.collect()
            gc.freeze()
            if overdue:
                self._collected = now

    def _trim(self) -> None:
        connections = self.wait_server.accepted
        self._crowd = max(self._crowd, connections)
        if self._crowd - connections > max(TRIM_CROWD, self._crowd // 2):
            self._crowd = connections
            trim_memory()


def _show(change: Change, value: Any) -> str:
    if change.name == "engine.url":
        return "(hidden)"  # may hold a password
    return ", ".join(value) if isinstance(value, tuple) else perl_text(value)
