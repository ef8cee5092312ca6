"""Starts the server: reads options, binds, writes the pid file, drops privileges. gevent comes only where it serves."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Callable
from functools import partial

from rplx.engine.factory import check_engine
from rplx.errors import ConfigError
from rplx.log import Log
from rplx.net.listening import Sockets, listen, show_address
from rplx.options.table import Config
from rplx.serving.supervisor import Loader, Supervisor
from rplx.system import pidfile
from rplx.system.limits import starting
from rplx.system.privileges import check_user, drop_capabilities, drop_privileges
from rplx.system.service import notify, set_title
from rplx.system.signals import hold_signals

# Most of what rplx.serving.server loads.
BEFORE_FORKS = ("rplx.assembly", "rplx.legacy.perl.config", "rplx.wait_line.draining")


def serve(load: Callable[[], Config]) -> int:
    """`rplx serve`: runs until a signal ends it; gives the exit status. Errors: ConfigError before anything serves."""
    status = _run(lambda: (load(), []), None, supervised=False)
    with contextlib.suppress(OSError):  # a hook may have printed to somebody who has gone
        sys.stdout.flush()
    os._exit(status)  # the interpreter's own end would walk through every listener that is still parked


def check(load: Callable[[], Config]) -> int:
    """`rplx serve --check-config`: all that a start or a reload reads. Gives the exit status. Errors: ConfigError."""
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
    """`dklab_realplexor`: a supervised server, its process id in the file at `path`. Errors: ConfigError."""
    return _run(load, path, supervised=True)


def _run(load: Loader, path: str | None, *, supervised: bool) -> int:
    hold_signals()  # until there is somebody to handle them
    config, lines = load()
    set_title(config.server.title)
    log = Log(config.log.verbosity, config.log.connections)
    log.message(starting())
    for line in lines:
        log.message(line)
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
            return serve_in_this_process(config, load, sockets, log, ready=ready, supervised=False)
    finally:
        log.flush()


def _load_server(*, forks: bool) -> None:
    """Before the sockets are bound: who connects then would wait until all is loaded.

    What `forks` loads no module that makes gevent's loop, which children cannot share.
    """
    for name in BEFORE_FORKS if forks else ("rplx.serving.server",):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that the collection before the first request, in a child too, does not walk through all of it


def bind(config: Config, log: Log) -> list[Sockets]:
    """The listening sockets of each worker. Errors: ConfigError that names every address that cannot be had.

    Each worker has WAIT sockets of its own on the same ports, so that one that dies resets nobody's connection but its
    own; they share those of IN.
    """
    workers = config.server.workers
    problems: list[str] = []
    all_sockets = [Sockets([], []) for _ in range(workers)]
    try:
        for sock in listen(config.wait.listen, "wait.listen (--wait)", browsers=True, shared=workers > 1):
            log.message(f"WAIT: listening {show_address(sock)}")
            all_sockets[0].wait.append(sock)
        for sockets in all_sockets[1:]:
            bound = [show_address(sock) for sock in all_sockets[0].wait]
            sockets.wait.extend(listen(bound, "wait.listen (--wait)", browsers=True, shared=True))
    except ConfigError as error:
        problems += error.problems
    try:
        in_ = listen(config.in_.listen, "in.listen (--in)", browsers=False)
        for sock in in_:
            log.message(f"IN: listening {show_address(sock)}")
        for sockets in all_sockets:
            sockets.in_.extend(in_)
    except ConfigError as error:
        problems += error.problems
    if problems:
        for sockets in all_sockets:
            sockets.close()
        raise ConfigError(problems)
    return all_sockets


def serve_in_this_process(
    config: Config,
    load: Loader,
    sockets: Sockets,
    log: Log,
    *,
    ready: Callable[[], None],
    supervised: bool,
) -> int:
    """Drops privileges and serves; gives the exit status. Errors: ConfigError."""
    # Brings gevent's loop with it, which must not be there before a fork.
    from rplx.serving.server import Server

    server = Server(config, load, sockets, log, supervised=supervised)
    if drop_privileges(config.server.user):
        log.message(f'Switching current user to unprivileged "{config.server.user}"')
    if not drop_capabilities():
        log.error("cannot give up capabilities(7); the system call capset is forbidden here")
    return server.run(ready)
