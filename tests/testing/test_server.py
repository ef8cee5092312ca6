"""rplx.testing.server and the fixtures for pytest, as an application's tests use them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rplx
from rplx.client import ConnectionFailed
from rplx.testing import server


def test_a_message_reaches_a_listener() -> None:
    before = os.environ.get("RPLX_IN")
    with server({"history.max_messages": 2, "log.connections": True}) as running:
        with running.client() as client:
            listener = client.listen("news", running.url)
            rplx.publish("news", {"title": "It works"})
            assert next(iter(listener)).data == {"title": "It works"}
            listener.close()
            assert client.online() == ["news"]
        assert os.environ["RPLX_IN"] == running.environ["RPLX_IN"]
    assert os.environ.get("RPLX_IN") == before
    with pytest.raises(ConnectionFailed):
        running.client().send("news", 1)


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"no\.such"), server({"no.such": 1}):
        pass


APPLICATION_TESTS = """
import rplx

def test_sends(rplx_sent):
    rplx.publish("news", 1)
    assert rplx_sent == [("news", 1)]

def test_sends_again(rplx_sent):
    assert rplx_sent == []

def test_a_real_server(rplx_server):
    listener = rplx_server.client().listen("news", rplx_server.url)
    rplx.publish("news", 2)
    assert next(iter(listener)).data == 2
    listener.close()
"""


def test_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_application.py").write_text(APPLICATION_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
