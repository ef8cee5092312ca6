"""What a process under another server shares: one engine, one hub, the IN line, the sweep. Made at the first poll."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from gevent import get_hub, monkey
from gevent.lock import BoundedSemaphore

from rplx.addresses import Networks
from rplx.assembly import SWEEP_EVERY, Assembly
from rplx.client.errors import Refused, Timeout
from rplx.client.names import Ids, addressees, encode
from rplx.engine.factory import is_shared
from rplx.errors import Refusal
from rplx.hosts.waiting_room import StartResponse, WaitingRoom, closing
from rplx.in_line.server import InServer
from rplx.log import Log
from rplx.messages import Identifiers, Send
from rplx.net.accepting import accept_last
from rplx.net.listening import admit_attempts, listen, show_address
from rplx.options.environment import configuration
from rplx.options.table import Config
from rplx.protocol.forwarded import client_of
from rplx.system import standard_streams
from rplx.wait_line.application import Application
from rplx.wait_line.socket_commands import SocketCommands

PUBLISH_TIMEOUT = 5.0  # seconds that a thread waits for the loop's thread to take its message
LAST_ANSWERS = 1.0  # seconds beyond those of `end_polls` that a process takes to end
STDERR = 2  # the descriptor that our log goes to: standard output belongs to the server that we run in

_allocate_lock = monkey.get_original("_thread", "allocate_lock")
_thread_id = monkey.get_original("_thread", "get_ident")

_runtime: Runtime | None = None
_starting = BoundedSemaphore()  # an engine may switch greenlets while it connects


def current() -> Runtime | None:
    """Returns the runtime of this process, None if it serves no polls. A forked child does not share its parent's."""
    return _runtime if _runtime is not None and _runtime.process == os.getpid() else None


def serve() -> Runtime:
    """Returns the runtime of this process; makes it, of the RPLX_ options, if there is none.

    Raises ConfigError, Unavailable.
    """
    global _runtime
    found = current()
    if found is not None:
        return found
    with _starting:
        found = current()
        if found is None:
            found = _runtime = Runtime(configuration())
        return found


def at_path(config: Config, path: str) -> Config:
    """Returns `config` for the WAIT line at `path`: the page for old clients is told it unless js.wait_uri is set."""
    if config.js.wait_uri != "/":
        return config
    return dataclasses.replace(config, js=dataclasses.replace(config.js, wait_uri=path))


