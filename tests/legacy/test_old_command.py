"""The old command line, and what it reads its configuration from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rplx
from rplx.cli import old_command
from rplx.legacy import old_config
from rplx.legacy.keys import OLD_CONFIG
from rplx.options.rows import replace
from tests.legacy.old_files import FIXTURES


@pytest.mark.parametrize(
    ("argv", "config", "pidfile"),
    [
        ([], None, None),
        (["a.conf"], "a.conf", None),
        (["-p", "x.pid"], None, "x.pid"),
        (["-p", "x.pid", "a.conf"], "a.conf", "x.pid"),
        (["a.conf", "-p", "x.pid"], "a.conf", "x.pid"),
        (["a.conf", "-px.pid"], "a.conf", "x.pid"),
    ],
)
def test_command_line(argv: list[str], config: str | None, pidfile: str | None) -> None:
    assert old_command.parse_command_line(argv) == old_command.CommandLine(config, pidfile)


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    script = "import sys; from rplx.cli.old_command import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", script, *argv], capture_output=True, text=True, timeout=120)


def test_help_version_and_wrong_options() -> None:
    assert run("--version").stdout == f"dklab_realplexor (rplx {rplx.__version__})\n"
    assert run("--help").stdout.startswith("usage: dklab_realplexor [-h] [-p PIDFILE] [--version] [CONFIG]\n")
    for argv in (["-p"], ["-x"], ["a", "b"]):
        wrong = run(*argv)
        assert wrong.returncode == 2
        assert wrong.stderr.startswith("usage: dklab_realplexor ")


def test_a_wrong_configuration_ends_the_start() -> None:
    wrong = run(str(FIXTURES / "broken.conf"))
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 13
    assert "Traceback" not in wrong.stderr


def test_the_loader_reads_the_file_anew(conf) -> None:
    path = conf("%CONFIG = (WAIT_TIMEOUT => 1, MINE => 2);")
    loader = old_config.config_loader(path)
    read, log = loader()
    assert read == replace(OLD_CONFIG, {"wait.timeout": 1.0, "server.title": "dklab_realplexor"})
    assert log == [f"CONFIG: appending configuration from {path}", f"CONFIG: {path}:1: unknown key MINE, ignored"]
    conf("%CONFIG = (WAIT_TIMEOUT => 2);")
    assert loader()[0].wait.timeout == 2
    Path(path).unlink()
    base = replace(OLD_CONFIG, {"server.title": "dklab_realplexor"})
    assert loader() == (base, [f"CONFIG: file {path} does not exist, skipping"])
    assert old_config.config_loader(None)() == (base, [])
