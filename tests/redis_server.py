"""Real Redis servers for tests: single ones, a master with Sentinel, a cluster. Each in a folder of its own."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import gevent
import gevent.socket
import redis

from tests.waiting import PATIENCE, eventually

START_TIMEOUT = 120.0  # seconds
FOLDERS = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a slow disk makes Redis wait for its AOF
AVAILABLE = shutil.which("redis-server") is not None


def _own_ports() -> Iterator[int]:
    """The ports of this process of pytest-xdist, in some order, each as often as every other."""
    first = 10_000 + 1500 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8)
    return itertools.cycle(random.sample(range(first, first + 1500), 1500))


_PORTS = _own_ports()
# Byte N is locked by the process that has port N, until it ends.
_TAKEN = open(os.path.join(tempfile.gettempdir(), f"rplx-ports-{os.getuid()}"), "ab")  # noqa: SIM115


def is_ours(port: int) -> bool:
    """Takes the port for this process, unless another that looks for free ports has it, of this run or another one."""
    try:
        fcntl.lockf(_TAKEN, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port that is free, as is the cluster's bus port, 10,000 above it.

    Both lie below those that the kernel gives to connections (ip_local_port_range): nobody takes them by chance. A port
    is only taken by the server that is started next, so each process of pytest-xdist looks among ports of its own, and
    gives none a second time while it has others; what another run of the tests was given is not free either.
    """
    for port in _PORTS:
        if not is_ours(port):
            continue
        with socket.socket() as sock, socket.socket() as bus:
            try:
                sock.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        return port
    raise AssertionError("ports without end")


class RedisServer:
    """`redis-server` on loopback. `aof`: what it was told survives a restart. `options`: lines of its configuration."""

    def __init__(self, *options: str, aof: bool = False, port: int | None = None, sentinel: bool = False) -> None:
        self.port = port or free_port()
        self.folder = tempfile.mkdtemp(prefix="rplx-redis-", dir=FOLDERS)
        self._sentinel = sentinel
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            "daemonize no",
            f"logfile {self.folder}/log",
            f"pidfile {self.folder}/pid",
            *options,
        ]
        if not sentinel:
            lines += ['save ""', f"appendonly {'yes' if aof else 'no'}", "appendfsync everysec"]
        self.configuration = os.path.join(self.folder, "redis.conf")
        with open(self.configuration, "w") as file:
            file.write("\n".join(lines) + "\n")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """A client of the tests' own, under no gevent."""
        return redis.Redis(port=self.port, protocol=2, **options)

    def start(self) -> None:
        """Starts it, after `kill` again with what its AOF holds, and waits until it answers."""
        command = ["redis-server", self.configuration] + (["--sentinel"] if self._sentinel else [])
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.ask(b"PING")
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError(f"redis-server does not start: {self.log()}") from None
                gevent.sleep(0.02)

    def ask(self, line: bytes) -> bytes:
        """The raw answer to an inline command, read to its first lines. OSError while it starts or loads."""
        with gevent.socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as sock:
            sock.sendall(line + b"\r\n")
            answer: bytes = sock.recv(65536)
        if answer.startswith(b"-LOADING") or not answer:
            raise OSError("loading")
        return answer

    def follows(self) -> bool:
        """Whether this replica has its master's data."""
        return b"master_link_status:up" in self.ask(b"INFO replication")

    def log(self) -> str:
        with open(os.path.join(self.folder, "log")) as file:
            return file.read()

    def kill(self) -> None:
        """Ends it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Cluster:
    """A Redis Cluster of three masters, with one replica each if `replicas`."""

    def __init__(self, *, replicas: bool = False) -> None:
        # Only replicas take over from a master that is silent: else a busy machine's stalls would pass for its death.
        timeout = 1000 if replicas else 60_000
        options = ("cluster-enabled yes", f"cluster-node-timeout {timeout}", "cluster-require-full-coverage no")
        self.servers = [RedisServer(*options) for _ in range(6 if replicas else 3)]
        addresses = [f"127.0.0.1:{server.port}" for server in self.servers]
        subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", str(int(replicas)), "--cluster-yes"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for server in self.servers:
            eventually(lambda server=server: b"cluster_state:ok" in server.ask(b"CLUSTER INFO"), True, START_TIMEOUT)  # type: ignore[misc]
        for server in self.servers[3:]:  # one that has no copy yet is never made master
            eventually(server.follows, True, START_TIMEOUT)

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.servers[0].port},127.0.0.1:{self.servers[1].port}"

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


class Watched:
    """A master, a replica, and Sentinels that watch them as service `site`."""

    def __init__(self, sentinels: int = 3) -> None:
        self.master = RedisServer()
        self.replica = RedisServer(f"replicaof 127.0.0.1 {self.master.port}")
        options: Sequence[str] = (
            f"sentinel monitor site 127.0.0.1 {self.master.port} {sentinels // 2 + 1}",
            "sentinel down-after-milliseconds site 500",
            "sentinel failover-timeout site 3000",
        )
        self.sentinels = [RedisServer(*options, sentinel=True) for _ in range(sentinels)]
        eventually(self.replica.follows, True, START_TIMEOUT)
        eventually(lambda: all(map(self._knows_all, self.sentinels)), True, START_TIMEOUT)

    def _knows_all(self, sentinel: RedisServer) -> bool:
        found = sentinel.ask(b"INFO sentinel")
        return b"slaves=1,sentinels=%d" % len(self.sentinels) in found

    @property
    def url(self) -> str:
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{server.port}" for server in self.sentinels) + "/site"

    def stop(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.stop()
