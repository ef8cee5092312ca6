"""The arguments of `rplx bench`, and which of them are refused. `session`, which measures, is imported late."""

from __future__ import annotations

import argparse

from rplx.errors import UsageError

LISTENERS, CHANNELS, PAYLOAD, ROUNDS = 10_000, 1, 64, 5
PAYLOAD_MIN, PAYLOAD_MAX = 24, 200_000  # bytes: the client marks each message; the default in.maxlen is 204,800
CHANNELS_MAX = 60_000  # the floor has 65,536 at most
SPARE_DESCRIPTORS = 200  # descriptors of the server that are left for other things than listeners
LISTENING = ("close", "keepalive", "stream", "websocket")
MODES = (*LISTENING, "in", "in-pipelined")


def configure(parser: argparse.ArgumentParser) -> None:
    """Gives `rplx bench` its arguments."""
    add = parser.add_argument
    add("--listeners", type=int, metavar="N", help=f"connections that wait (default {LISTENERS})")
    add("--channels", type=int, default=CHANNELS, metavar="N", help=f"channels they share (default {CHANNELS})")
    add("--payload", type=int, default=PAYLOAD, metavar="BYTES", help=f"of a message (default {PAYLOAD})")
    add("--rounds", type=int, default=ROUNDS, metavar="N", help=f"the table shows their median (default {ROUNDS})")
    add(
        "--mode",
        choices=MODES,
        default="close",
        help="close: each answer ends its connection (default); keepalive: connections are kept and poll again;"
        " stream: event streams; websocket: WebSockets;"
        " in: a connection a send; in-pipelined: all sends on one connection",
    )
    add("--target", metavar="HOST:PORT", help="the WAIT line of a server that runs already, or unix:/PATH; needs --in")
    add("--in", dest="in_", metavar="HOST:PORT", help="that server's IN line, or unix:/PATH")
    add("--json", action="store_true", help="print JSON with every round instead of the table")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit status, 1 if a message was lost or came twice.

    Raises UsageError, RplxError.
    """
    listens = args.mode in LISTENING
    _check(args, listens)

    from rplx.bench import session

    return session.run(args, listens)


def _check(args: argparse.Namespace, listens: bool) -> None:
    """Fills in the default of --listeners. Raises UsageError for what cannot be measured, or makes no sense."""
    if not listens and args.listeners is not None:
        raise UsageError(f"--listeners means nothing with --mode {args.mode}: nobody listens there")
    if args.listeners is None and listens:
        args.listeners = LISTENERS
    if bool(args.target) != bool(args.in_):
        raise UsageError(
            "--target (the WAIT line) and --in (the IN line) go together: messages must come from somewhere"
        )
    least = PAYLOAD_MIN if listens else 1
    ranges = {"channels": (1, CHANNELS_MAX), "payload": (least, PAYLOAD_MAX), "rounds": (1, 1000)}
    if listens:
        ranges["listeners"] = (1, _most_listeners(args))
    for name, (low, high) in ranges.items():
        if not low <= getattr(args, name) <= high:
            raise UsageError(f"--{name} must be {low} to {high:,}{_reason(args, name)}, is {getattr(args, name)}")
    if listens and args.channels > args.listeners:
        raise UsageError(f"--channels {args.channels} is more than there are listeners ({args.listeners})")


def _most_listeners(args: argparse.Namespace) -> int:
    """Returns how many listeners there may be, as ports or descriptors allow."""
    if args.target and not args.target.startswith("unix:"):
        with open("/proc/sys/net/ipv4/ip_local_port_range") as ports:
            low, high = map(int, ports.read().split())
        return high - low - SPARE_DESCRIPTORS
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1_000_000 if hard == resource.RLIM_INFINITY else hard - SPARE_DESCRIPTORS


def _reason(args: argparse.Namespace, name: str) -> str:
    if name != "listeners":
        return ""
    if args.target and not args.target.startswith("unix:"):
        return " (one address has no more ports: net.ipv4.ip_local_port_range)"
    return " (the server has no more file descriptors: ulimit -Hn)"
