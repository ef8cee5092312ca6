"""For the tests of applications: what they send without a server, or a real server for as long as a test runs."""

from __future__ import annotations

from rplx.testing.recording import Recorded, Sent, capture
from rplx.testing.running import Server, server

__all__ = ["Recorded", "Sent", "Server", "capture", "server"]
