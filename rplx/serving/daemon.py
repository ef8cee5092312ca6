"""Starts the server: reads options, binds, writes the pid file, drops privileges.

gevent's loop is made only in processes that serve, as children of a process that has one could not share it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from rplx.engine.factory import MEMORY_URL, check_engine
from rplx.log import Log
from rplx.net.listening import Sockets
from rplx.options.table import Config
from rplx.serving.binding import bind
from rplx.serving.collecting import set_aside
from rplx.serving.supervisor import Loader, Supervisor
from rplx.system import pidfile
from rplx.system.limits import starting
from rplx.system.privileges import check_user, drop_capabilities, drop_privileges
from rplx.system.service import notify, set_title
from rplx.system.signals import hold_signals

FORGETS = "History is in memory and ends with the process; --set engine.url=sqlite:///FILE keeps it"

# Most of what rplx.serving.server loads, without the modules that make gevent's loop.
BEFORE_FORKS = ("rplx.assembly", "rplx.legacy.perl.config", "rplx.wait_line.server")


def serve(load: Callable[[], Config]) -> NoReturn:
    """`rplx serve`: serves until a signal ends it, and ends the process. Raises ConfigError before anything serves.

    `load` reads the options; it is called again at each reload.
    """
    status = _run(lambda: (load(), []), None, supervised=False)
    with contextlib.suppress(OSError):  # a hook may have printed to a pipe that nobody reads any more
        sys.stdout.flush()
    os._exit(status)  # the interpreter's own end would walk through every listener that is still parked


def check(load: Callable[[], Config]) -> int:
    """`rplx serve --check-config`: reads all that a start or a reload reads; returns the exit status.

    Raises ConfigError.
    """
    from rplx import assembly

    config = load()
    log = Log(1)
    check_engine(config)
    check_user(config.server.user if os.getuid() == 0 else "")
    assembly.load(config, log)
    log.message("The configuration is right.")
    log.flush()
    return 0


def run_legacy(load: Loader, path: str | None) -> int:
    """`dklab_realplexor`: runs a supervised server, with its process id in the file at `path` if one is given.

    Returns the exit status. Raises ConfigError before anything serves.
    """
    return _run(load, path, supervised=True)


def _run(load: Loader, path: str | None, *, supervised: bool) -> int:
    hold_signals()  # until there are handlers for them
    config, lines = load()
    set_title(config.server.title)
    log = Log(config.log.verbosity, config.log.connections)
    log.message(starting())
    for line in lines:
        log.message(line)
    if not supervised and config.engine.url == MEMORY_URL and not config.demo.enabled:
        log.message(FORGETS)
    try:
        check_engine(config)
        if os.getuid() == 0:
            check_user(config.server.user)
        with pidfile.held(path):
            forks = supervised or config.server.max_mem_mb > 0 or config.server.workers > 1
            _load_server(forks=forks)
            if forks:
                return Supervisor(load, config, log, bind, serve_in_this_process).run()
            (sockets,) = bind(config, log)
            ready = partial(notify, "READY=1", log)
            try:
                return serve_in_this_process(config, load, sockets, log, ready=ready, supervised=False)
            finally:
                sockets.close()
    finally:
        log.flush()


def _load_server(*, forks: bool) -> None:
    """Loads the server's modules before the sockets are bound, as clients that connected would wait meanwhile.

    `forks`: this process is going to fork, so no module is loaded that makes gevent's loop.
    """
    for name in BEFORE_FORKS if forks else ("rplx.serving.server",):
        importlib.import_module(name)
    set_aside()  # so that the collection when serving begins, in a child too, does not walk through all of it


def serve_in_this_process(
    config: Config,
    load: Loader,
    sockets: Sockets,
    log: Log,
    *,
    ready: Callable[[], None],
    supervised: bool,
) -> int:
    """Drops privileges and serves; returns the exit status. Raises ConfigError, Unavailable."""
    # Imported late, as it makes gevent's loop, which must not be there before a fork.
    from rplx.serving.server import Server

    server = Server(config, load, sockets, log, supervised=supervised)
    if drop_privileges(config.server.user):
        log.message(f'Switching current user to unprivileged "{config.server.user}"')
    if not drop_capabilities():
        log.error("cannot give up capabilities(7); the system call capset is forbidden here")
    return server.run(ready)
