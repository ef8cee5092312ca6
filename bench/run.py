"""`make bench`: measures everything that docs/performance.md shows, and writes it there. Takes some 40 minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    arguments = sys.argv[1:] or ["--write"]
    for command in (["-m", "bench.measure"], ["-m", "bench.compare"]):
        subprocess.run([sys.executable, *command, *arguments], cwd=ROOT, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
