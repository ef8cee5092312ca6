"""rplx.testing.capture: what an application sends comes to a list, and what it could not send raises as ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

import rplx
from rplx.client import (
    AsyncRealplexor,
    ConnectionFailed,
    Dklab_Realplexor,
    Dklab_Realplexor_Exception,
    InvalidArgument,
    Realplexor,
    SendManyError,
)
from rplx.testing import Recorded, capture

# Nobody listens at port 1: whatever were sent after all would raise.
NOBODY = ("127.0.0.1", 1)


def test_each_way_to_send() -> None:
    client = Realplexor(*NOBODY, namespace="shop_", login="anna", password="x")
    with capture() as sent:
        rplx.publish("news", {"title": "It works"})
        client.send(["a", 7], [1, None])
        client.send_json("b", '{"price": 1.10}')
        client.send_many([("c", 1), ("d", 2, ["vip"])])
        Dklab_Realplexor(*NOBODY).send({"old": "5", "odd": -5}, "x")
    assert sent == [
        ("news", {"title": "It works"}),
        ("a", [1, None]),
        ("7", [1, None]),
        ("b", {"price": 1.1}),
        ("c", 1),
        ("d", 2),
        ("old", "x"),
    ]
    assert sent.to("a") == [[1, None]]


def test_each_way_to_send_and_wait_for_it() -> None:
    async def send() -> None:
        async def messages() -> AsyncIterator[tuple[str, int]]:
            yield "e", 5

        async with AsyncRealplexor(*NOBODY) as client:
            assert list(await client.send("a", 1)) == ["a"]
            await client.send_json("b", "2")
            await client.send_many([("c", 3), ("d", 4)])
            await client.send_many(messages())

    with capture() as sent:
        asyncio.run(send())
    assert sent == [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]


def test_what_listeners_get_is_what_is_kept() -> None:
    with capture() as sent:
        rplx.publish("a", {1: (2, 3)})
    assert sent == [("a", {"1": [2, 3]})]


def test_a_message_has_its_limits_and_its_receipt() -> None:
    with capture() as sent:
        receipt = rplx.publish({"a": None, "b": "12.5"}, 1, limit_to="vip")
        later = rplx.publish("a", 2)
    assert receipt["b"] == "12.5"
    assert float(later["a"]) > float(receipt["a"])
    assert sent.messages == [
        Recorded(("a", "b"), 1, ("vip",), receipt),
        Recorded(("a",), 2, (), later),
    ]


def test_what_cannot_be_sent_raises() -> None:
    client = Realplexor(*NOBODY)
    with capture() as sent:
        for ids, data, limit_to in (("a b", 1, None), ([], 1, None), ("a", {1, 2}, None), ("a", 1, [])):
            with pytest.raises(InvalidArgument):
                rplx.publish(ids, data, limit_to)
            with pytest.raises(InvalidArgument):
                client.send(ids, data, limit_to)
        with pytest.raises(InvalidArgument):
            client.send_json("a", "{")
        with pytest.raises(Dklab_Realplexor_Exception):
            Dklab_Realplexor(*NOBODY).send("a-b", 1)
        assert sent == []
        with pytest.raises(SendManyError) as raised:
            client.send_many([("a", 1), ("a b", 2), ("a", 3)])
        assert list(raised.value.receipts) == [0]
    assert sent == [("a", 1)]


def test_it_ends_with_the_block_and_blocks_within_blocks_have_their_own() -> None:
    client = Realplexor(*NOBODY)
    with capture() as outer:
        client.send("a", 1)
        with capture() as inner:
            client.send("b", 2)
        client.send("c", 3)
    assert outer == [("a", 1), ("c", 3)]
    assert inner == [("b", 2)]
    with pytest.raises(ConnectionFailed):
        client.send("a", 1)


def test_threads_are_heard() -> None:
    with capture() as sent:
        threads = [threading.Thread(target=rplx.publish, args=("a", number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(sent.to("a")) == list(range(8))


def test_it_can_be_cleared() -> None:
    with capture() as sent:
        rplx.publish("a", 1)
        sent.clear()
        assert (sent, sent.messages) == ([], [])
        rplx.publish("a", 2)
    assert sent == [("a", 2)]
