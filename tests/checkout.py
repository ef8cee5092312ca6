"""A copy of this repository, its wheel, and environments in which that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = "/path/to/rplx"  # where pages say that a checkout lies
_NO_SOURCE = shutil.ignore_patterns(".*", "node_modules", "build", "dist", "*.egg-info", "__pycache__")


class Checkout:
    """A copy of this repository as git would give it; its wheel; the environments that pages had made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        shutil.copytree(ROOT, self.folder, ignore=_NO_SOURCE)
        self._environments = folder / "environments"
        self._made: dict[str, Path] = {}
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(self.folder)]
        subprocess.run(command, check=True, timeout=300)
        (self.wheel,) = folder.glob("rplx-*.whl")

    def environment(self, commands: str) -> Path:
        """The folder in which these commands, which make an environment `.venv`, were typed; once a session."""
        if commands not in self._made:
            folder = self._made[commands] = self._environments / str(len(self._made))
            folder.mkdir(parents=True)
            typed = commands.replace(PLACE, str(self.wheel))
            subprocess.run(["bash", "-ec", typed], cwd=folder, env=environ_without_ours(), check=True, timeout=300)
        return self._made[commands] / ".venv" / "bin"

    @cached_property
    def installed(self) -> Path:
        """The programs of an environment that has the wheel, and else what the Python of this run has.

        It is made without a network, in seconds; that the wheel's own requirements suffice, the pages' environments
        tell.
        """
        folder = self._environments / "wheel"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=300)
        (packages,) = folder.glob("lib/python*/site-packages")
        # A path in a .pth file is looked through behind these packages, and its own .pth files, which lead to an
        # editable rplx, are not read.
        (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
        subprocess.run([*pip, "install", "--quiet", "--no-deps", str(self.wheel)], check=True, timeout=300)
        return folder / "bin"


def environ_without_ours() -> dict[str, str]:
    """What a shell has that knows nothing of this repository; `python3` is the Python of this run."""
    ours = ("RPLX_", "PYTHONPATH", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**kept, "PATH": f"{sys.base_prefix}/bin:{system}", "COMPOSER_ALLOW_SUPERUSER": "1"}
