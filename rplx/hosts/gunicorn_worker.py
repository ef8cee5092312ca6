"""Hooks and settings for gunicorn: `gunicorn -c python:rplx.gunicorn rplx.wsgi:application`.

The hooks bind the IN line in the master, serve it in each worker, and end waiting polls when a worker stops. The
settings suit connections that wait; the command line wins over them. A configuration file of your own begins with
`from rplx.gunicorn import *`; hooks that it defines run beside ours of the same names.

The master must not load gevent, which its workers load and patch after the fork: here gevent and the modules that need
it are imported inside the functions that run in a worker.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from rplx.engine.factory import check_engine, check_installed, is_shared
from rplx.errors import ConfigError
from rplx.net.listening import listen, show_address
from rplx.options.environment import configuration
from rplx.options.table import Config
from rplx.system import standard_streams
from rplx.system.holders import children_of, holds_any, inodes_of
from rplx.system.limits import raise_descriptor_limit

__all__ = (  # noqa: RUF022 - in the order in which gunicorn reads them: worker_class sees to the hooks behind it
    "worker_class",
    "keepalive",
    "limit_request_line",
    "nworkers_changed",
    "on_exit",
    "on_starting",
    "post_worker_init",
    "pre_exec",
    "worker_connections",
    "worker_exit",
    "worker_int",
)

worker_connections = 10_000  # polls and other connections that a worker holds; gunicorn's own default is 1000
keepalive = 10  # seconds that a kept connection may idle between two polls, and hold up a worker's end; default 2
limit_request_line = 8190  # bytes: a poll of many channels, the most that gunicorn can be set to

PARTLY = (
    "your gunicorn configuration replaces some of rplx.gunicorn's hooks: let worker_class be rplx.gunicorn's, which"
    " has both run, or call rplx.gunicorn's hook of the same name in yours"
)
LOOK_EVERY = 0.2  # seconds between two looks at whether the worker is to end
PROBE_TIMEOUT = 1.0  # seconds for connecting to this machine's own WAIT line
GRACE = 1.0  # seconds of gunicorn's graceful_timeout that are left for the last answers to go out
SOCKETS_VARIABLE = "GUNICORN_RPLX_IN"  # descriptors of the IN line that a new master takes over (SIGUSR2)

_AT_THE_END = ("on_exit", "worker_exit", "worker_int")
_HOOKS = ("nworkers_changed", "on_starting", "post_worker_init", "pre_exec", *_AT_THE_END)

_sockets: list[Any] = []  # of the IN line, in the master and in its workers
_wait_addresses: list[tuple[int, Any]] = []  # family and address of each WAIT socket, in a worker


def worker_class() -> str:
    """Returns the name of the worker's class; gunicorn asks for it while it reads this configuration.

    Raises SystemExit if such a worker cannot be loaded.
    """
    try:
        importlib.import_module("gunicorn.workers.ggevent")  # as gunicorn itself is about to
    except ImportError as error:
        raise SystemExit(f"rplx: gunicorn's gevent workers need more: pip install 'rplx[gunicorn]' ({error})") from None
    for module in list(sys.modules.values()):
        if vars(module).get("worker_class") is worker_class and module.__name__ != __name__:
            _join_hooks(module)
    return "gevent"


def _join_hooks(module: ModuleType) -> None:
    """Joins a configuration's own hooks with ours of the same names, which they would replace silently."""
    for name in _HOOKS:
        theirs = vars(module).get(name)
        if callable(theirs) and theirs is not globals()[name] and not hasattr(theirs, "with_rplx"):
            setattr(module, name, _both(globals()[name], theirs, ours_last=name in _AT_THE_END))


def _both(ours: Callable[..., None], theirs: Callable[..., None], *, ours_last: bool) -> Callable[..., None]:
    """Returns one hook that calls both: ours first, or last where something ends."""

    @functools.wraps(theirs)  # with their signature, which gunicorn looks at
    def both(*arguments: Any) -> None:
        for hook in (theirs, ours) if ours_last else (ours, theirs):
            hook(*arguments)

    both.with_rplx = True  # type: ignore[attr-defined]
    return both


def are_whole(config: Any) -> bool:
    """Returns whether gunicorn's configuration has all of our hooks or none: a part would leave out the IN line."""
    ours = [getattr(config, name) is globals()[name] or hasattr(getattr(config, name), "with_rplx") for name in _HOOKS]
    return all(ours) or not any(ours)


def on_starting(server: Any) -> None:
    """In the master: checks the options and binds the IN line.

    Raises RuntimeError, which gunicorn prints before it ends.
    """
    if _sockets:
        return  # the configuration's own hook has called this one already
    standard_streams.fill()
    try:
        config = configuration()
        if "gevent" not in server.cfg.worker_class_str:
            raise ConfigError(
                [f"rplx needs gunicorn -k gevent: a {server.cfg.worker_class_str} worker cannot hold many polls"]
            )
        check_workers(server.cfg.workers, config)
        check_installed(config)  # workers check engine.url: here redis would load ssl before gevent patches it
        inherited = os.environ.pop(SOCKETS_VARIABLE, "")
        if inherited:
            _sockets[:] = [socket.socket(fileno=int(fd)) for fd in inherited.split(",")]
        else:
            _sockets[:] = listen(config.in_.listen, "in.listen (RPLX_IN_LISTEN)", config.server, browsers=False)
    except ConfigError as error:
        raise RuntimeError(str(error)) from None
    raise_descriptor_limit()
    for sock in _sockets:
        sock.set_inheritable(False)
        server.log.info("IN: listening %s", show_address(sock))


