"""The JavaScript client, the page for old clients and the sandbox in Chromium against the real server.

Each file in js/test/browser starts its own server and browser; node's test runner reports test by test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.node import JS, needs_node

TESTS = sorted((JS / "test" / "browser").glob("*.test.mjs"))
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

needs_chromium = pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="needs chromium")


@needs_node
@needs_chromium
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.removesuffix(".test.mjs"))
def test_in_chromium(path: Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable, "CHROMIUM": CHROMIUM or "/usr/bin/chromium"}
    command = ["node", "--test", "--test-timeout=300000", str(path.relative_to(JS))]
    finished = subprocess.run(command, cwd=JS, env=environment, capture_output=True, text=True, timeout=550)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_there_are_tests() -> None:
    assert [path.name for path in TESTS] == [
        "buffering.test.mjs",
        "client.test.mjs",
        "event_source.test.mjs",
        "foreign.test.mjs",
        "grants.test.mjs",
        "iframe.test.mjs",
        "mounting.test.mjs",
        "old_browser.test.mjs",
        "same-site.test.mjs",
        "sandbox.test.mjs",
        "service_worker.test.mjs",
        "shared.test.mjs",
        "shared_lead.test.mjs",
        "streams.test.mjs",
        "websocket.test.mjs",
        "websocket_client.test.mjs",
    ]
