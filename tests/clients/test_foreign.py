"""Clients that nobody here wrote come back to a server that was killed, and miss nothing: Python's and npm's."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import SSEError, connect_sse
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from rplx.client import Realplexor
from tests.clients.node import needs_node
from tests.lines.wire import settings
from tests.live import LiveServer
from tests.waiting import PATIENCE, at_best, eventually

CHANNELS = ("news", "other.7")
END = "end"
PAUSE = 0.05  # seconds before the next try, where the server says nothing of it
Hear = Callable[[Any], None]


def httpx_sse(address: str, hear: Hear) -> None:
    """Listens by `httpx-sse`, and comes back with the id of the last event."""
    last, retry = "", PAUSE
    while True:
        time.sleep(retry)
        headers = {"Last-Event-ID": last} if last else {}
        with (
            contextlib.suppress(httpx.HTTPError, SSEError, ValueError),
            httpx.Client(timeout=10, headers=headers, trust_env=False) as client,
            connect_sse(client, "GET", f"http://{address}/?identifier={','.join(CHANNELS)}") as source,
        ):
            for event in source.iter_sse():
                last, retry = event.id, PAUSE if event.retry is None else min(event.retry / 1000, 1)
                if event.event == "message" and event.data:
                    data = json.loads(event.data)["data"]
                    hear(data)
                    if data == END:
                        return


def websockets(address: str, hear: Hear) -> None:
    """Listens by `websockets`, and comes back with the cursors of the last messages."""
    cursors: dict[str, str | None] = dict.fromkeys(CHANNELS)
    while True:
        time.sleep(PAUSE)
        with (
            contextlib.suppress(OSError, WebSocketException),
            connect(f"ws://{address}/", open_timeout=PATIENCE, close_timeout=1) as socket,
        ):
            socket.send(json.dumps({"listen": cursors}))
            for text in socket:
                said = json.loads(text)
                if "open" in said:
                    cursors = {id: cursor or said["open"] for id, cursor in cursors.items()}
                elif "data" in said:
                    cursors |= said["ids"]
                    hear(said["data"])
                    if said["data"] == END:
                        return


def in_node(script: str) -> Callable[[str, Hear], None]:
    """Returns what listens by a script beside this one, which prints each message as a line of JSON."""

    def run(address: str, hear: Hear) -> None:
        command = ["node", str(Path(__file__).with_name(script)), address, ",".join(CHANNELS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as node:
            assert node.stdout is not None
            try:
                for line in node.stdout:
                    hear(json.loads(line))
                    if json.loads(line) == END:
                        break
            finally:
                node.kill()

    return run


CLIENTS = {
    "httpx_sse": httpx_sse,
    "websockets": websockets,
    "eventsource": in_node("eventsource.mjs"),
    "ws": in_node("websocket_back.mjs"),
}


class Restarted:
    """A server with its history in a file, at the same addresses after each end."""

    def __init__(self, file: Path) -> None:
        self._options = settings(f"engine.url=sqlite:///{file}", "history.max_messages=1000", "server.drain=0.2")
        self.server = LiveServer(*self._options)
        self.addresses = ["{}:{}".format(*self.server.wait), "{}:{}".format(*self.server.in_)]

    def restart(self, how: signal.Signals) -> None:
        self.server.stop(how)
        given = ("--wait", self.addresses[0], "--in", self.addresses[1])
        self.server = LiveServer(*given, *self._options, addresses=False)


@needs_node
def test_they_come_back_and_miss_nothing(tmp_path: Path) -> None:
    numbers = itertools.count()

    def come_back() -> None:
        restarted = Restarted(tmp_path / f"history{next(numbers)}.db")
        try:
            nothing_is_missed(restarted)
        finally:
            restarted.server.stop()

    at_best(come_back, 5)


def nothing_is_missed(restarted: Restarted) -> None:
    heard: dict[str, list[Any]] = {name: [] for name in CLIENTS}
    for name, listen in CLIENTS.items():
        threading.Thread(target=listen, args=(restarted.addresses[0], heard[name].append), daemon=True).start()
    sent: list[Any] = []
    client = Realplexor(*restarted.server.in_)
    eventually(lambda: client.online_with_counters() == dict.fromkeys(CHANNELS, len(CLIENTS)))
    for how in (signal.SIGKILL, signal.SIGTERM, None):
        for _ in range(30):
            sent.append(len(sent))
            client.send(CHANNELS if len(sent) % 3 == 0 else CHANNELS[len(sent) % 2], sent[-1])
        if how is not None:  # some have not read the last of them yet
            restarted.restart(how)
            client.close()
    client.send(CHANNELS[1], END)
    for name in CLIENTS:
        eventually(lambda name=name: heard[name][-1:] == [END], told=lambda: str(heard))  # type: ignore[misc]
    for name in CLIENTS:
        assert heard[name] == [*sent, END], name
