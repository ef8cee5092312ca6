"""One address has no more than a share of the channels in their grace time, however its listeners leave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lines.wire import Conversation, Wire, http, settings
from tests.waiting import eventually

SHARE = 10
OPTIONS = settings("presence.offline_timeout=300", f"presence.max_in_grace_per_address={SHARE}")
OTHER = "127.0.0.2"  # the machine has the whole of 127.0.0.0/8


def from_other(wire: Wire, ids: str) -> Conversation:
    return Conversation(wire.wait, http(f"GET /?identifier={ids} HTTP/1.0"), source=OTHER)


@pytest.fixture
def honest(wire: Wire, prefix: str) -> Iterator[None]:
    """Channels that listeners of the first address have just left, in all tests no more than its share."""
    ids = [f"{prefix}h{number}" for number in range(3)]
    for id in ids:
        wire.on_wait(f"GET /?identifier={id}&position HTTP/1.0\r\n\r\n".encode()).rest()
    yield
    assert wire.command(f"ONLINE {prefix}h\n\n").splitlines() == [f"{id} 0" for id in ids]


def online(wire: Wire, prefix: str) -> int:
    return len(wire.command(f"ONLINE {prefix}x\n\n").splitlines())


def ids(prefix: str) -> str:
    return ",".join(f"{prefix}x{number:02}" for number in range(40))


@pytest.mark.usefixtures("honest")
class TestShare:
    def test_polls_that_are_answered_at_once(self, wire: Wire, prefix: str) -> None:
        for id in ids(prefix).split(","):
            from_other(wire, f"{id}&position").rest()
        eventually(lambda: online(wire, prefix), SHARE)

    def test_listeners_that_hang_up(self, wire: Wire, prefix: str) -> None:
        listener = from_other(wire, ids(prefix))
        eventually(lambda: online(wire, prefix), 40)
        listener.close()
        eventually(lambda: online(wire, prefix), SHARE)

    def test_listeners_that_a_message_answers(self, wire: Wire, prefix: str) -> None:
        """Whoever knows a busy channel lets it end the poll."""
        listener = from_other(wire, f"{prefix}busy,{ids(prefix)}")
        eventually(lambda: online(wire, prefix), 40)
        wire.send(f"{prefix}busy", "1")
        assert b'"data": 1' in listener.rest()
        eventually(lambda: online(wire, prefix), SHARE)
