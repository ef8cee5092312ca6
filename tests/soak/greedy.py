"""Are polls answered at once beside a back-end that sends ahead without a pause?"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import gevent

from tests.soak.clients import Listener

REQUEST = b"POST /?identifier=greedy HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1"
ANSWER = b"HTTP/1.1 200 OK"


@dataclass
class Count:
    """`p99_ms`: within which 99 of 100 polls were answered; `promised_ms`: within which they have to be."""

    polls: int = 0
    sends: int = 0
    p99_ms: float = 0.0
    promised_ms: float = 0.0

    @property
    def sound(self) -> bool:
        return self.polls > 0 and self.sends > 0

    @property
    def flawless(self) -> bool:
        return self.sound and self.p99_ms < self.promised_ms


def run(*, seconds: float, promised_ms: float) -> Count:
    """Polls that need no waiting, one after the other, each timed."""
    from tests.live import LiveServer

    found = []
    with LiveServer() as server:
        command = [sys.executable, "-m", "tests.soak.greedy", server.in_[0], str(server.in_[1])]
        back_end = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert back_end.stdout is not None
        back_end.stdout.readline()  # it has its first answer
        listener = Listener(server.wait)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            listener.poll({"a": None}, query="&position")
            found.append(time.perf_counter() - begin)
            gevent.sleep(0.002)
        listener.drop(hard=False)
        sends, _ = back_end.communicate("")
    found.sort()
    return Count(len(found), int(sends), found[len(found) * 99 // 100] * 1000, promised_ms)


def send_until_told(host: str, port: int) -> int:
    """Sends ahead as fast as it can until standard input ends; gives how many sends were answered."""
    sock = socket.create_connection((host, port))
    ended = threading.Event()

    def send() -> None:
        while not ended.is_set():
            sock.sendall(REQUEST * 10_000)
        sock.shutdown(socket.SHUT_WR)

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    for target in (send, wait):
        threading.Thread(target=target, daemon=True).start()
    count = 0
    while part := sock.recv(1 << 20):
        if not count:
            print("sending", flush=True)
        count += part.count(ANSWER)  # one that is cut in two is not counted
    return count


if __name__ == "__main__":
    print(send_until_told(sys.argv[1], int(sys.argv[2])))
