"""`python -m tests.fuzz.one NAME SECONDS DIRECTORY`: one target, in this process, which libFuzzer ends.

What breaks a target is left in DIRECTORY, and NAME.slow, the input that took longest here: the fuzzer's probes slow all
down, so whether it is too slow is seen without them.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import atheris

from tests.fuzz.inputs import SLOWEST, meant, spent

LONGEST_SEED = 4096  # bytes of what the fuzzer makes up; `inputs.meant` makes long ones of it
HANG = 10  # seconds for one input


def main(name: str, seconds: int, directory: Path) -> None:
    with atheris.instrument_imports(include=["rplx", "tomllib"]):
        target = importlib.import_module(f"tests.fuzz.targets.{name}")
    corpus = directory / f"{name}.corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed{number}").write_bytes(seed)
    slowest: float = getattr(target, "SLOWEST", SLOWEST)

    def check(data: bytes) -> None:
        nonlocal slowest
        seconds = spent(target.check, meant(data, target.SIZE), slowest)
        if seconds > slowest:
            slowest = seconds
            (directory / f"{name}.slow").write_bytes(data)

    atheris.Setup(
        [
            name,
            f"-max_total_time={seconds}",
            f"-max_len={min(LONGEST_SEED, target.SIZE + 1)}",
            f"-timeout={HANG}",
            f"-artifact_prefix={directory}/{name}.",
            "-print_final_stats=1",
            "-rss_limit_mb=1024",
            "-verbosity=0",
            str(corpus),
        ],
        check,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
