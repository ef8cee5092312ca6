"""What the operating system is asked for: sockets, privileges, memory, names, readiness."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import grp
import os
import pwd
import resource
import signal
import socket
import struct
import termios
import time
from collections.abc import Iterable
from dataclasses import dataclass

from setproctitle import setproctitle

from rplx.errors import ConfigError
from rplx.log import Log
from rplx.options.checks import parse_address

BACKLOG = 4096  # connections that the kernel holds until they are accepted; it caps this at net.core.somaxconn
DEFER_ACCEPT = 5  # seconds that a silent new connection stays in the kernel: 48 -> 37.5 µs to enter
USER_TIMEOUT = 60_000  # milliseconds that sent bytes may stay unacknowledged
UNSENT_MAX = 131_072  # bytes that the kernel takes beyond what a listener reads: else megabytes, and no write_timeout
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))  # seconds, seconds, probes
HANDLED_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
TOO_LARGE_SIGNAL = signal.SIGRTMIN + 1  # the supervisor tells a worker so that it has grown too large
IGNORED_SIGNALS = {
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
}  # log rotation's among them: we hold no log file open
NOTIFY_TIMEOUT = 0.1  # seconds that a full NOTIFY_SOCKET may hold up who tells it something
_SO_ATTACH_FILTER = 26  # socket(7); a program of bpf(4) sees a segment from its TCP header on
_SO_DETACH_FILTER = 27
_NO_SYN = (  # code, jump if true, jump if false, operand
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x54, 0, 0, 0x12),  # of which SYN and ACK
    (0x15, 0, 1, 0x02),  # if it is SYN alone
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # else take all of it
)
_PR_SET_PDEATHSIG = 1
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION = 0x20080522  # of capset(2): two words of 32 bits for each set


@dataclass(frozen=True, slots=True)
class Sockets:
    """The bound and listening sockets of both lines."""

    wait: list[socket.socket]
    in_: list[socket.socket]

    def close(self) -> None:
        for sock in (*self.wait, *self.in_):
            sock.close()


def show_address(sock: socket.socket) -> str:
    """A socket's own address as HOST:PORT."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(addresses: Iterable[str], option: str, *, browsers: bool, shared: bool = False) -> list[socket.socket]:
    """Listening sockets on `addresses`; accepted sockets inherit what is set here.

    `shared`: further sockets may be bound to the same ports, and connections are spread over them (SO_REUSEPORT).
    Errors: ConfigError that says which address cannot be had and that `option` changes it.
    """
    sockets: list[socket.socket] = []
    problems = []
    for address in addresses:
        host, port = parse_address(address)
        try:
            sockets.append(_listen(host, port, browsers=browsers, shared=shared))
        except OSError as error:
            why = error.strerror or str(error)
            problems.append(f"cannot listen on {address}: {why}; another address is set by {option}")
    if problems:
        for sock in sockets:
            sock.close()
        raise ConfigError(problems)
    return sockets


def _listen(host: str, port: int, *, browsers: bool, shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT)
        if browsers:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_MAX)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, name, value)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def take_no_more(sockets: Iterable[socket.socket]) -> bool:
    """Has the kernel drop who begins to connect; connections that have begun still come to be accepted.

    Who is dropped tries again after a second, and then is refused, or comes to the next server. False if the system
    does not let us.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _NO_SYN))
    filter_ = struct.pack("@HP", len(_NO_SYN), ctypes.addressof(program))
    try:
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
    except OSError:
        return False
    return True


def take_all(sockets: Iterable[socket.socket]) -> None:
    """Undoes `take_no_more`, which may be there from who served on these sockets before."""
    for sock in sockets:
        with contextlib.suppress(OSError):  # it is not there
            sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def unsent(descriptor: int) -> int:
    """Bytes that a socket has taken and its peer has not acknowledged, sent or not (tcp(7), SIOCOUTQ)."""
    found: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4))[0]
    return found


def raise_descriptor_limit() -> int:
    """Raises the limit of open files to what is allowed; gives it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def check_user(user: str) -> None:
    """Errors: ConfigError if there is no such user; "" is none to check."""
    if not user:
        return
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise ConfigError([f'server.user: there is no user "{user}" on this machine']) from None


def starting() -> str:
    """The log's first line; raises the limit of open files."""
    return f"Starting. Opened files limit (ulimit -n): {raise_descriptor_limit()}."


def hold_signals() -> None:
    """Signals that a server handles wait from now on, in this process and those forked from it; others end nobody."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*HANDLED_SIGNALS, TOO_LARGE_SIGNAL})


def release_signals() -> None:
    """The signals that were held come now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*HANDLED_SIGNALS, TOO_LARGE_SIGNAL})


def drop_privileges(user: str) -> bool:
    """Becomes `user` for good, with all ids and groups; False if this is not root or there is nothing to drop."""
    if not user or os.getuid() != 0:
        return False
    entry = pwd.getpwnam(user)
    groups = [group.gr_gid for group in grp.getgrall() if user in group.gr_mem]
    os.setgroups([entry.pw_gid, *groups])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    return True


def drop_capabilities() -> bool:
    """Gives up what lets a plain user bind a low port and the like, for good; False if the system does not let us.

    Root, which the operator wanted then, keeps what it is root for.
    """
    if os.getuid() == 0:
        return True
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice
    return not libc.capset(header, nothing)


def resident_mb(pid: int) -> int:
    """Megabytes of memory that a process has resident; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize() >> 20
    except (OSError, IndexError):
        return 0


def set_title(title: str) -> None:
    """The process's name in ps."""
    setproctitle(title)


def notify(state: str, log: Log) -> None:
    """Tells systemd, if it started us (sd_notify(3)): READY=1, RELOADING=1, STOPPING=1.

    One that cannot be reached changes nothing for us: `log` is told once.
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(NOTIFY_TIMEOUT)
            sock.connect("\0" + path[1:] if path.startswith("@") else path)
            sock.send(state.encode())
    except OSError as error:
        log.trouble("notify", f"systemd is not told how we are, NOTIFY_SOCKET={path}: {error.strerror or error}")
    else:
        log.recovered("notify", "systemd is told again how we are")


def reloading() -> str:
    """What systemd is told when a reload begins."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def trim_memory() -> None:
    """Gives freed memory back to the system: 52 -> 32 MB resident after a crowd has left."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def die_with_parent(parent: int) -> None:
    """Ends this process with SIGTERM when `parent` dies, so that nobody serves unsupervised (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
