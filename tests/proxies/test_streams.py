"""Python and PHP listeners by event streams: through the blocks of docs/proxies.md, and past an nginx in the way."""

from __future__ import annotations

import shutil
import ssl
from contextlib import ExitStack
from pathlib import Path

import pytest

from rplx.client import Realplexor, Timeout
from rplx.client.stream import OPEN_PATIENCE
from tests.clients.listeners import Heard, awaited, blocking, each_is_heard, php
from tests.live import LiveServer
from tests.proxies.fronts import Block, Front, front, page_blocks
from tests.proxies.measure import path
from tests.waiting import at_best

BLOCKS = page_blocks()
OPTIONS = ("--set", "history.max_messages=1000")
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


def all_hear(stack: ExitStack, running: Front, block: Block, transport: str, ca: Path) -> list[Heard]:
    """Has each kind of client listen through what is in front."""
    url = running.url.rstrip("/") + path(block)
    options = {"tls": ssl.create_default_context(cafile=str(ca / "site.pem"))} if running.tls else {}
    kinds = [blocking, awaited]
    if not running.tls and shutil.which("php"):
        kinds.append(php)
    return [stack.enter_context(kind(url, transport, options)) for kind in kinds]


@pytest.mark.parametrize("name", BLOCKS)
def test_a_stream(name: str, server: LiveServer, certificates: Path, tmp_path: Path) -> None:
    block = BLOCKS[name]
    with front(block, tmp_path, server.wait, certificates) as running, ExitStack() as stack:
        each_is_heard(server.in_, all_hear(stack, running, block, "stream", certificates))


def test_where_bytes_are_held_back_they_poll(
    server: LiveServer, certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with front(HELD_BACK, tmp_path, server.wait) as running, ExitStack() as stack:
        with caplog.at_level("INFO", "rplx.client"):
            each_is_heard(server.in_, all_hear(stack, running, HELD_BACK, "auto", certificates))
        told = f"nothing of the stream within {OPEN_PATIENCE:g} s: something on the way may hold it back; polling"
        assert caplog.text.count(told) == 2
        at_best(lambda: gives_the_stream_up(running))


def gives_the_stream_up(running: Front) -> None:
    """Where it was connected within that time, as it says then what it waited for."""
    with pytest.raises(Timeout, match=r"nothing of the stream within 0\.5 s: something on the way may hold it back"):
        Realplexor(timeout=0.5).listen("news", running.url, transport="stream")


def test_where_streams_are_cut_nothing_is_lost(server: LiveServer, certificates: Path, tmp_path: Path) -> None:
    with front(CUTTING, tmp_path, server.wait) as running, ExitStack() as stack:
        each_is_heard(server.in_, all_hear(stack, running, CUTTING, "auto", certificates), pause=0.3)
