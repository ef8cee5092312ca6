"""As many listeners as one machine bears: several workers, one Redis, many source addresses, one message to all.

One process has a limit of descriptors, one pair of addresses has one of ports, the kernel has limits of its own: each
is looked at, and the table says how near it came.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.document import Section, markdown_table
from bench.redis import Redis, started_redis
from bench.scale import Scale
from rplx.bench.report import number
from rplx.bench.rounds import warm
from rplx.bench.servers import Target, family, started_rplx
from rplx.bench.tools import Crowd, Event, Tools
from rplx.client import Realplexor

STEP_TIMEOUT = 300.0  # seconds that one step may take
COUNT_TIMEOUT = 30.0  # seconds until ONLINE must have counted everybody
SPARE = 1500  # descriptors of a worker that listeners do not get: the kernel spreads them unevenly over the workers
PORTS_USED = 15_000  # of one source address (load.c)
SAMPLE_EVERY = 0.25  # seconds between two looks at what the kernel counts
PAGE = resource.getpagesize()
GIB = 1 << 30

MODES = {"closed": "close", "kept": "keepalive"}  # of a Crowd


@dataclass
class Cpu:
    """CPU seconds used so far: by the server's processes, by Redis, by the clients."""

    server: float
    redis: float
    clients: float

    def since(self, before: Cpu) -> Cpu:
        return Cpu(self.server - before.server, self.redis - before.redis, self.clients - before.clients)


@dataclass
class Kernel:
    """What the kernel counts at one moment, or the most of it."""

    files: int = 0
    tcp_bytes: int = 0
    orphans: int = 0
    closing: int = 0  # connections in TIME_WAIT
    tracked: int = 0
    slab: int = 0  # bytes of its objects; those of sockets are among them

    @classmethod
    def now(cls) -> Kernel:
        words = Path("/proc/net/sockstat").read_text().split("TCP:")[1].split("\n")[0].split()
        tcp = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        (slab,) = (int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if "Slab:" in line)
        files = int(Path("/proc/sys/fs/file-nr").read_text().split()[0])
        return cls(
            files,
            tcp["mem"] * PAGE,
            tcp["orphan"],
            tcp["tw"],
            _setting("net/netfilter/nf_conntrack_count"),
            slab * 1024,
        )

    def most(self, other: Kernel) -> Kernel:
        return Kernel(*(max(vars(self)[name], vars(other)[name]) for name in vars(self)))


@dataclass
class Step:
    """One mode's figures."""

    listeners: int
    workers: int
    enter_s: float = 0.0
    counted_s: float = 0.0  # from the first connection until ONLINE has counted everybody
    user: float = 0.0  # bytes a listener
    kernel: float = 0.0  # bytes a connection, both ends
    enter: Cpu = field(default_factory=lambda: Cpu(0, 0, 0))
    delivery: Cpu = field(default_factory=lambda: Cpu(0, 0, 0))
    latency: list[float] = field(default_factory=list)  # ms until a listener has the message, quantiles 0 to 1
    peak: Kernel = field(default_factory=Kernel)
    counters: dict[str, int] = field(default_factory=dict)  # how often the kernel met a bound of its own


def capacity(tools: Tools, scale: Scale) -> Section:
    """Everybody parks on one channel, is counted, and gets one message; then what that means for more of them."""
    steps = {title: _one(tools, scale.capacity, mode) for title, mode in MODES.items()}
    parts = [
        _table(scale.capacity, steps),
        _bounds(scale.capacity, steps["kept"], steps["closed"]),
        _more(steps["kept"]),
    ]
    return Section("capacity", "\n\n".join(parts))


def workers_for(listeners: int) -> int:
    """Worker processes, and client processes too, that so many listeners need."""
    return max(2, math.ceil(listeners / (_descriptors() - SPARE)))


