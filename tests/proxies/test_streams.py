"""Python and PHP listeners by event streams: through the blocks of docs/proxies.md, and past an nginx in the way."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from rplx.client import AsyncRealplexor, Realplexor, Timeout
from rplx.client.stream import OPEN_PATIENCE
from tests.clients.php_listener import END, PhpListener
from tests.live import LiveServer
from tests.proxies.fronts import Block, Front, front, page_blocks
from tests.proxies.measure import path
from tests.waiting import PATIENCE, eventually

BLOCKS = page_blocks()
OPTIONS = ("--set", "history.max_messages=1000")
CHANNELS = ("news", "other")
HELD_BACK = Block(
    "nginx",
    "server { listen 80; location / { proxy_pass http://127.0.0.1:8088; proxy_ignore_headers X-Accel-Buffering; } }",
    tls=False,
)
CUTTING = Block(
    "nginx",
    "server { listen 80; location / { proxy_pass http://127.0.0.1:8088; proxy_read_timeout 1s; } }",
    tls=False,
)
Options = dict[str, Any]


@contextmanager
def blocking(url: str, transport: str, options: Options) -> Iterator[Callable[[], list[Any]]]:
    """Yields what gives the messages so far of a listener in a thread."""
    heard: list[Any] = []
    with Realplexor(**options).listen(CHANNELS, url, transport=transport) as listener:
        thread = threading.Thread(target=lambda: [heard.append(message.data) for message in listener])
        thread.start()
        yield lambda: heard
        listener.close()
        thread.join(PATIENCE)


@contextmanager
def awaited(url: str, transport: str, options: Options) -> Iterator[Callable[[], list[Any]]]:
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
def php(url: str, transport: str, options: Options) -> Iterator[Callable[[], list[Any]]]:
    """As `blocking`, in PHP."""
    script = PhpListener(url, transport)
    yield script.heard
    script.stop()


def all_hear(stack: ExitStack, running: Front, block: Block, transport: str, ca: Path) -> list[Callable[[], list[Any]]]:
    """Has each kind of client listen through what is in front."""
    url = running.url.rstrip("/") + path(block)
    options = {"tls": ssl.create_default_context(cafile=str(ca / "site.pem"))} if running.tls else {}
    kinds = [blocking, awaited]
    if not running.tls and shutil.which("php"):
        kinds.append(php)
    return [stack.enter_context(kind(url, transport, options)) for kind in kinds]


def each_is_heard(server: LiveServer, listeners: list[Callable[[], list[Any]]], pause: float = 0.0) -> None:
    sent: list[Any] = []
    client = Realplexor(*server.in_)
    for number in range(20):
        client.send(CHANNELS if number % 3 == 0 else CHANNELS[number % 2], number)
        sent.append(number)
        if pause:
            threading.Event().wait(pause)
    client.send("other", END)
    for heard in listeners:
        eventually(heard, [*sent, END])


@pytest.mark.parametrize("name", BLOCKS)
def test_a_stream(name: str, server: LiveServer, certificates: Path, tmp_path: Path) -> None:
    block = BLOCKS[name]
    with front(block, tmp_path, server.wait, certificates) as running, ExitStack() as stack:
        each_is_heard(server, all_hear(stack, running, block, "stream", certificates))


def test_where_bytes_are_held_back_they_poll(
    server: LiveServer, certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with front(HELD_BACK, tmp_path, server.wait) as running, ExitStack() as stack:
        with caplog.at_level("INFO", "rplx.client"):
            each_is_heard(server, all_hear(stack, running, HELD_BACK, "auto", certificates))
        told = f"nothing of the stream within {OPEN_PATIENCE:g} s: something on the way may hold it back; polling"
        assert caplog.text.count(told) == 2
        with pytest.raises(
            Timeout, match=r"nothing of the stream within 0\.5 s: something on the way may hold it back"
        ):
            Realplexor(timeout=0.5).listen("news", running.url, transport="stream")


def test_where_streams_are_cut_nothing_is_lost(server: LiveServer, certificates: Path, tmp_path: Path) -> None:
    with front(CUTTING, tmp_path, server.wait) as running, ExitStack() as stack:
        each_is_heard(server, all_hear(stack, running, CUTTING, "auto", certificates), pause=0.3)
