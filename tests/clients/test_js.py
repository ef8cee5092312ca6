"""The JavaScript client without a browser: its size, the built files, its types and its unit tests, by node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.clients.node import JS, needs_node

UNIT_TESTS = sorted((JS / "test" / "unit").glob("*.test.mjs"))


def run(*command: str) -> None:
    finished = subprocess.run(command, cwd=JS, capture_output=True, text=True, timeout=500)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@needs_node
def test_the_built_files_are_fresh_and_small() -> None:
    run("node", "build.mjs", "--check")


@needs_node
def test_a_stale_file_is_noticed(tmp_path: Path) -> None:
    stale = tmp_path / "js"
    shutil.copytree(JS, stale, ignore=shutil.ignore_patterns("node_modules"))
    (stale / "node_modules").symlink_to(JS / "node_modules")
    shutil.copytree(JS.parent / "rplx" / "served", tmp_path / "rplx" / "served")
    poll = stale / "src" / "transports" / "poll.js"
    poll.write_text(poll.read_text().replace("POST_FROM = 1700", "POST_FROM = 1600"))
    finished = subprocess.run(["node", "build.mjs", "--check"], cwd=stale, capture_output=True, text=True, timeout=500)
    assert finished.returncode != 0
    for name in ("realplexor.js", "rplx/served/script.js", "rplx/served/iframe.html", "rplx/served/sandbox.html"):
        assert name in finished.stderr


@needs_node
def test_the_declarations_fit_their_use() -> None:
    run("node", "node_modules/typescript/bin/tsc", "-p", "test/types")


@needs_node
def test_unit_tests() -> None:
    assert UNIT_TESTS
    run("node", "--test", *(str(path.relative_to(JS)) for path in UNIT_TESTS))
