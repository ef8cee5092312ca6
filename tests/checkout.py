"""A copy of this repository, its wheel, and environments in which that is installed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = "/path/to/rplx"  # where pages say that a checkout lies
BESIDE = ("django", "flask", "pytest")  # what pages install beside rplx and its extras
_NO_SOURCE = shutil.ignore_patterns(".*", "node_modules", "build", "dist", "*.egg-info", "__pycache__")


class Checkout:
    """A copy of this repository as git would give it; its wheel; the environments that pages had made.

    `folder` is for this process alone, `common` for all processes of this run: there are the wheels.
    """

    def __init__(self, folder: Path, common: Path) -> None:
        self.folder = folder / "checkout"
        shutil.copytree(ROOT, self.folder, ignore=_NO_SOURCE)
        self._environments = folder / "environments"
        self._made: dict[str, Path] = {}
        wheels = _wheels(common, self.folder)
        self.pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}  # variables: pip asks nobody else
        (self.wheel,) = wheels.glob("rplx-*.whl")

    @property
    def environ(self) -> dict[str, str]:
        """What a shell has that knows nothing of this repository, but where wheels are."""
        return {**environ_without_ours(), **self.pip}

    def environment(self, commands: str) -> Path:
        """The folder in which these commands, which make an environment `.venv`, were typed; once a session."""
        if commands not in self._made:
            folder = self._made[commands] = self._environments / str(len(self._made))
            folder.mkdir(parents=True)
            typed = commands.replace(PLACE, str(self.wheel))
            subprocess.run(["bash", "-ec", typed], cwd=folder, env=self.environ, check=True, timeout=300)
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


def _wheels(folder: Path, source: Path) -> Path:
    """The folder of the wheels of rplx, and of all that is installed with it. The first process of a run makes it."""
    wheels = folder / "wheels"
    with (folder / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wheels.exists():
            made = folder / "wheels.new"
            command = [sys.executable, "-m", "pip", "wheel", "--quiet", "-w", str(made)]
            building = tomllib.loads((source / "pyproject.toml").read_text())["build-system"]["requires"]
            extras = "async,grants,gunicorn,redis"
            subprocess.run([*command, f"{source}[{extras}]", *building, *BESIDE], check=True, timeout=300)
            made.rename(wheels)
    return wheels


def environ_without_ours() -> dict[str, str]:
    """What a shell has that knows nothing of this repository; `python3` is the Python of this run."""
    ours = ("RPLX_", "PYTHONPATH", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**kept, "PATH": f"{sys.base_prefix}/bin:{system}", "COMPOSER_ALLOW_SUPERUSER": "1"}
