"""Thousands of connections in one epoll: listeners, and those who only seem to be some."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.soak.clients import HANDSHAKE, RESET, Address

WINDOW = 256  # connections under way at once, where they come one after another
PER_SOURCE = 10_000  # connections from one address of loopback
HEAD_END = b"\r\n\r\n \r\n"  # of a listener that was told its head at once
_UNDER_WAY = (0, errno.EINPROGRESS)


@dataclass(slots=True, eq=False)
class Member:
    """One connection. `data`: what has come, `at`: when the last of it did, `end`: how it ended, "" while it lasts."""

    sock: socket.socket
    request: bytes
    data: bytes = b""
    at: float = 0.0
    began: float = 0.0
    end: str = ""
    asked: bool = False

    def send(self, data: bytes) -> None:
        """Sends, if there is somebody to take it."""
        with contextlib.suppress(OSError):
            self.sock.send(data)


class Crowd:
    """Connections to one address. Nothing moves but in `look` and what calls it. A context manager: closes them all."""

    def __init__(self, address: Address, *, receive_buffer: int = 0) -> None:
        self.address = address
        self.members: list[Member] = []
        self._receive_buffer = receive_buffer
        self._by_descriptor: dict[int, Member] = {}
        self._poller = select.epoll()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._poller.close()

    def come(self, count: int, request: bytes) -> list[Member]:
        """`count` connect at once, and send `request` as soon as they can."""
        newcomers = [self._connect(request) for _ in range(count)]
        self.members += newcomers
        return newcomers

    def park(self, count: int, request: bytes, timeout: float = 60.0) -> list[Member]:
        """`count` come, a window at a time, and have their heads. For HTTP/1.0 and plain text."""
        parked: list[Member] = []
        while len(parked) < count:
            some = self.come(min(WINDOW, count - len(parked)), request)
            self.until(partial(_all_parked, some), timeout, "all have their heads")
            parked += some
        return parked

    def _connect(self, request: bytes) -> Member:
        sock = socket.socket()
        sock.setblocking(False)
        if self._receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        if self.address[0].startswith("127."):
            sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            sock.bind((f"127.0.0.{2 + len(self._by_descriptor) // PER_SOURCE}", 0))
        member = Member(sock, request, began=time.monotonic())
        result = sock.connect_ex(self.address)
        if result not in _UNDER_WAY:
            raise OSError(result, "connect")
        self._by_descriptor[sock.fileno()] = member
        self._poller.register(sock, select.EPOLLIN | select.EPOLLOUT)
        return member

    def look(self, timeout: float = 0.0) -> list[Member]:
        """Takes what has come within `timeout` seconds at most; gives those for whom something has."""
        changed = []
        for fd, events in self._poller.poll(timeout, 4096):
            member = self._by_descriptor[fd]
            if not member.asked:
                self._ask(member)
            if events & ~select.EPOLLOUT and not member.end:
                self._read(member)
                changed.append(member)
        return changed

    def _ask(self, member: Member) -> None:
        if member.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.end(member, "refused")
            return
        member.asked = True
        if member.request:
            member.send(member.request)
        self._poller.modify(member.sock, 0 if self._receive_buffer else select.EPOLLIN)

    def _read(self, member: Member) -> None:
        try:
            part = member.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            self.end(member, "reset")
            return
        member.at = time.monotonic()
        if part:
            member.data += part
        else:
            self.end(member, "closed")

    def end(self, member: Member, how: str = "left", *, hard: bool = False) -> None:
        """Closes a member's connection, `hard` with a reset."""
        if member.end:
            return
        member.end = how
        member.at = time.monotonic()
        del self._by_descriptor[member.sock.fileno()]
        self._poller.unregister(member.sock)
        if hard:
            member.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        member.sock.close()

    def leave(self, *, hard: bool = False) -> None:
        """All go, and are forgotten."""
        for member in self.members:
            self.end(member, hard=hard)
        self.members = []

    def until(self, check: Callable[[], bool], timeout: float, what: str = "") -> bool:
        """Looks until `check()`; False if that is not within `timeout` seconds, AssertionError if `what` is named."""
        deadline = time.monotonic() + timeout
        while not check():
            if time.monotonic() > deadline:
                assert not what, f"not within {timeout:g} s: {what}"
                return False
            self.look(0.02)
        return True

    def lasting(self) -> Iterator[Member]:
        return (member for member in self.members if not member.end)


def is_parked(member: Member) -> bool:
    return member.data.endswith(HEAD_END)


def _all_parked(members: list[Member]) -> bool:
    return all(map(is_parked, members))


def http(version: str, identifiers: str) -> bytes:
    """A listener's request."""
    return f"GET /?identifier={identifiers} HTTP/{version}\r\nHost: x\r\n\r\n".encode()


def stream(identifiers: str) -> bytes:
    """An event stream's request."""
    return f"GET /?identifier={identifiers} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode()


def websocket(identifiers: str) -> bytes:
    """The handshake of a WebSocket that listens at once."""
    return (HANDSHAKE % f"?identifier={identifiers}").encode()


def is_answer(member: Member) -> bool:
    """Whether a kept connection's answer is there, whole."""
    head, blank, body = member.data.partition(b"\r\n\r\n")
    length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
    return bool(blank) and len(body) >= int(length)
