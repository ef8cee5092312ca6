"""What `rplx.publish` does: straight to the engine in a process that serves polls, elsewhere through the IN line."""

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

_clients: dict[tuple[str, int], Realplexor] = {}  # by address; a client survives a fork and serves any threads


def publish(ids: Ids, data: Any, limit_to: Ids | None = None) -> dict[str, str]:
    """Sends `data` to channels; see rplx.publish, which is the door to it."""
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
    # Looked up, not imported: a process that serves no polls need not load the server.
    module = sys.modules.get("rplx.hosts.runtime")
    return None if module is None else module.current()
