"""`rplx` with a short step between two looks at the deadlines of WAIT: `python -m tests.swift serve ...`."""

from __future__ import annotations

import functools

from rplx.cli.command import main
from rplx.serving import server
from rplx.wait_line.server import WaitServer

SWEEP = 0.1  # seconds

if __name__ == "__main__":
    server.WaitServer = functools.partial(WaitServer, sweep_every=SWEEP)  # type: ignore[misc, assignment]
    raise SystemExit(main())
