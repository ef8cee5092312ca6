"""Starts the server: reads options, binds, writes the pid file, drops privileges. gevent comes only where it serves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from rplx import process
from rplx.errors import ConfigError
from rplx.log import Log
from rplx.options import Config
from rplx.supervisor import Loader, Supervisor


def serve(load: Callable[[], Config]) -> int:
    """`rplx serve`: runs until a signal ends it; gives the exit status. Errors: ConfigError before anything serves."""
    return _run(lambda: (load(), []), None, supervised=False)


def run_legacy(load: Loader, pidfile: str | None) -> int:
    """`dklab_realplexor`: a supervised server, its process id in `pidfile`. Errors: ConfigError."""
    return _run(load, pidfile, supervised=True)


def _run(load: Loader, pidfile: str | None, *, supervised: bool) -> int:
    config, lines = load()
    process.set_title(config.server.title)
    log = Log(config.log.verbosity, config.log.connections)
    log.message(f"Starting. Opened files limit (ulimit -n): {process.raise_descriptor_limit()}.")
    for line in lines:
        log.message(line)
    try:
        if os.getuid() == 0:
            process.check_user(config.server.user)
        with _pidfile(pidfile):
            if supervised or config.server.max_mem_mb:
                return Supervisor(load, config, bind(config, log), log, serve_in_this_process).run()
            return serve_in_this_process(config, load, bind(config, log), log, supervised=False)
    finally:
        log.flush()


def bind(config: Config, log: Log) -> process.Sockets:
    """The listening sockets of both lines. Errors: ConfigError that names every address that cannot be had."""
    sockets = process.Sockets([], [])
    problems: list[str] = []
    for line, addresses, option, found in (
        ("WAIT", config.wait.listen, "wait.listen (--wait)", sockets.wait),
        ("IN", config.in_.listen, "in.listen (--in)", sockets.in_),
    ):
        try:
            found += process.listen(addresses, option, browsers=line == "WAIT")
        except ConfigError as error:
            problems += error.problems
    if problems:
        sockets.close()
        raise ConfigError(problems)
    for line, found in (("WAIT", sockets.wait), ("IN", sockets.in_)):
        for sock in found:
            log.message(f"{line}: listening {process.show_address(sock)}")
    return sockets


def serve_in_this_process(config: Config, load: Loader, sockets: process.Sockets, log: Log, *, supervised: bool) -> int:
    """Drops privileges and serves; gives the exit status. Errors: ConfigError."""
    if process.drop_privileges(config.server.user):
        log.message(f'Switching current user to unprivileged "{config.server.user}"')
    from rplx.server import Server  # brings gevent's loop with it, which must not be there before a fork

    return Server(config, load, sockets, log, supervised=supervised).run()


@contextlib.contextmanager
def _pidfile(path: str | None) -> Iterator[None]:
    """Holds this process's id in a file while it runs. Errors: ConfigError if it cannot be written."""
    if path is None:
        yield
        return
    file = Path(path)
    try:
        file.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise ConfigError([f"cannot write the pid file {path}: {error.strerror}"]) from None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