class Runtime:
    """Both lines of this process; belongs to the thread that made it."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError, Unavailable."""
        self.process = os.getpid()
        standard_streams.fill()
        self._assembly = Assembly(config, Log(config.log.verbosity, config.log.connections, STDERR))
        self._assembly.engine.open()
        self._assembly.engine.load()
        self._trusted = Networks(config.wait.trusted_proxies)
        hub = self._assembly.hub
        commands = SocketCommands(config.wait, self._assembly.log, hub)
        self._room = WaitingRoom(hub, commands, shared_engine=is_shared(config), heartbeat=config.wait.heartbeat)
        self._applications: dict[str, Application] = {}
        self._drains_until = 0.0  # as in Application
        self._in_server: InServer | None = None
        self._in_sockets: list[Any] = []
        self._loop: Any = get_hub().loop
        self._thread = _thread_id()
        self._sweeper = gevent.spawn(self._sweep_forever)

    @property
    def config(self) -> Config:
        """The options that all of this was made with."""
        return self._assembly.config

    def application(self, path: str = "/") -> Application:
        """Returns the WAIT line for polls at `path`, which the page for old clients is told; see `at_path`."""
        found = self._applications.get(path)
        if found is None:
            found = self._assembly.application(at_path(self.config, path), self._room)
            found.drains_until = self._drains_until
            self._applications[path] = found
        return found

    def name_client(self, environ: dict[str, Any]) -> None:
        """Has REMOTE_ADDR name the client of a request that came by a trusted proxy (part 9.6)."""
        peer = environ.get("REMOTE_ADDR", "")
        if not self._trusted or peer not in self._trusted:
            return
        headers = environ.get("HTTP_X_FORWARDED_FOR"), environ.get("HTTP_FORWARDED")
        found = client_of(peer, *headers, self._trusted)
        if found.wrong:
            self._assembly.log.counted("WAIT: forwarded", f"WAIT: {peer}: {found.wrong}")
        environ["REMOTE_ADDR"] = found.host

    def last_answer(self, environ: dict[str, Any], start_response: StartResponse) -> StartResponse:
        """Returns what begins the answer to a request: the connection ends behind it once `end_polls` was called."""
        return start_response if self._room.open else closing(environ, start_response)

    # -- the IN line

    @property
    def has_in(self) -> bool:
        """Whether the IN line is served in this process."""
        return self._in_server is not None

    def start_in(self, sockets: Iterable[Any] | None = None) -> list[Any]:
        """Serves back-ends on bound and listening `sockets`, by default on those of in.listen.

        Returns the sockets. Raises ConfigError if in.listen cannot be had.
        """
        if sockets is None:
            self._in_sockets = listen(
                self.config.in_.listen, "in.listen (RPLX_IN_LISTEN)", self.config.server, browsers=False
            )
        else:
            self._in_sockets = list(sockets)
            admit_attempts(self._in_sockets)
        self._in_server = self._assembly.in_server()
        self._in_server.start(self._in_sockets)
        if sockets is None:
            for sock in self._in_sockets:
                self._assembly.log.message(f"IN: listening {show_address(sock)}")
        return self._in_sockets

    # -- the end

    def end_polls(self, seconds: float, *, followed: bool = False) -> None:
        """Answers the waiting polls with an empty body, spread over `seconds`; sends are taken until `stop`.

        Polls that come from now on are refused as under `rplx serve` (part 9.5), or answered within a moment where
        another process serves already (`followed`), or the client is an old one.
        """
        if self._in_server is not None:
            self._in_server.begin_to_drain()
        if not followed:
            for application in self._applications.values():
                application.begin_to_drain(seconds + LAST_ANSWERS)
                self._drains_until = application.drains_until
        self._room.close(seconds)

    def stop(self, seconds: float, *, last: bool = True) -> None:
        """Lets sends under way end, for `seconds` at most, and ends what runs in the background.

        `last`: no other process goes on serving the IN line's sockets, so back-ends that have connected are answered
        here.
        """
        self._room.close(0)
        if self._in_server is not None:
            self._in_server.begin_to_drain()
            self._in_server.drain(seconds)
            if last:
                accept_last(self._in_sockets)
            self._in_server.stop_accepting()
            for sock in self._in_sockets:
                sock.close()
            self._in_server.stop(seconds)
        self._sweeper.kill()
        self._assembly.engine.close()
        self._assembly.log.flush()

    # -- sending from inside

    def publish(self, ids: Ids, data: Any, limit_to: Ids | None = None) -> dict[str, str]:
        """Sends to the listeners of this process; arguments, result and errors are those of rplx.publish."""
        cursors, limiters = addressees(ids, limit_to)
        body = encode(data)
        if len(body) > self.config.in_.maxlen:
            raise Refused(413, "Content Too Large", f"message longer than {self.config.in_.maxlen} bytes (in.maxlen)")
        send = Send(Identifiers(cursors, limiters), body)
        try:
            if _thread_id() == self._thread:
                return self._assembly.hub.publish(send)
            return self._in_loop(lambda: self._assembly.hub.publish(send))
        except Refusal as error:
            raise Refused(error.status, error.reason, error.text) from error

    def _in_loop(self, work: Callable[[], dict[str, str]]) -> dict[str, str]:
        """Has the loop's thread, which alone may touch the hub, do `work`; returns its result.

        Raises Timeout, and what `work` raises.
        """
        done = _allocate_lock()
        done.acquire()
        results: list[dict[str, str]] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as error:
                errors.append(error)
            finally:
                done.release()

        self._loop.run_callback_threadsafe(gevent.spawn, run)
        if not done.acquire(timeout=PUBLISH_TIMEOUT):
            raise Timeout(f"the loop did not take the message within {PUBLISH_TIMEOUT:g} s", unknown=True)
        if errors:
            raise errors[0]
        return results[0]

    def _sweep_forever(self) -> None:
        while True:
            gevent.sleep(SWEEP_EVERY)
            self._assembly.sweep()