def _descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _one(tools: Tools, listeners: int, mode: str) -> Step:
    step = Step(listeners, workers_for(listeners))
    with started_redis() as redis, _workers(redis, step.workers) as target:
        warm(tools, target, Crowd(20, mode=mode, prefix="warm"))
        user, kernel, counters = target.memory(), Kernel.now(), _counters()
        cpu = [_cpu(target, redis)]
        crowd = Crowd(listeners, mode=mode, timeout=STEP_TIMEOUT)

        def look(event: Event) -> None:
            if event["event"] == "parked":
                late = _seconds_until_counted(target, listeners)
                cpu.append(_cpu(target, redis))
                step.enter_s, step.counted_s = event["enter_s"], event["enter_s"] + late
                step.user = (target.memory() - user) / listeners
                now = Kernel.now()
                step.kernel = (now.slab - kernel.slab + now.tcp_bytes - kernel.tcp_bytes) / listeners
                cpu.append(_cpu(target, redis))
            else:
                cpu.append(_cpu(target, redis))

        with _watched(step):
            events = tools.listen(target, crowd, look)
        step.enter, step.delivery = cpu[1].since(cpu[0]), cpu[3].since(cpu[2])
        delivered = events[1]
        if delivered["delivered"] != listeners or delivered["duplicates"] or delivered["failed"]:
            raise RuntimeError(f"{delivered['delivered']} of {listeners} got it, {delivered['failed']} failed")
        step.latency = delivered["latency_ms"]
        step.counters = {name: count - counters[name] for name, count in _counters().items()}
    return step


@contextlib.contextmanager
def _workers(redis: Redis, count: int) -> Iterator[Target]:
    options = ("--workers", str(count), "--set", f"engine.url={redis.url}", "--set", "server.drain=0")
    with started_rplx(*options) as target:
        _seconds_until(lambda: _online(target) == {}, COUNT_TIMEOUT)
        yield replace(target, worker=0)


def _online(target: Target) -> dict[str, int]:
    host, _, port = target.in_.rpartition(":")
    with Realplexor(host, int(port)) as client:
        return client.online_with_counters()


def _seconds_until_counted(target: Target, listeners: int) -> float:
    return _seconds_until(lambda: _online(target).get("c0") == listeners, COUNT_TIMEOUT)


def _seconds_until(holds: Callable[[], bool], timeout: float) -> float:
    begin = time.monotonic()
    while not holds():
        if time.monotonic() - begin > timeout:
            raise RuntimeError("ONLINE does not count all that have come")
        time.sleep(0.05)
    return time.monotonic() - begin


# -- what is read from the system


def _cpu(target: Target, redis: Redis) -> Cpu:
    server = family(target.pid)
    clients = set(family(os.getpid())) - {*server, redis.pid, os.getpid()}
    return Cpu(*(sum(map(_cpu_seconds, pids)) for pids in (server, (redis.pid,), clients)))


