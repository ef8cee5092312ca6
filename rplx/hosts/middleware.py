"""The WAIT line inside other applications and servers; `rplx.wsgi` is the door to it."""

from __future__ import annotations

import functools
import inspect
import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import gevent

from rplx.engine.factory import is_shared
from rplx.errors import ConfigError, Refusal, Unavailable
from rplx.hosts import gunicorn_worker, runtime
from rplx.hosts.waiting_room import check_server
from rplx.log import Log
from rplx.options.environment import configuration
from rplx.wait_line.application import Application
from rplx.wait_line.granting import MAY_LISTEN, MayListen
from rplx.wait_line.wsgi import refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Environ = dict[str, Any]
WsgiApplication = Callable[[Environ, Any], Iterable[bytes]]

PATHS_MAX = 16  # paths of middlewares in one process whose pages are kept ready where polls cannot wait


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The WAIT line as a WSGI application (protocol page, part 2): `gunicorn -k gevent rplx.wsgi:application`.

    Options come from RPLX_CONFIG and RPLX_SECTION_NAME variables, which are read at the first call. Raises nothing: if
    the options are wrong each poll is answered with 503, and the server's error log says why.
    """
    return _answer("/", environ, start_response)


def checked_application() -> WsgiApplication:
    """Returns `application`. Under gunicorn wrong options, or a part of our hooks, end gunicorn with the reason."""
    gunicorn_worker.check_start()
    return application


class RealplexorMiddleware:
    """Puts the WAIT line into a WSGI application: requests at and below `path` are polls, all others go to `app`.

    Options as for `application`. Once the first request has come, `rplx.publish` in this process goes straight to the
    engine.
    """

    def __init__(self, app: WsgiApplication, path: str = "/rpl", *, may_listen: MayListen | None = None) -> None:
        """`app`: any WSGI application. `path`: begins with "/", such as "/rpl".

        `may_listen(environ, ids)` returns those of `ids` to which who asks may listen, in place of rules and grants
        (docs/protocol.md, part 12). It is called once for each poll, and once for each stream, which ends after
        grants.remember seconds. What it raises is logged, and refuses all of them.

        Raises ValueError for a wrong path, TypeError if `app` is an ASGI application or no application at all.
        """
        if not callable(app) or _is_asynchronous(app):
            kind = "an ASGI application" if callable(app) else "no application"
            raise TypeError(f"{app!r} is {kind}: this middleware goes around a WSGI application")
        path = path.rstrip("/")
        if not path.startswith("/"):
            raise ValueError('path must begin with "/" and be more than that, such as "/rpl"')
        self._app = app
        self._path = path
        self._may_listen = may_listen
        self._below = path + "/"
        self._told = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == self._path or path.startswith(self._below):
            inner = dict(environ)
            inner["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + self._path
            inner["PATH_INFO"] = path[len(self._path) :]
            if self._may_listen is not None:
                inner[MAY_LISTEN] = self._may_listen
            return _answer(self._below, inner, start_response)
        if runtime.current() is None and not self._told:
            self._prepare(environ)
        return self._app(environ, start_response)

    def _prepare(self, environ: Environ) -> None:
        """Makes the runtime, so that `app` publishes straight to the engine. Its pages work even if polls cannot."""
        try:
            _runtime(environ)
        except (ConfigError, Refusal) as error:
            self._told = True
            print(f"rplx: polls are not served: {error}", file=environ["wsgi.errors"])


def _is_asynchronous(app: Any) -> bool:
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__)


def _answer(path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    application: Application
    try:
        found = _runtime(environ)
        application = found.application(path)
        found.name_client(environ)
        start_response = found.last_answer(environ, start_response)
    except ConfigError as error:
        print(f"rplx: wrong options:\n{error}", file=environ["wsgi.errors"])
        return refuse(Unavailable("wrong options; the server's error log says which"), environ, start_response)
    except Refusal as error:
        application = _pages_alone(path, error.text)
    return application(environ, start_response)


class _NoParking:
    """A `Parking` for servers in which polls cannot wait: none is admitted."""

    def __init__(self, why: str) -> None:
        self._why = why

    def admit(self, environ: Environ) -> None:
        raise Unavailable(self._why)

    def park(self, *_args: Any, **_named: Any) -> Iterable[bytes]:
        raise Unavailable(self._why)

    def stay(self, *_args: Any) -> Iterable[bytes]:
        raise Unavailable(self._why)

    def can_talk(self, environ: Environ) -> bool:
        return False

    def has_sent_ahead(self, environ: Environ) -> bool:
        return False

    def talk(self, *_args: Any) -> Iterable[bytes]:
        raise Unavailable(self._why)


@functools.lru_cache(maxsize=PATHS_MAX)
def _pages_alone(path: str, why: str) -> Application:
    """Returns a WAIT line whose pages are served and whose polls are refused with `why`. Raises ConfigError."""
    config = runtime.at_path(configuration(), path)
    no_hub: Any = None  # only polls use it, and none is admitted
    log = Log(config.log.verbosity, config.log.connections, runtime.STDERR)
    return Application(no_hub, config, log, _NoParking(why))


def _runtime(environ: Environ) -> runtime.Runtime:
    """Returns the runtime of this process; makes it if polls can wait here. Raises ConfigError, Unavailable."""
    found = runtime.current()
    if found is None:
        check_server(environ, shared_engine=is_shared(configuration()))
        found = runtime.serve()
        worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if hasattr(worker, "alive") and hasattr(worker, "cfg"):
            # A gunicorn worker without our hooks: its signal handler leads to it.
            gevent.spawn(gunicorn_worker.end_with, worker, found)
    return found
