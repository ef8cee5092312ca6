"""A Redis that can be made to answer whatever it shall: a real one, behind a proxy that knows commands."""

from __future__ import annotations

from typing import Any

import gevent
from gevent.server import StreamServer
from gevent.socket import create_connection

LOGIN = (b"CLIENT", b"HELLO", b"AUTH", b"SELECT")


class Proxy:
    """Passes all on to the server at `port`, but answers every command with `answer` itself while that is set.

    `spared`: whether the log-in of a connection is answered by the server all the same.
    """

    def __init__(self, port: int) -> None:
        self.answer: bytes | None = None
        self.spared = True
        self.answered = 0
        self._port = port
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._server.server_port}/0"

    def close(self) -> None:
        self._server.stop(timeout=0)

    def _serve(self, client: Any, address: object) -> None:
        try:
            with client, create_connection(("127.0.0.1", self._port)) as server:
                copying = gevent.spawn(self._copy, server, client)
                try:
                    self._pass_on(client, server)
                finally:
                    copying.kill()
        except OSError:
            pass

    @staticmethod
    def _copy(source: Any, target: Any) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.close()
        except OSError:
            pass

    def _pass_on(self, client: Any, server: Any) -> None:
        with client.makefile("rb") as file:
            while head := file.readline():
                command, name = head, b""
                for _ in range(int(head[1:])):
                    length = file.readline()
                    part = file.read(int(length[1:]) + 2)
                    command += length + part
                    name = name or part.rstrip().upper()
                if self.answer is not None and not (self.spared and name in LOGIN):
                    self.answered += 1
                    client.sendall(self.answer)
                else:
                    server.sendall(command)
