"""A load balancer that asks /health (protocol page, part 9.5) sends nobody to a server that ends."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from tests.lines.wire import Conversation, Wire, http
from tests.live import LiveServer
from tests.proxies.fronts import PAGE, Block, front, page_blocks
from tests.waiting import eventually

POLL = http("GET /?identifier=1:where HTTP/1.1\nHost: h\nConnection: close")


def balancer(other: int) -> Block:
    """The page's block for HAProxy with its line for several servers: ours and the one at port `other`."""
    block = page_blocks()["HAProxy"]
    (check,) = re.findall(r"`(option httpchk [^`]*)`", PAGE.read_text())
    (line,) = re.findall(r"(?m)^    server rplx 127\.0\.0\.1:8088\n", block.text)
    servers = "".join([f"    server s{port} 127.0.0.1:{port} check inter 1s\n" for port in (8088, other)])
    return block._replace(text=block.text.replace(line, f"    {check}\n{servers}"))


def test_a_server_that_ends_gets_no_new_polls(tmp_path: Path) -> None:
    file = tmp_path / "rplx.toml"
    file.write_text("server.drain = 600\n")
    with LiveServer("--config", str(file)) as one, LiveServer() as two:
        for server, name in ((one, "one"), (two, "two")):
            Wire(server).send("5:where", f'"{name}"')
        with front(balancer(two.wait[1]), tmp_path / "front", one.wait) as running:

            def who() -> set[bytes]:
                answers = [Conversation(running.address, POLL).rest() for _ in range(6)]
                return {name for name in (b"one", b"two") for answer in answers if b'"%b"' % name in answer}

            eventually(who, {b"one", b"two"})
            waiting = Conversation(one.wait, http("GET /?identifier=a HTTP/1.1\nHost: h"))
            eventually(lambda: Wire(one).online("a"), "a 1\n")
            one.process.send_signal(signal.SIGTERM)
            one.wait_for("SIGTERM received, answering 1 ")
            assert b'"one"' in Conversation(one.wait, POLL).rest(), "it would still answer"
            eventually(who, {b"two"})
            assert who() == {b"two"}
            waiting.close()
        one.process.kill()
