"""What both lines of a process share: engine, hub and users, joined once, reloaded and swept together."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass

from rplx.access.gate import Logins
from rplx.access.grant_keys import GrantKey, read_keys
from rplx.access.listening import Listening
from rplx.access.users import Users
from rplx.engine.factory import make_engine
from rplx.errors import ConfigError
from rplx.hub.hub import Hub
from rplx.hub.visibility import Visibility
from rplx.in_line.commands import Executor
from rplx.in_line.server import InServer
from rplx.log import WARNING, Log
from rplx.options.table import Config
from rplx.wait_line.application import Application
from rplx.wait_line.hosting import Parking

SWEEP_EVERY = 1.0  # seconds between two sweeps: presence, expiry, counters of the log


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is read from where options say: the users file, the function of hooks.check_visibility, keys of grants."""

    users: Users
    visibility: Visibility | None
    keys: dict[str, GrantKey]


def load(config: Config, log: Log) -> Loaded:
    """Reads what `config` names; logs warnings about the users file. Raises ConfigError."""
    hook = _load_hook(config.hooks.check_visibility)
    users = Users.load(config.users.file)
    for warning in users.warnings:
        log.message(warning, WARNING)
    return Loaded(users, hook, read_keys(config.grants.keys))


class Assembly:
    """Makes the lines of a process, and keeps them, so that a reload reaches all of them. One to a process."""

    def __init__(self, config: Config, log: Log) -> None:
        """Makes the engine, which may connect. Raises ConfigError, Unavailable."""
        self.config = config
        self.log = log
        loaded = load(config, log)
        self.logins = Logins(loaded.users, config)
        self.listening = Listening(config, loaded.keys)
        self.engine = make_engine(config, log)
        self.hub = Hub(self.engine, log, config.wait.out_max, loaded.visibility, config.wait.heartbeat)
        self.executor = Executor(self.hub, self.logins, config.in_, log)
        self._applications: list[Application] = []
        self._in_servers: list[InServer] = []
        log.show_counters(self.hub.counters)

    def application(
        self, config: Config | None = None, parking: Parking | None = None, *, in_line: str = "in.listen"
    ) -> Application:
        """Makes a WAIT line, with options of its own if `config` is given.

        `parking`: where its polls wait; None leaves that to our own server. `in_line`: where the IN line is, for the
        refusal of a send that comes here.
        """
        made = Application(self.hub, config or self.config, self.log, parking, in_line, self.listening)
        self._applications.append(made)
        return made

    def in_server(self, *, wait_line: str = "where the application is served") -> InServer:
        """Makes an IN line. `wait_line`: where the WAIT line is, for the refusal of a poll that comes here."""
        made = InServer(self.hub, self.executor, self.config, self.log, wait_line=wait_line)
        self._in_servers.append(made)
        return made

    def configure(self, config: Config, loaded: Loaded) -> None:
        """Takes new options and what they name. Requests under way keep the old ones."""
        self.config = config
        self.logins.configure(loaded.users, config)
        self.listening.configure(config, loaded.keys)
        self.log.configure(config.log.verbosity, config.log.connections)
        self.engine.reconfigure(config.history, config.presence)
        self.hub.configure(config.wait.out_max, loaded.visibility, config.wait.heartbeat)
        self.executor.configure(config.in_)
        for application in self._applications:
            application.configure(config)
        for server in self._in_servers:
            server.configure(config)

    def sweep(self) -> None:
        """Does what has become due: to be called every SWEEP_EVERY seconds. Logs what goes wrong, raises nothing."""
        try:
            self.log.sweep(time.monotonic())
            self.hub.sweep(self.config.history.expire_after)
        except Exception as error:  # one bad sweep must not end presence and expiry
            self.log.error(f"{type(error).__name__} in the sweep: {error}")


def _load_hook(name: str) -> Visibility | None:
    """Returns the function `module:name` of hooks.check_visibility. Raises ConfigError."""
    if not name:
        return None
    module, _, attribute = name.partition(":")
    try:
        hook = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # the operator's module may raise anything
        why = str(error) or type(error).__name__
        raise ConfigError([f"hooks.check_visibility: cannot load {name}: {why}"]) from None
    if not callable(hook):
        raise ConfigError([f"hooks.check_visibility: {name} is not a function"])
    found: Visibility = hook
    return found
