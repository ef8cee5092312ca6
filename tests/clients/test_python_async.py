"""What the asynchronous Python client has of its own: cancelling, closing, its extra. The rest: `each_client`."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from rplx.client import AsyncRealplexor, ConnectionFailed, InvalidArgument, Timeout, async_realplexor
from rplx.client.async_realplexor import CONNECTIONS_MAX
from tests.clients.stub import StubConnection, StubServer, receipts
from tests.live import LiveServer
from tests.waiting import PATIENCE, at_best, eventually

STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    b'id: 100:*\nevent: open\ndata: {"cursor":"100","gaps":[]}\n\n'
)


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    return lambda function: anyio.run(function, backend=request.param)


Run = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer() as live:
        yield live


def url(server: LiveServer) -> str:
    return "http://{}:{}/".format(*server.wait)


def holding(connection: StubConnection, number: int) -> None:
    """Answers with a stream on which nothing comes."""
    connection.read()
    connection.write(STREAM)
    connection.read()


def say_nothing(connection: StubConnection, number: int) -> None:
    connection.read()
    connection.read()


def all_closed(server: StubServer) -> bool:
    return bool(server.connections) and all(connection.closed for connection in server.connections)


@pytest.mark.parametrize("transport", ["stream", "poll"])
def test_a_cancelled_wait_loses_nothing(run: Run, server: LiveServer, transport: str) -> None:
    async def hear() -> None:
        async with (
            AsyncRealplexor(*server.in_, f"n{secrets.token_hex(4)}_") as client,
            client.listen(["a", "b"], url(server), transport=transport) as listener,
        ):
            for number in range(3):
                with anyio.move_on_after(0.05) as waited:
                    await anext(listener)
                assert waited.cancelled_caught
                await client.send_many([(["a", "b"], number), ("a", -number)])
                assert [(await anext(listener)).data for _ in range(2)] == [number, -number]
            assert set(listener.cursors) == {"a", "b"}

    run(hear)


def test_a_cancelled_task_leaves_no_connection(run: Run) -> None:
    with StubServer(holding) as server:

        async def hear() -> None:
            async with aclosing(AsyncRealplexor().listen("a", server.url, transport="stream")) as listener:
                async for _ in listener:
                    pass

        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hear)
                while not server.requests:
                    await anyio.sleep(0.01)
                await anyio.sleep(0.1)
                tasks.cancel_scope.cancel()
            assert len(server.connections) == 1
            await anyio.to_thread.run_sync(lambda: eventually(lambda: all_closed(server)))

        run(main)


def test_who_breaks_off_leaves_no_connection(run: Run, server: LiveServer) -> None:
    async def main() -> None:
        async with AsyncRealplexor(*server.in_, f"n{secrets.token_hex(4)}_") as client:
            first = await client.send("a", 1)
            await client.send("a", 2)
            async with aclosing(client.listen({"a": 0, "b": first["a"]}, url(server))) as listener:
                async for message in listener:
                    assert message.data == 1
                    assert listener.cursors["a"] == first["a"]
                    break
            while await client.online_with_counters("a") not in ({}, {"a": 0}):
                await anyio.sleep(0.01)

    run(main)


def test_another_task_ends_a_waiting_iteration(run: Run) -> None:
    with StubServer(holding) as server:

        async def main() -> None:
            listener = AsyncRealplexor().listen("a", server.url)
            heard: list[Any] = []

            async def hear() -> None:
                heard.extend([message async for message in listener])
                heard.append("end")

            async with listener, anyio.create_task_group() as tasks:
                tasks.start_soon(hear)
                await anyio.sleep(0.05)
                with pytest.raises(RuntimeError, match="another task waits"):
                    await anext(listener)
                await listener.aclose()
            assert heard == ["end"]
            assert [message async for message in listener] == []

        run(main)
        eventually(lambda: all_closed(server))


def test_it_asks_nobody_until_it_is_entered(run: Run) -> None:
    async def main() -> None:
        client = AsyncRealplexor("127.0.0.1", 1)
        with pytest.raises(InvalidArgument, match="WAIT URL must be"):
            client.listen("a", "ftp://h/")
        with pytest.raises(InvalidArgument, match="wait must be given"):
            AsyncRealplexor("unix:/nobody/in.sock").listen("a")
        listener = client.listen("a", "http://127.0.0.1:1/")
        for _ in range(2):
            with pytest.raises(ConnectionFailed, match=r"^127\.0\.0\.1:1: Connection refused$"):
                await anext(listener)
        with pytest.raises(ConnectionFailed, match=r"^unix:/nobody/in\.sock: No such file or directory$"):
            await AsyncRealplexor("unix:/nobody/in.sock").send("a", 1)

    run(main)


def test_paths_of_sockets(run: Run, tmp_path: Path) -> None:
    wait, in_ = f"unix:{tmp_path}/wait.sock", f"unix:{tmp_path}/in.sock"

    async def main() -> None:
        async with AsyncRealplexor(in_) as client:
            for transport in ("stream", "poll"):
                async with client.listen("a", wait, transport=transport) as listener:
                    await client.send("a", transport)
                    assert (await anext(listener)).data == transport

    with LiveServer("--wait", wait, "--in", in_, addresses=False):
        run(main)


def test_many_tasks_share_a_client(run: Run, server: LiveServer) -> None:
    async def main() -> None:
        received: list[Any] = []
        async with AsyncRealplexor(*server.in_, f"n{secrets.token_hex(4)}_") as client:

            async def send(name: str) -> None:
                for number in range(20):
                    await client.send(name, number)

            async with (
                client.listen([f"t{number}" for number in range(10)], url(server)) as listener,
                anyio.create_task_group() as tasks,
            ):
                for number in range(10):
                    tasks.start_soon(send, f"t{number}")
                while len(received) < 200:
                    received.append((await anext(listener)).data)
        assert sorted(received) == sorted(list(range(20)) * 10)

    run(main)


def test_calls_beyond_its_connections_wait_for_one(run: Run) -> None:
    with StubServer(receipts) as server:

        async def main() -> None:
            async with AsyncRealplexor(*server.address) as client, anyio.create_task_group() as tasks:
                for _ in range(5 * CONNECTIONS_MAX):
                    tasks.start_soon(client.send, "a", 1)

        run(main)
        assert len(server.requests) == 5 * CONNECTIONS_MAX
        assert len(server.connections) <= CONNECTIONS_MAX


def test_who_waits_too_long_for_a_connection_has_sent_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_realplexor, "CONNECTIONS_MAX", 1)

    with StubServer(say_nothing) as server:

        async def main() -> None:
            client = AsyncRealplexor(*server.address, timeout=PATIENCE)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.send, "a", 1)
                while not server.requests:
                    await anyio.sleep(0.01)
                client.timeout = 0.1
                with pytest.raises(Timeout, match=r"no connection within 0\.1 s") as caught:
                    await client.send("a", 2)
                assert not caught.value.unknown
                tasks.cancel_scope.cancel()

        run(main)
        assert len(server.requests) == 1


def test_a_send_that_is_late(run: Run) -> None:
    with StubServer(say_nothing) as server:

        async def main() -> None:
            with pytest.raises(Timeout, match=r"waiting for the answer: not done within 0\.2 s") as caught:
                await AsyncRealplexor(*server.address, timeout=0.2).send("a", 1)
            assert caught.value.unknown
            with anyio.move_on_after(0.2):
                await AsyncRealplexor(*server.address, timeout=PATIENCE).send("a", 1)

        at_best(lambda: run(main))  # connected within 0.2 s, too
        eventually(lambda: all_closed(server))


def test_without_its_extra() -> None:
    """The rest of the client does without httpx; who asks for this is told what to install."""
    code = """
import sys
sys.modules["httpx"] = None
from rplx.client import *
Realplexor()
from rplx.client import AsyncRealplexor
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: AsyncRealplexor needs the extra rplx[async]: pip install 'rplx[async]' (" in done.stderr
    assert "line 6" in done.stderr
