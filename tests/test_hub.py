"""What the hub lets go of. The collector is off while the server runs, so nothing may be left to it."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pytest

from rplx.engine.memory import MemoryEngine
from rplx.hub import ChannelSet, Hub, Listener
from rplx.log import Log
from rplx.messages import Identifiers, Send
from rplx.options import HistoryOptions, PresenceOptions


@pytest.fixture
def hub() -> Iterator[Hub]:
    engine = MemoryEngine(HistoryOptions(), PresenceOptions(), wall=time.time, monotonic=time.monotonic)
    gc.collect()
    gc.disable()
    try:
        yield Hub(engine, Log(0))
    finally:
        gc.enable()


def left() -> list[object]:
    return [found for found in gc.get_objects() if isinstance(found, (ChannelSet, Listener))]


def test_listeners_that_were_served(hub: Hub) -> None:
    for number in range(1, 4):
        for _ in range(100):
            hub.enter({"a": str(number), "b": str(number)})
        hub.publish(Send(Identifiers({"a": str(number + 1)}), b"1"))
        assert hub.listening == 0
        assert left() == []


def test_listeners_that_a_message_parts(hub: Hub) -> None:
    behind = hub.enter({"a": "1"}).listener
    ahead = hub.enter({"a": "9"}).listener
    hub.publish(Send(Identifiers({"a": "5"}), b"1"))
    assert behind is not None
    assert ahead is not None
    assert behind.answer
    assert ahead.answer is None
    assert hub.listening == 1
    hub.publish(Send(Identifiers({"a": "10"}), b"2"))
    assert ahead.answer
    del behind, ahead
    assert left() == []


def test_listeners_that_left(hub: Hub) -> None:
    for _ in range(100):
        entered = hub.enter({"a": None, "b": None})
        assert entered.listener is not None
        hub.leave(entered.listener)
    del entered
    assert left() == []
