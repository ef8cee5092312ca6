"""Clients of WebSockets that never pause."""

from __future__ import annotations

import select
import socket
import threading

from rplx.protocol.deflate import deflated
from rplx.protocol.websocket import Opcode
from tests.lines.sockets import request
from tests.lines.wire import Conversation
from tests.protocol.frames import frame, text

CHANNELS = ",".join(f'"c{number:03}":"1.0"' for number in range(490))
FLOODS = {
    "pings": frame(Opcode.PING) * 2000,
    "nothing new": text('{"stop":["a"]}') * 800,
    "many channels": text('{"listen":{%s}}' % CHANNELS),
    "bombs": frame(Opcode.TEXT, deflated(b'{"stop":[]%s}' % (b" " * 65_000)), bits=0x40) * 100,
}
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


class Flood:
    """Clients that send the same again and again, and read all answers, until they are told to end."""

    def __init__(self, address: tuple[str, int], count: int, data: bytes) -> None:
        self._data = data
        self._places: dict[socket.socket, int] = {}  # how much of `data` was sent last
        for _ in range(count):
            conversation = Conversation(address, request("/?identifier=f", DEFLATE))
            assert conversation.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
            conversation.sock.setblocking(False)
            self._places[conversation.sock] = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        sockets = list(self._places)
        while not self._ended.is_set():
            readable, writable, _ = select.select(sockets, sockets, [], 0.1)
            for sock in readable:
                assert sock.recv(1 << 20)[:1] != b"\x88"
            for sock in writable:
                place = self._places[sock] % len(self._data)
                self._places[sock] = place + sock.send(self._data[place:])

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        for sock in self._places:
            sock.close()
