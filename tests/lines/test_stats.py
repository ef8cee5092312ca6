"""STATS (protocol page, part 3): the server's state in five sections."""

from __future__ import annotations

import re

import pytest

from tests.lines.wire import Wire, http
from tests.live import LiveServer

SECTIONS = ["data_to_send", "connected_fhs", "online_timers", "cleanup_timers", "pairs_by_fhs"]


def test_nothing_yet() -> None:
    with LiveServer() as server:
        assert Wire(server).command("STATS\n\n") == "\n".join(f"[{name}]\n" for name in SECTIONS)


def test_everything() -> None:
    with LiveServer() as server:
        wire = Wire(server)
        wire.send("5:b,7:a", '"x"')
        wire.send("6:a,*y,*x", '"long"')
        first = wire.listen("9:c,9:a")
        second = wire.listen("9:a")
        shown = wire.command("stats\n\n")
        handles = dict.fromkeys(re.findall(r"\(0x[0-9a-f]+\)", shown))
        assert len(handles) == 2
        for number, handle in enumerate(re.findall(r"^(\(0x[0-9a-f]+\)) => .*(?:,|:a$)", shown, re.MULTILINE)):
            assert handle in handles, number
        pairs = dict(line.split(" => ") for line in shown.split("[pairs_by_fhs]\n")[1].splitlines())
        assert list(pairs) == sorted(pairs)
        both = next(handle for handle, pair in pairs.items() if "," in pair)
        alone = next(handle for handle in pairs if handle != both)
        assert set(pairs[both].split(", ")) == {"9:a", "9:c"}
        assert pairs[alone] == "9:a"
        sections = shown.split("\n\n")
        assert sections[0] == "[data_to_send]\na => [7: 3b], [6: 6b, limited by (x, y)]\nb => [5: 3b]"
        connected = sections[1].splitlines()
        assert connected[0] == "[connected_fhs]"
        assert connected[1].startswith("a => ")
        assert set(connected[1][5:].split(", ")) == {both, alone}
        assert connected[2:] == [f"c => {both}"]
        assert sections[2] == "[online_timers]\na => assigned\nc => assigned"
        assert sections[3] == "[cleanup_timers]\na => assigned\nb => assigned"
        first.close()
        second.close()


@pytest.mark.parametrize(
    "command",
    [
        b"STATS\n\n",
        b"Stats\r\n\r\n",
        b"X: y\n\nstats\n\n",
        http("POST / HTTP/1.0\nX-Realplexor: identifier=", b"STATS"),
    ],
)
def test_forms(wire: Wire, command: bytes) -> None:
    head, _, body = wire.on_in(command).rest().partition(b"\r\n\r\n")
    assert head == b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d" % len(body)
    assert body.startswith(b"[data_to_send]\n")
