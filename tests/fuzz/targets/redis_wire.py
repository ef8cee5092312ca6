"""A connection to something that is no Redis server: what it says is a value, a loss or a refusal."""

from __future__ import annotations

import re
from collections.abc import Iterator

import gevent.socket

from rplx.engine.redis import address
from rplx.engine.redis.wire import LOST, RedisError, Wire, _make
from tests.fuzz.inputs import plain, repeated

SIZE = 65536
HELLO = b"+OK\r\n" * 3  # what the log-in asks for
ADDRESS = address.parse("redis://localhost")
ANSWERS_MAX = 100
# hiredis makes room for as many items as are announced: a Redis server may use up our memory, so it has to be trusted.
HUGE = re.compile(rb"[*%~>|]\s*[+-]?\d{5}|\$\s*[+-]?\d{8}")


def seeds() -> Iterator[bytes]:
    yield plain(b"-ERR no\r\n-NOAUTH\r\n")
    for answer in (
        b"+OK\r\n:5\r\n$3\r\nabc\r\n$-1\r\n*2\r\n$1\r\na\r\n*0\r\n*-1\r\n",
        b"-MOVED 5 h:1\r\n-LOADING x\r\n-MASTERDOWN\r\n-NOSCRIPT\r\n-ASK x\r\n-CLUSTERDOWN\r\n-READONLY\r\n",
        b"*3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$1\r\nx\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nt\r\n:1\r\n",
        b"%1\r\n+a\r\n:1\r\n_\r\n#t\r\n,1.5\r\n(123\r\n~1\r\n+a\r\n>2\r\n+x\r\n+y\r\n=5\r\ntxt:a\r\n!3\r\nERR\r\n",
        b">2\r\n+\x88\r\n+y\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ):
        yield plain(HELLO + answer)
    for answer in (b"*1\r\n", b"+OK\r\n", b"$5\r\n"):
        yield repeated(answer)


class Stranger(Wire):
    """A Wire whose other side has said all that it will ever say."""

    def __init__(self, data: bytes) -> None:
        ours, self.theirs = gevent.socket.socketpair()
        self.theirs.sendall(data)
        self.theirs.shutdown(gevent.socket.SHUT_WR)
        self._connection = _make(ADDRESS, ADDRESS.nodes[0], False)
        self._connection._connect = lambda: ours

    def close(self) -> None:
        super().close()
        self.theirs.close()


def check(data: bytes) -> None:
    if HUGE.search(data):
        return
    wire = Stranger(data)
    try:
        wire._connect()
        for _ in range(ANSWERS_MAX):
            try:
                wire.read()
            except LOST:
                break
            except RedisError:
                pass
    except (*LOST, RedisError):
        pass
    finally:
        wire.close()
