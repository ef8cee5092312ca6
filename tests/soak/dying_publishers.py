"""Back-ends that die in the middle of a request, at every byte of it: is anything stored?"""

from __future__ import annotations

import socket
from dataclasses import dataclass

import gevent

from tests.live import LiveServer
from tests.soak.clients import Address, Listener, connect, reset
from tests.soak.vitals import descriptors
from tests.waiting import eventually

TEXT = b'{"half": "a message", "of": [1, 2, 3]}'
_HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nX-Realplexor: identifier=5:%b\r\n"
FORMS = {
    "length": _HEAD + b"Content-Length: %d\r\n\r\n" % len(TEXT) + TEXT,
    "chunked": _HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (TEXT[:7], TEXT[7:20], TEXT[20:]))
    + b"0\r\n\r\n",
    "old": b"identifier=5:%b\n\n" + TEXT,
    "old_http": _HEAD + b"\r\n" + TEXT,  # no length: the body ends with the sending half
}
CLOSES_EARLY = ("length", "chunked")  # forms in which also a proper end in the middle is known to be none
BATCH = 100  # channels of one look
NOW = "&position"  # a poll that does not wait


@dataclass
class Count:
    """`deaths`: connections that died. `stored`: channels in which something was found, `whole`: where it had to be."""

    deaths: int = 0
    stored: int = 0
    whole: int = 0

    @property
    def flawless(self) -> bool:
        return self.deaths > 0 and not self.stored and self.whole == len(FORMS)


def run(*, step: int = 1) -> Count:
    """Each form is cut behind every `step`th byte, the last but one too, by a reset and where it counts by a close."""
    count = Count()
    with LiveServer() as server:
        listener = Listener(server.wait, "kept")
        listener.poll({"any": None}, query=NOW)
        alone = descriptors(server.process.pid)
        channels: list[str] = []
        for form, request in FORMS.items():
            for way in ("reset", "close") if form in CLOSES_EARLY else ("reset",):
                channels += _deaths(server.in_, f"{form}_{way}", request, way, step)
        count.deaths = len(channels)
        eventually(lambda: descriptors(server.process.pid) <= alone, timeout=30, told=lambda: "the dead are noticed")
        for start in range(0, len(channels), BATCH):
            answer = listener.poll(dict.fromkeys(channels[start : start + BATCH], "1"), query=NOW)
            count.stored += len(answer.blocks)
        for form, request in FORMS.items():
            _publish(server.in_, request % form.encode())
            count.whole += len(listener.poll({form: "1"}, query=NOW).blocks)
    return count


def _deaths(in_: Address, name: str, request: bytes, way: str, step: int) -> list[str]:
    """Cuts a request behind all its bytes, in a channel of its own each; gives the channels."""
    channels = []
    size = len(request % f"{name}_0000".encode())
    last = size if name.startswith(CLOSES_EARLY) else size + 1  # the others have no end without a half-close
    for end in sorted({*range(0, last, step), last - 1}):
        channels.append(f"{name}_{end:04}")
        sock = connect(in_)
        sock.sendall((request % channels[-1].encode())[:end])
        if way == "reset":
            gevent.sleep(0.001 if end % 2 else 0)  # the bytes are read before, or with the reset
            reset(sock)
        else:
            sock.close()
    return channels


def _publish(in_: Address, request: bytes) -> None:
    """The same request, with the end that it has."""
    sock = connect(in_)
    sock.sendall(request)
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(4096):
        pass
    sock.close()
