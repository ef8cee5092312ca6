"""Pages of docs/ as something that can be run: their blocks of code, and the programs of this interpreter."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.wsgi.servers import LISTENING_AT, ROOT, Child

BIN = Path(sys.executable).parent
BLOCK = re.compile(r"(?:`([\w/]+\.py)`:\n\n)?```(\w*)\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Guide:
    """A page's files (name -> text), its commands, its other Python and the answers that it shows."""

    files: dict[str, str]
    commands: list[str]
    scripts: list[str]
    answers: list[str]

    @classmethod
    def read(cls, name: str) -> Guide:
        blocks = BLOCK.findall((ROOT / "docs" / name).read_text())
        return cls(
            {file: text for file, _, text in blocks if file},
            [text.strip() for _, language, text in blocks if language == "sh"],
            [text for file, language, text in blocks if language == "python" and not file],
            [text for _, language, text in blocks if not language],
        )

    def command(self, begin: str) -> str:
        (found,) = [command for command in self.commands if command.startswith(begin)]
        return found


def run(command: str, cwd: Path, environ: dict[str, str] | None = None) -> str:
    """A command of a guide, with the programs of this interpreter."""
    path = f"{BIN}:/usr/local/bin:/usr/bin:/bin"
    given = {"PATH": path, "PYTHONPATH": str(ROOT), **(environ or {})}
    done = subprocess.run(
        shlex.split(command), cwd=cwd, env=given, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(
    command: str, folder: Path, options: dict[str, str] | None = None, in_: str | None = r"IN: listening (\S+):(\d+)"
) -> Child:
    """A page's gunicorn command on ports that the kernel chose."""
    program, *arguments = shlex.split(re.sub(r"-b \S+", "-b 127.0.0.1:0", command))
    assert program == "gunicorn"
    own = [sys.executable, str(BIN / program), "--no-control-socket", *arguments]
    child = Child(own, options, wait=LISTENING_AT, in_=in_, cwd=folder)
    child.wait_for("Booting worker")
    return child
