"""`python -m bench.peers.plain_server`: the least that a gevent server does for a send, on rplx's own interpreter.

It accepts, reads one request whole (llhttp), answers with a fixed receipt and lets the connection go; nothing is kept.
"""

from __future__ import annotations

import socket

import httptools
from gevent.server import StreamServer

ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\nc0 1795494981.476271"
REQUEST_MAX = 65536  # bytes that are read at once


class Request:
    """What llhttp reports of one request."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.is_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.is_whole = True


def answer(connection: socket.socket, address: object) -> None:
    request = Request()
    parser = httptools.HttpRequestParser(request)
    while not request.is_whole and (data := connection.recv(REQUEST_MAX)):
        parser.feed_data(data)
    connection.sendall(ANSWER)


if __name__ == "__main__":
    server = StreamServer(("127.0.0.1", 0), answer, backlog=4096)
    server.start()
    for line in ("WAIT", "IN"):
        print(f"{line}: listening 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
