"""A browser whose network changes ends its polls over HTTP/2: nobody is told, and nothing is lost (part 9.2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.clients.test_browser import CHROMIUM, needs_chromium
from tests.soak import half_open
from tests.waiting import at_best

TIMEOUT = 280.0  # seconds
ROOM = ["unshare", "--net", sys.executable, "-m", "tests.reliability.network_changes"]


@needs_chromium
def test_nobody_is_told() -> None:
    if not half_open.possible():
        pytest.skip("this machine lets us make no network namespace")
    environ = {**os.environ, "CHROMIUM": CHROMIUM or ""}

    def change() -> None:
        done = subprocess.run(ROOM, env=environ, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == [["ready", ""], ["ready", ""]]

    at_best(change, 3)  # a machine that stalls may end the request that comes behind the change, too
