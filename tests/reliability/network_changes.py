"""`unshare --net python -m tests.reliability.network_changes`: Chromium polls over HTTP/2 while its network changes.

Prints as JSON what the tabs were told, but for messages, and which of them heard the message at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rplx.client import Realplexor
from tests.proxies.fronts import certificate, front, page_blocks
from tests.proxies.measure import path
from tests.soak.browser import Chromium, Site
from tests.soak.polls import LoggedServer, Polls
from tests.waiting import eventually

BLOCK = page_blocks()["nginx with TLS and HTTP/2"]
CHANGES = 6
QUESTION = 0.2  # seconds between the two lines of the log that a question for the position has, and more
IDS = ["one", "two"]


class Counting(Polls):
    """Counts the polls of each listener."""

    def __init__(self) -> None:
        super().__init__(lambda id, seconds: None)
        self.counts = dict.fromkeys(IDS, 0)

    def take(self, line: str) -> None:
        super().take(line)
        for id in IDS:
            self.counts[id] += f":{id}] registered" in line

    def all_wait(self) -> bool:
        """Whether each listener has a poll that waits: a question for the position has its answer at once."""
        if not self._parked.keys() >= set(IDS):
            return False
        time.sleep(QUESTION)
        return self._parked.keys() >= set(IDS)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def run(folder: Path, heard: list[dict[str, Any]]) -> None:
    """Changes the network as soon as each tab has a new poll, so that each ends polls that have hardly waited."""
    sites = [Site(heard.append) for _ in IDS]
    polls = Counting()
    origins = json.dumps([site.origin for site in sites])
    with (
        LoggedServer(polls, "--set", f"wait.allowed_origins={origins}") as server,
        front(BLOCK, folder, server.wait, certificate(folder)) as running,
        Chromium() as chromium,
        Realplexor(*server.in_) as client,
    ):
        for site, id in zip(sites, IDS, strict=True):
            chromium.open(site.page(id, running.url.rstrip("/") + path(BLOCK)))
        eventually(lambda: sorted(told["id"] for told in heard if told["kind"] == "ready"), IDS)
        for number in range(CHANGES):
            eventually(lambda: client.online_with_counters(), dict.fromkeys(IDS, 1))
            before = dict(polls.counts)
            ip("address", ("add", "del")[number % 2], "10.98.0.1/24", "dev", "here")
            eventually(lambda before=before: [id for id in IDS if polls.counts[id] > before[id]], IDS)  # type: ignore[misc]
            eventually(polls.all_wait)
        client.send(IDS, {"n": 1, "at": 0})
        eventually(lambda: sorted(told["id"] for told in heard if told["kind"] == "message"), IDS)
        quiet = list(heard)
    heard[:] = quiet
    for site in sites:
        site.stop()


def main() -> int:
    ip("link", "set", "lo", "up")
    for name, peer, address in (("always", "always1", "10.99.0.1/24"), ("here", "there", "")):
        ip("link", "add", name, "type", "veth", "peer", "name", peer)
        ip("link", "set", peer, "up")
        ip("link", "set", name, "up")
        if address:
            ip("address", "add", address, "dev", name)
    heard: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), heard)
    print(json.dumps([[told["kind"], told.get("reason", "")] for told in heard if told["kind"] != "message"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
