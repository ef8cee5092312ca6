"""`rplx bench`: measures a server of its own on loopback beside the floor, or one elsewhere."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from rplx import process
from rplx.bench import probe, report, rounds
from rplx.bench.servers import Target, started_floor, started_rplx
from rplx.bench.tools import PAYLOAD_MIN, Crowd, Tools, build
from rplx.cli_client import UsageError

LISTENERS, CHANNELS, PAYLOAD, ROUNDS = 10_000, 1, 64, 5
SEND_SECONDS = 2.0  # of one round of publishing
PUBLISHERS = 4  # that each open a connection for every send
WINDOW = 64  # sends under way on a pipelined connection
SPARE_DESCRIPTORS = 200  # of the server's, for what are no listeners
PAYLOAD_MAX = 200_000  # bytes; the default in.maxlen is 204,800 with the head
CHANNELS_MAX = 60_000  # the floor tells 65,536 apart
MODES = ("close", "keepalive", "in", "in-pipelined")


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
        " in: a connection a send; in-pipelined: all sends on one connection",
    )
    add("--target", metavar="HOST:PORT", help="the WAIT line of a server that runs already; needs --in")
    add("--in", dest="in_", metavar="HOST:PORT", help="that server's IN line")
    add("--json", action="store_true", help="print JSON with every round instead of the table")


def run(args: argparse.Namespace) -> int:
    """Measures and prints. Exit status 1 if a message was lost or came twice. Raises UsageError, RplxError."""
    listens = args.mode in ("close", "keepalive")
    _check(args, listens)
    process.raise_descriptor_limit()  # ours, and by inheritance of all that we start
    prefix = f"rplxbench{os.urandom(4).hex()}x"
    with tempfile.TemporaryDirectory(prefix="rplx-bench-") as directory, contextlib.ExitStack() as servers:
        if args.target:
            wait, in_ = probe.resolved("--target", args.target), probe.resolved("--in", args.in_)
            probe.check(wait, in_, f"{prefix}0")
            tools = build(Path(directory))
            targets = [Target("target", wait, in_)]
        else:
            tools = build(Path(directory))
            targets = [
                servers.enter_context(started_rplx()),
                servers.enter_context(started_floor(Path(directory))),
            ]
        with _progress(len(targets) * args.rounds, sys.stderr) as progress:
            results = rounds.alternate(targets, _work(args, tools, prefix), args.rounds, progress)
    if args.json:
        work = {name: getattr(args, name) for name in ("mode", "listeners", "channels", "payload", "rounds")}
        print(json.dumps({**work, "machine": machine(), "results": rounds.as_json(results)}, indent=2))
    else:
        print(_title(args, listens), report.table(results), sep="\n\n")
    return 0 if all(result.complete for result in results.values()) else 1


def _work(args: argparse.Namespace, tools: Tools, prefix: str) -> rounds.Work:
    if args.mode == "in":
        return rounds.sending(
            tools,
            seconds=SEND_SECONDS,
            prefix=prefix,
            publishers=PUBLISHERS,
            channels=args.channels,
            payload=args.payload,
        )
    if args.mode == "in-pipelined":
        return rounds.sending(
            tools, seconds=SEND_SECONDS, prefix=prefix, publishers=1, window=WINDOW, channels=args.channels,
            payload=args.payload,
        )  # fmt: skip
    keep = args.mode == "keepalive"
    messages = rounds.KEPT_MESSAGES if keep else 1
    return rounds.listening(
        tools, Crowd(args.listeners, args.channels, args.payload, keep=keep, messages=messages, prefix=prefix)
    )


def _check(args: argparse.Namespace, listens: bool) -> None:
    """Refuses what cannot be done or would not measure what it says; fills in the default of --listeners."""
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
    if args.target:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        return high - low - SPARE_DESCRIPTORS
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1_000_000 if hard == resource.RLIM_INFINITY else hard - SPARE_DESCRIPTORS


def _reason(args: argparse.Namespace, name: str) -> str:
    if name != "listeners":
        return ""
    if args.target:
        return " (one address has no more ports: net.ipv4.ip_local_port_range)"
    return " (the server has no more file descriptors: ulimit -Hn)"


def machine() -> dict[str, object]:
    """What the figures depend on: they compare only within one machine."""
    return {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def _title(args: argparse.Namespace, listens: bool) -> str:
    who = f"{args.listeners:,} listeners, " if listens else ""
    here = machine()
    return (
        f"mode {args.mode}: {who}{args.channels:,} channel{'s' * (args.channels > 1)}, {args.payload:,} bytes a message;"
        f" median of {args.rounds} rounds; {here['cpus']} CPUs, Python {here['python']}"
    )


@contextlib.contextmanager
def _progress(total: int, stream: TextIO) -> Iterator[Callable[[str], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not stream.isatty():
        yield lambda label: None
        return
    done = 0

    def show(label: str) -> None:
        nonlocal done
        done += bool(label)
        stream.write(f"\r\x1b[K{report.bar(done, total)} {done}/{total} {label}")
        stream.flush()

    show("")
    try:
        yield show
    finally:
        stream.write("\r\x1b[K")
        stream.flush()
