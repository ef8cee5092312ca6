"""Clients that come on and on, to see what becomes of them while a server ends."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.waiting import PATIENCE, eventually

COUNT = 8  # clients at once
FIRST = 100  # answers that they have before the constructor returns


class Comers:
    """Clients that connect to `address`, send `request` and come again at once, until they are refused."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.answers: list[bytes] = []
        self.cut_off: list[OSError] = []  # errors of those who had connected
        self._threads = [threading.Thread(target=self._come, args=(address, request)) for _ in range(COUNT)]
        for thread in self._threads:
            thread.start()
        eventually(lambda: len(self.answers) > FIRST)

    @property
    def come_on(self) -> bool:
        """Whether none has been refused yet."""
        return all(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Returns when all have been refused."""
        for thread in self._threads:
            thread.join()

    def _come(self, address: tuple[str, int], request: bytes) -> None:
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                with socket.create_connection(address, PATIENCE) as client:
                    try:
                        client.sendall(request)
                        self.answers.append(client.recv(65536))
                    except OSError as error:
                        self.cut_off.append(error)