def _cpu_seconds(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


@contextlib.contextmanager
def _watched(step: Step) -> Iterator[None]:
    """Notes the most that the kernel counts meanwhile."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_EVERY):
            step.peak = step.peak.most(Kernel.now())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


COUNTERS = {
    "ListenOverflows": "net.core.somaxconn",
    "TCPTimeWaitOverflow": "net.ipv4.tcp_max_tw_buckets",
    "TCPMemoryPressures": "net.ipv4.tcp_mem",
    "TCPAbortOnMemory": "net.ipv4.tcp_max_orphans",
}
"""How often the kernel has met a bound (/proc/net/netstat), and which."""


def _counters() -> dict[str, int]:
    names, values = (line.split() for line in Path("/proc/net/netstat").read_text().splitlines()[:2])
    known = dict(zip(names, values, strict=True))
    return {name: int(known.get(name, 0)) for name in COUNTERS}


def _setting(name: str, place: int = 0) -> int:
    """A number of /proc/sys; 0 if there is none."""
    try:
        return int(Path("/proc/sys", name).read_text().split()[place])
    except (OSError, IndexError):
        return 0


# -- what is shown


def _table(listeners: int, steps: dict[str, Step]) -> str:
    def seconds(name: str, value: Callable[[Step], float], digits: int = 1) -> list[str]:
        return [name, *(f"{value(step):.{digits}f}" for step in steps.values())]

    def cpus(name: str, value: Callable[[Step], Cpu]) -> list[str]:
        shown = [
            f"{cpu.server:.1f} + {cpu.redis:.1f} + {cpu.clients:.1f}"
            for cpu in (value(step) for step in steps.values())
        ]
        return [name, *shown]

    rows = [
        ["workers", *(str(step.workers) for step in steps.values())],
        seconds("seconds until all are in", lambda step: step.enter_s),
        seconds("… until ONLINE has counted them", lambda step: step.counted_s),
        cpus("… CPU seconds: workers + Redis + clients", lambda step: step.enter),
        ["bytes a listener, user (workers)", *(number(step.user) for step in steps.values())],
        ["bytes a connection, kernel (both ends)", *(number(step.kernel) for step in steps.values())],
        seconds("a message: seconds until the first has it", lambda step: step.latency[0] / 1e3, 3),
        seconds("… half of them", lambda step: step.latency[50] / 1e3),
        seconds("… the last", lambda step: step.latency[100] / 1e3),
        cpus("… CPU seconds: workers + Redis + clients", lambda step: step.delivery),
    ]
    return markdown_table(
        [
            f"{listeners:,} listeners of one channel",
            *(f"{mode} answers" if mode == "closed" else "kept connections" for mode in steps),
        ],
        rows,
    )


def _bounds(listeners: int, *steps: Step) -> str:
    peak = Kernel()
    for step in steps:
        peak = peak.most(step.peak)
    descriptors, first, last = (
        _descriptors(),
        _setting("net/ipv4/ip_local_port_range"),
        _setting("net/ipv4/ip_local_port_range", 1),
    )
    tracked = _setting("net/netfilter/nf_conntrack_max")
    rows: list[tuple[str, int, int]] = [
        ("descriptors of a process (`ulimit -n`), a worker's share", listeners // steps[0].workers, descriptors),
        (
            "ports of one pair of addresses (`net.ipv4.ip_local_port_range`)",
            min(listeners, PORTS_USED),
            last - first + 1,
        ),
        ("open files in all (`fs.file-max`)", peak.files, _setting("fs/file-max")),
        ("bytes of TCP buffers (`net.ipv4.tcp_mem`)", peak.tcp_bytes, _setting("net/ipv4/tcp_mem", 2) * PAGE),
        (
            "closed by us, not yet by the other side (`net.ipv4.tcp_max_orphans`)",
            peak.orphans,
            _setting("net/ipv4/tcp_max_orphans"),
        ),
        ("in TIME_WAIT (`net.ipv4.tcp_max_tw_buckets`)", peak.closing, _setting("net/ipv4/tcp_max_tw_buckets")),
        ("tracked connections (`net.netfilter.nf_conntrack_max`)", peak.tracked, tracked),
    ]
    table = markdown_table(
        ["bound", "most used", "here", ""],
        [[name, f"{used:,}", f"{most:,}" if most else "none", _verdict(used, most)] for name, used, most in rows],
    )
    met = {name: sum(step.counters[name] for step in steps) for name in COUNTERS}
    told = ", ".join(f"{COUNTERS[name]} {count:,} times ({name})" for name, count in met.items() if count)
    note = (
        " What closes beyond that number of connections in TIME_WAIT is forgotten at once; nobody waits for it."
        if met["TCPTimeWaitOverflow"]
        else ""
    )
    return f"{table}\n\nThe kernel says that it met {told or 'none of its bounds'}.{note}"


def _verdict(used: int, most: int) -> str:
    if not most or used < most / 2:
        return ""
    return "hit" if used >= most else f"{used / most:.0%}"


def _more(step: Step) -> str:
    """What the figures of kept connections come to for a million, on one machine and on ten."""
    count = step.listeners
    own_half = step.kernel / 2
    server_us = (step.enter.server / count * 1e6, step.delivery.server / count * 1e6)
    rows = []
    for title, machines in (("one machine", 1), ("ten machines, each", 10)):
        share = 1_000_000 // machines
        rows.append(
            [
                title,
                f"{share:,}",
                str(math.ceil(share / (_descriptors() - SPARE))),
                f"{share * step.user / GIB:.1f}",
                f"{share * own_half / GIB:.1f}",
                f"{share * server_us[0] / 1e6:.0f}",
                f"{share * server_us[1] / 1e6:.0f}",
            ]
        )
    head = [
        "1,000,000 listeners, kept",
        "listeners",
        "workers",
        "user memory, GiB",
        "kernel memory, GiB",
        "CPU s to enter",
        "CPU s a message",
    ]
    note = (
        "Computed from the figures above, where servers and clients shared this machine's CPUs: the kernel's memory is"
        " half of a pair's, the time that of the workers alone; N CPUs take an N-th of it. Redis announces a message"
        f" once to each worker, {math.ceil(1_000_000 / (_descriptors() - SPARE))} times in all. With more descriptors a"
        " process fewer workers do."
    )
    return f"{markdown_table(head, rows)}\n\n{note}"
