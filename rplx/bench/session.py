"""One run of `rplx bench`: starts a server and the floor on loopback, or takes a server elsewhere; measures; prints."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from rplx.bench import probe, report, rounds
from rplx.bench.servers import Target, started_floor, started_rplx
from rplx.bench.tools import Crowd, Senders, Tools, build
from rplx.system.limits import raise_descriptor_limit

PUBLISHERS = 4  # that each open a connection for every send
WINDOW = 64  # sends under way on a pipelined connection


def run(args: argparse.Namespace, listens: bool) -> int:
    """Measures and prints; returns the exit status. See command.run."""
    raise_descriptor_limit()  # for this process and all that it starts
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
        senders = Senders(PUBLISHERS, channels=args.channels, payload=args.payload, prefix=prefix)
        return rounds.sending(tools, senders)
    if args.mode == "in-pipelined":
        senders = Senders(1, WINDOW, channels=args.channels, payload=args.payload, prefix=prefix)
        return rounds.sending(tools, senders)
    messages = rounds.messages_in_a_round(args.mode)
    crowd = Crowd(args.listeners, args.channels, args.payload, mode=args.mode, messages=messages, prefix=prefix)
    return rounds.listening(tools, crowd)


def machine() -> dict[str, object]:
    """Returns what the figures depend on: they compare only within one machine."""
    return {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def _title(args: argparse.Namespace, listens: bool) -> str:
    who = f"{args.listeners:,} listeners, " if listens else ""
    channels = f"{args.channels:,} channel{'s' * (args.channels > 1)}"
    here = machine()
    return (
        f"mode {args.mode}: {who}{channels}, {args.payload:,} bytes a message;"
        f" median of {args.rounds} rounds; {here['cpus']} CPUs, Python {here['python']}"
    )


@contextlib.contextmanager
def _progress(total: int, stream: TextIO) -> Iterator[Callable[[str], None]]:
    """Yields a function that shows progress on a terminal, and nothing elsewhere."""
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
