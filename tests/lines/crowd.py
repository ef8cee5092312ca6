"""Parks many listeners from a process of its own and counts who is served: `crowd.py HOST PORT SOURCE COUNT ID`.

It prints `parked` when all have their head, and at the end how many got their answer whole, and the seconds between
the first and the last of them.
"""

from __future__ import annotations

import resource
import select
import socket
import sys
import time

TIMEOUT = 120.0
WINDOW = 500  # connections whose head is awaited at once
HEAD_END = b"\r\n\r\n \r\n"


def main(host: str, port: int, source: str, count: int, id: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    poller = select.epoll()
    socks: dict[int, socket.socket] = {}
    request = b"identifier=1:%b\n" % id.encode()
    deadline = time.monotonic() + TIMEOUT
    opened = parked = 0
    got: dict[int, bytes] = {}
    while parked < count and time.monotonic() < deadline:
        while opened < count and opened - parked < WINDOW:
            sock = socket.socket()
            sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            sock.bind((source, 0))
            sock.connect((host, port))
            sock.setblocking(False)
            sock.send(request)
            socks[sock.fileno()] = sock
            poller.register(sock.fileno(), select.EPOLLIN)
            got[sock.fileno()] = b""
            opened += 1
        for fd, _ in poller.poll(1, 1024):
            part = socks[fd].recv(65536)
            got[fd] += part
            if got[fd].endswith(HEAD_END):
                got[fd] = b""
                parked += 1
    print("parked" if parked == count else f"only {parked} parked", flush=True)
    served = 0
    first = last = 0.0
    deadline = time.monotonic() + TIMEOUT
    while served < count and time.monotonic() < deadline:
        for fd, _ in poller.poll(1, 1024):
            part = socks[fd].recv(65536)
            if part:
                got[fd] += part
                continue
            poller.unregister(fd)
            if got[fd].startswith(b"[\n") and got[fd].endswith(b'"data": "to all"\n  }\n]'):
                served += 1
                last = time.monotonic()
                first = first or last
    print(served, f"{last - first:.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
