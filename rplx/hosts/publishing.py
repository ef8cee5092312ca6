"""`rplx.publish`: straight to the listeners in a process that serves them, elsewhere through the IN line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rplx.options.environment import in_address

if TYPE_CHECKING:
    from rplx.client import Realplexor
    from rplx.client.names import Ids
    from rplx.hosts.runtime import Runtime

HINT = (
    "no polls are served in this process, so the message goes to the IN line of one that serves them: run `rplx serve`,"
    " or the application by gunicorn -c python:rplx.gunicorn; RPLX_IN says where else the IN line is"
)

_clients: dict[tuple[str, int], Realplexor] = {}  # a client survives a fork, and any number of threads may use it


def publish(ids: Ids, data: Any, limit_to: Ids | None = None) -> dict[str, str]:
    """Sends `data` to channels; gives the receipt: id -> the message's cursor there. Stored when this returns.

    `ids`: an id, several, or a mapping id -> cursor (None: one is drawn). `data`: anything that `json` takes.
    `limit_to`: ids; only those who also listen to one of them see the message.

    In a process that serves polls (a worker under RealplexorMiddleware or `rplx.wsgi:application`) the message goes
    straight to the engine; from any other process to the IN line at RPLX_IN, by default `in.listen`. May be called from
    any thread. Errors: rplx.client.RealplexorError, as the client's `send`; ConfigError for wrong RPLX_ variables.
    """
    runtime = _runtime()
    if runtime is not None:
        return runtime.publish(ids, data, limit_to)
    address = in_address()
    from rplx.client import ConnectionFailed, Realplexor

    client = _clients.get(address)
    if client is None:
        client = _clients[address] = Realplexor(*address)
    try:
        return client.send(ids, data, limit_to)
    except ConnectionFailed as error:
        raise ConnectionFailed(f"{error} ({HINT})") from error


def _runtime() -> Runtime | None:
    # Asked for, not imported: who never served need not load the server.
    module = sys.modules.get("rplx.hosts.runtime")
    return None if module is None else module.current()
