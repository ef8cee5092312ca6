"""WebSockets through the blocks of docs/proxies.md, with the lines that the page adds for them."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.lines.wire import Wire, settings
from tests.live import LiveServer
from tests.proxies.fronts import PAGE, Block, Front, front, page_blocks
from tests.proxies.measure import message_after, new_id, path
from tests.waiting import PATIENCE, eventually

BLOCKS = page_blocks()
OPTIONS = settings("wait.heartbeat=1")


def lines(name: str) -> list[str]:
    """What the page has for this server in its section on WebSockets."""
    section = PAGE.read_text().partition("## WebSockets\n")[2].partition("\n## ")[0]
    return re.findall(rf"(?m)^- {name}: `([^`]*)`", section)


def with_websockets(block: Block) -> Block:
    text = block.text
    if block.kind == "nginx":
        headers, named = lines("nginx")
        text, count = re.subn(r'proxy_set_header Connection "";', lambda _: headers, text)
        text = f"{named}\n{text}"
    elif block.kind == "apache":
        (line,) = lines("Apache")
        text, count = re.subn(r"ProxyPass [^\n]*", lambda _: line, text)
    elif block.kind == "varnish":
        (line,) = lines("Varnish")
        text, count = re.subn(r'(set bereq\.http\.Connection = "close";)', lambda found: f"{found[1]}\n{line}", text)
    else:
        count = 1
    assert count == 1
    return block._replace(text=text)


def opened(running: Front, target: str, certificates: Path, **options: str) -> ClientConnection:
    context = ssl.create_default_context(cafile=str(certificates / "site.pem")) if running.tls else None
    url = re.sub("^http", "ws", running.url).rstrip("/") + target
    return connect(url, ssl=context, open_timeout=PATIENCE, close_timeout=PATIENCE, origin=options.get("origin"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BLOCKS)
def test_a_websocket(name: str, server: LiveServer, certificates: Path, tmp_path: Path) -> None:
    block = with_websockets(BLOCKS[name])
    wire = Wire(server)
    with front(block, tmp_path, server.wait, certificates) as running:
        a, b = new_id(), new_id()
        own = running.url.rstrip("/")
        with opened(
            running, f"{path(block)}?identifier={a}", certificates, origin=own
        ) as socket:  # a page of this host
            heard = lambda: json.loads(socket.recv(PATIENCE))  # noqa: E731
            assert heard()["gaps"] == []
            wire.send(a, json.dumps("x" * 3000))
            while "data" not in (value := heard()):
                assert "at" in value
            assert value["data"] == "x" * 3000
            socket.send(json.dumps({"listen": {b: None}}))
            while "open" not in heard():
                pass
            wire.send(b, "1")
            while "data" not in (value := heard()):
                pass
            assert list(value["ids"]) == [b]
            while "at" not in heard():
                pass
            assert socket.ping().wait(PATIENCE)
        eventually(lambda: wire.online(a), f"{a} 0\n")
        message_after(running, path(block), server.in_)  # polls pass as before