def check_workers(count: int, config: Config) -> None:
    """Raises ConfigError if so many workers could not share their messages."""
    if count > 1 and not is_shared(config):
        kind = config.engine.url.partition(":")[0]
        raise ConfigError(
            [
                f"{count} workers would each keep messages of their own, as engine.url is {kind}:;"
                " set RPLX_ENGINE_URL=redis://HOST:PORT/0, or use one worker (-w 1)"
            ]
        )


def check_start() -> None:
    """Checks the options where a gunicorn worker loads the application, with our hooks or without.

    Raises gunicorn's AppImportError, which ends gunicorn with the text. Does nothing under other servers.
    """
    worker: Any = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if not hasattr(worker, "cfg"):
        return
    try:
        config = configuration()
        check_workers(worker.cfg.workers, config)
        check_engine(config)
        if not are_whole(worker.cfg):
            raise ConfigError([PARTLY])
    except ConfigError as error:
        # The one error that gunicorn prints without a traceback, and after which it starts no other worker.
        raise importlib.import_module("gunicorn.errors").AppImportError(f"rplx: {error}") from None


def nworkers_changed(server: Any, new_value: int, old_value: int | None) -> None:
    """In the master: refuses one worker more (SIGTTIN) where each would keep messages of its own."""
    if _sockets and old_value and new_value > max(1, old_value) and not is_shared(configuration()):
        server.log.error("rplx: more than one worker needs RPLX_ENGINE_URL=redis://HOST:PORT/0; there stays one")
        server.num_workers = 1


def pre_exec(server: Any) -> None:
    """In the process that becomes a new master (SIGUSR2): hands the IN line's sockets on."""
    for sock in _sockets:
        sock.set_inheritable(True)
    server.cfg.env_orig[SOCKETS_VARIABLE] = ",".join([str(sock.fileno()) for sock in _sockets])


def on_exit(server: Any) -> None:
    """In the master, when all workers have ended: closes the IN line's sockets."""
    while _sockets:
        _sockets.pop().close()


def post_worker_init(worker: Any) -> None:
    """In the worker, once gevent is in place: serves the IN line, and has polls end when the worker is to end."""
    import gevent

    from rplx.hosts import runtime

    serving = runtime.serve()
    if serving.has_in:
        return  # as in on_starting
    _wait_addresses[:] = [(sock.family, sock.getsockname()) for sock in worker.sockets]
    serving.start_in(_sockets)
    gevent.spawn(end_with, worker, serving)


def end_with(worker: Any, serving: Any) -> None:
    """Ends the polls when the worker is asked to end gently: gunicorn calls no hook then, and waits for them."""
    import gevent

    master, inodes = os.getppid(), inodes_of(worker.sockets)
    while worker.alive:
        gevent.sleep(LOOK_EVERY)
    seconds = max(0.0, min(serving.config.server.drain, worker.cfg.graceful_timeout - GRACE))
    serving.end_polls(seconds, followed=_is_followed(master, inodes))


def _is_followed(master: int, inodes: set[int]) -> bool:
    """Returns whether others go on serving the WAIT line, whose sockets have these `inodes`, or nobody can tell.

    A master that ends closes them before it tells its workers. A new master (SIGUSR2), which is a child of the old one
    with workers of its own, holds them, too.
    """
    try:
        new_masters = [process for process in children_of(master) if children_of(process)]
        return any(holds_any(process, inodes) for process in (master, *new_masters))
    except OSError:  # they belong to another user
        return True


def worker_int(worker: Any) -> None:
    """In a worker that has to end at once: answers its polls with an empty body."""
    from rplx.hosts import runtime

    serving = runtime.current()
    if serving is not None:
        serving.end_polls(0)


def worker_exit(server: Any, worker: Any) -> None:
    """In the worker, when it serves no more: ends the IN line. gunicorn calls it in the master too, with no effect."""
    from rplx.hosts import runtime

    serving = runtime.current()
    if serving is not None:
        serving.stop(GRACE, last=not _is_wait_served())


def _is_wait_served() -> bool:
    """Returns whether a process still listens on the WAIT line, which this worker has closed.

    The master closes its own WAIT sockets before it tells its workers to end, and at a reload it keeps them open, so
    this tells whether another worker goes on serving the IN line, whose sockets the master holds open in both cases.
    """
    for family, address in _wait_addresses:
        with socket.socket(family) as sock:
            sock.settimeout(PROBE_TIMEOUT)
            try:
                sock.connect(address)
            except TimeoutError:
                return True  # its queue is full
            except OSError:
                continue
            return True
    return False
