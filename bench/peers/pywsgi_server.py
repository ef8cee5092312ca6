"""Long polling on gevent's own WSGI server: `python -m bench.peers.pywsgi_server`, prints where it listens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.pywsgi import WSGIServer

from bench.peers.marker import channel_of

BACKLOG = 4096  # connections that the kernel may hold for us, as in the other servers

waiting: dict[str, AsyncResult[bytes]] = defaultdict(AsyncResult)


def wait(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    message = waiting[channel_of(environ["QUERY_STRING"])].get()
    start_response("200 OK", [("Content-Type", "text/javascript"), ("Content-Length", str(len(message)))])
    return [message]


def send(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    message = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    waiting.pop(channel_of(environ["HTTP_X_REALPLEXOR"]), AsyncResult()).set(message)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "7")])
    return [b"stored\n"]


def main() -> None:
    servers = {
        line: WSGIServer(("127.0.0.1", 0), application, log=None, backlog=BACKLOG)
        for line, application in (("WAIT", wait), ("IN", send))
    }
    for line, server in servers.items():
        server.start()
        print(f"{line}: listening 127.0.0.1:{server.server_port}", flush=True)
    gevent.wait()


if __name__ == "__main__":
    main()
