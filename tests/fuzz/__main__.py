"""`python -m tests.fuzz [--seconds N] [NAME ...]`: the targets, two at a time. Exit status 1 if one broke.

What broke it is shown, and kept in a directory that is named; `python -m tests.fuzz --again FILE` runs it once more.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.inputs import SLOWEST, TooSlow, meant, timed
from tests.fuzz.targets import NAMES

AT_ONCE = 2
START = 60  # seconds, at most, for a target to load and to end


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", choices=[[], *NAMES], help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=10, help="for each target (10)")
    parser.add_argument("--again", metavar="FILE", type=Path, help="one input that broke a target, NAME.crash-...")
    options = parser.parse_args(argv)
    if options.again is not None:
        again(options.again)
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("nothing is fuzzed: there is no atheris for this platform")
        return 0
    directory = Path(tempfile.mkdtemp(prefix="rplx-fuzz-"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        fine = list(pool.map(lambda name: run(name, options.seconds, directory), options.names or NAMES))
    return 0 if all(fine) else 1


def again(file: Path) -> None:
    """Errors: what breaks the target, TooSlow."""
    target = importlib.import_module(f"tests.fuzz.targets.{file.name.partition('.')[0]}")
    timed(target.check, meant(file.read_bytes(), target.SIZE), getattr(target, "SLOWEST", SLOWEST))


def run(name: str, seconds: int, directory: Path) -> bool:
    """One target in a process of its own; prints what came of it."""
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(seconds), str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds + START, check=False)
    except subprocess.TimeoutExpired:
        print(f"{name}: did not end, see {directory}", flush=True)
        return False
    log = done.stderr + done.stdout
    (directory / f"{name}.log").write_bytes(log)
    count = re.search(rb"stat::number_of_executed_units: *(\d+)", log)
    inputs = int(count[1]) if count else 0
    if done.returncode == 0 and inputs:
        slow = directory / f"{name}.slow"
        if slow.exists():
            try:
                again(slow)
            except TooSlow as error:
                print(f"{name}: TOO SLOW, see {slow}: {error}", flush=True)
                return False
        print(f"{name}: {inputs} inputs, nothing found", flush=True)
        return True
    print(f"{name}: BROKEN after {inputs} inputs, see {directory}", flush=True)
    print(log.decode(errors="replace")[-4000:], flush=True)
    return False


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
