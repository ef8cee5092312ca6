"""`python -m bench.measure [--quick] [--write] [NAME ...]`: the experiments behind docs/performance.md.

Prints each table when it is there; --write also puts it and its plots into the page. The machine should have nothing
else to do meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench import capacity, document, isolation, redis, speed, streams
from bench.scale import FULL, QUICK
from rplx.bench.session import machine
from rplx.bench.tools import build
from rplx.system.limits import raise_descriptor_limit

EXPERIMENTS = {
    "goals": speed.goals,
    "growth": speed.growth,
    "sets": speed.sets,
    "streams": streams.streams,
    "waiting": speed.waiting,
    "isolation": isolation.isolation,
    "pauses": isolation.pauses,
    "memory": isolation.memory,
    "redis": redis.engines,
    "capacity": capacity.capacity,
}


def machine_section() -> document.Section:
    here = machine()
    text = f"Linux {here['kernel']}, {here['cpus']} CPUs, CPython {here['python']}, {time.strftime('%Y-%m-%d')}."
    return document.Section("machine", text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.measure", description="Measures what the page shows.")
    parser.add_argument("--quick", action="store_true", help="small and short, only to see that it runs")
    parser.add_argument("--write", action="store_true", help="put tables and plots into docs/performance.md")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)} (default: all)")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in EXPERIMENTS]:
        parser.error(f"no such experiment: {', '.join(unknown)}")
    if args.quick and args.write:
        parser.error("--quick figures are not for the page")
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory(prefix="rplx-bench-") as directory:
        tools = build(Path(directory))
        for name in args.names or EXPERIMENTS:
            start = time.monotonic()
            section = EXPERIMENTS[name](tools, QUICK if args.quick else FULL)
            print(f"## {name} ({time.monotonic() - start:.0f} s)\n\n{section.text}\n", flush=True)
            if args.write:
                document.write(section)
    if args.write:
        document.write(machine_section())
    return 0


if __name__ == "__main__":
    sys.exit(main())
