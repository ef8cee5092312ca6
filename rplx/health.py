"""Whether a server answers browsers: what a container's health check asks. Imports no gevent."""

from __future__ import annotations

import http.client
from urllib.parse import quote

from rplx.checks import parse_address
from rplx.environment import EVERYWHERE
from rplx.errors import Unhealthy
from rplx.options import Config

TIMEOUT = 4.0  # seconds for the answer


def check(config: Config) -> str:
    """One line that says it is well. Asks the first address of WAIT for the script. Errors: Unhealthy."""
    host, port = parse_address(config.wait.listen[0])
    host = EVERYWHERE.get(host, host)
    path = f"/?{quote(config.pages.identifier)}={quote(config.pages.script_id)}"
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or error or type(error).__name__
        raise Unhealthy(f"{host}:{port}: {why} (is the server running there? --set wait.listen)") from None
    finally:
        connection.close()
    if status >= 500:
        raise Unhealthy(f"{host}:{port}: answered {status}")
    return f"{host}:{port} answers"
