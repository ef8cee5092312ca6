"""Listeners of each kind of client that back-ends have: what they have heard so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from anyio.from_thread import start_blocking_portal

from rplx.client import AsyncRealplexor, Realplexor
from tests.clients.php_listener import END, PhpListener
from tests.waiting import PATIENCE, eventually

CHANNELS = ("news", "other")  # that all of them listen to
Options = dict[str, Any]
Heard = Callable[[], list[Any]]


@contextmanager
def blocking(url: str, transport: str, options: Options) -> Iterator[Heard]:
    """Yields what gives the messages so far of a listener in a thread."""
    heard: list[Any] = []
    with Realplexor(**options).listen(CHANNELS, url, transport=transport) as listener:

        def hear() -> None:
            for message in listener:
                heard.append(message.data)

        thread = threading.Thread(target=hear)
        thread.start()
        yield lambda: heard
        listener.close()
        thread.join(PATIENCE)


@contextmanager
def awaited(url: str, transport: str, options: Options) -> Iterator[Heard]:
    """As `blocking`, in a loop of its own."""
    heard: list[Any] = []

    async def hear(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with AsyncRealplexor(**options).listen(CHANNELS, url, transport=transport) as listener:
            task_status.started()
            async for message in listener:
                heard.append(message.data)

    with start_blocking_portal() as portal:
        task, _ = portal.start_task(hear)
        yield lambda: heard
        task.cancel()


@contextmanager
def php(url: str, transport: str, options: Options) -> Iterator[Heard]:
    """As `blocking`, in PHP."""
    script = PhpListener(url, transport)
    yield script.heard
    script.stop()


def each_is_heard(in_: tuple[str, int], listeners: list[Heard], pause: float = 0.0) -> None:
    """Sends messages to both channels, each `pause` seconds; all listeners have to hear all of them in order."""
    sent: list[Any] = []
    client = Realplexor(*in_)
    for number in range(20):
        client.send(CHANNELS if number % 3 == 0 else CHANNELS[number % 2], number)
        sent.append(number)
        if pause:
            time.sleep(pause)
    client.send("other", END)
    for heard in listeners:
        eventually(heard, [*sent, END])
