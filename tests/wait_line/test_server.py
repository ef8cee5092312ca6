"""The greenlets of the standalone WAIT line, from inside: kept from poll to poll, woken in vain, let go of."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator

import gevent
import pytest
from greenlet import greenlet

from rplx.hub.delivery import Delivery
from rplx.hub.sets import ChannelSet, Listener
from rplx.log import Log
from rplx.wait_line.connection import Connection
from tests.wait_line.local_server import LONG, Client, Server
from tests.waiting import eventually


def alive(*kinds: type) -> list[object]:
    return [found for found in gc.get_objects() if type(found) in kinds]


@pytest.fixture(params=[False, True], ids=["log of messages", "log of connections"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """With the log of connections each greenlet ends its own poll; else the sender does, and they wait on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    log = Log(1, request.param, nowhere)
    gc.collect()
    gc.disable()
    server = Server(log)
    try:
        yield server
    finally:
        server.stop()
        log.flush()
        os.close(nowhere)
        gc.enable()


def test_one_greenlet_to_a_connection() -> None:
    server = Server(Log(0))
    client = Client(server)
    client.poll(1)
    (connection,) = server.connections()
    first = connection.greenlet
    for number in range(2, 6):
        server.publish(number, b"%d" % number)
        assert b" %d\n" % number in client.body()
        assert connection.greenlet is first
        client.poll(number)
        assert connection.greenlet is first
    client.sock.close()
    eventually(lambda: not server.connections())
    eventually(lambda: first.dead)
    server.stop()


def test_nothing_is_left(server: Server) -> None:
    before = len(alive(greenlet)), len(alive(Connection))
    for start in (1, 11, 21):
        clients = [Client(server) for _ in range(70)]
        for number in range(start, start + 3):
            for client in clients:
                client.poll(number)
            server.publish(number + 1, b"1")
            for client in clients:
                client.body()
        clients[0].poll(start + 3)
        for client in clients:
            client.sock.close()
        del client, clients
        eventually(lambda: not server.connections())
        assert server.hub.listening == 0
        # Greenlets that were told to end do so in the loop's next turns, which come when the machine has time.
        eventually(lambda: not alive(Listener, ChannelSet))
        eventually(lambda: len(alive(greenlet)) <= before[0] + 1)  # the one that calls the application
        eventually(lambda: len(alive(Connection)) <= before[1] + 1)  # whose request that has called it for last


def test_a_poll_that_times_out_between_two_that_are_answered(server: Server) -> None:
    client = Client(server)
    for number in range(1, 6, 3):
        client.poll(number)
        server.publish(number + 1, b"1")
        assert b'"a": "%d"' % (number + 1) in client.body()
        client.poll(number + 1)
        (connection,) = server.connections()
        connection.deadline = 1.0
        assert client.body() == b" \r\n"
        client.poll(number + 1)
        server.publish(number + 2, b"1")
        assert b'"a": "%d"' % (number + 2) in client.body()


def test_an_answer_that_the_socket_does_not_take_whole(server: Server) -> None:
    client = Client(server)
    for number in range(1, 6, 2):
        client.poll(number)
        server.publish(number + 1, LONG)
        assert LONG in client.body()
        client.poll(number + 1)
        server.publish(number + 2, b"2")
        assert client.body().endswith(b'"data": 2\n  }\n]')


def test_what_comes_unseen_before_a_message_does_not_eat_the_answer(server: Server) -> None:
    """The loop has not looked at it when the connection ends with its answer."""
    client = Client(server)
    client.poll(1, "Connection: close\r\n")
    client.sock.send(b"more that nobody asked for")
    server.publish(2, b'"whole"')
    eventually(client.has_ended)
    assert client.came.endswith(b'"data": "whole"\n  }\n]')


def test_an_answer_from_history_that_the_socket_does_not_take_whole(server: Server) -> None:
    """It is written by a greenlet of its own; the one that waits for messages ends."""
    client = Client(server)
    for number in range(1, 8, 3):
        client.poll(number)
        server.publish(number + 1, b"1")
        client.body()
        (connection,) = server.connections()
        waiting = connection.greenlet
        server.publish(number + 2, LONG)
        client.ask(number + 1)
        assert LONG in client.body()
        assert waiting is None or waiting.dead
        client.poll(number + 2)
        server.publish(number + 3, b"2")
        assert client.body().endswith(b'"data": 2\n  }\n]')


def test_woken_in_vain(server: Server) -> None:
    """One of a set is not done, so their event is set; it may come when the other waits for its next message."""
    slow, fast = Client(server), Client(server)
    for number in range(1, 6, 2):
        slow.poll(number)
        fast.poll(number)
        server.connections()[-1].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        server.publish(number + 1, LONG)
        assert LONG in fast.body()
        fast.poll(number + 1)
        wake = gevent.get_hub().loop.run_callback
        for connection in server.connections():  # the one writes, the other waits
            wake(connection.greenlet.switch)
        assert fast.is_quiet()
        assert LONG in slow.body()
        slow.poll(number + 1)
        server.publish(number + 2, b"2")
        for client in (slow, fast):
            assert client.body().endswith(b'"data": 2\n  }\n]')


def test_a_set_that_a_message_parts(server: Server) -> None:
    """Who is ahead of it waits on, and is woken by the next message though its event has been set."""
    behind, ahead = Client(server), Client(server)
    for start in (10, 20):
        behind.poll(start + 1)
        ahead.poll(start + 5)
        server.publish(start + 3, b"3")
        assert b" 3\n" in behind.body()
        assert ahead.is_quiet()
        server.publish(start + 6, LONG)
        assert LONG in ahead.body()


def test_who_has_had_the_message_before_its_turn(server: Server) -> None:
    """A poll whose time is up while the crowd before it is served takes the message along; it does not come again."""
    client = Client(server)
    client.poll(1)
    held: list[Delivery] = []
    start, server.hub._start = server.hub._start, held.append  # type: ignore[method-assign]
    server.publish(2, b"2")
    server.hub._start = start  # type: ignore[method-assign]
    (connection,) = server.connections()
    connection.deadline = 1.0
    assert b'"a": "2"' in client.body()
    client.poll(2)
    start(held[0])
    assert client.is_quiet()
    server.publish(3, b"3")
    assert client.body().endswith(b'"data": 3\n  }\n]')
    assert client.is_quiet()


def test_hanging_up_between_two_polls(server: Server) -> None:
    client = Client(server)
    client.poll(1)
    server.publish(2, b"2")
    client.body()
    (connection,) = server.connections()
    client.sock.close()
    eventually(lambda: not server.connections())
    assert connection.greenlet is None


def test_the_last_poll_asks_to_close(server: Server) -> None:
    client = Client(server)
    client.poll(1)
    server.publish(2, b"2")
    client.body()
    client.poll(2, "Connection: close\r\n")
    server.publish(3, b"3")
    eventually(lambda: not server.connections())
    assert client.sock.recv(65536).endswith(b'"data": 3\n  }\n]')


def test_the_last_request_and_the_end_come_while_another_is_carried_out(server: Server) -> None:
    """No event tells of the end again, so it has to be remembered until it is read."""
    server.publish(5, b"5")
    client = Client(server)
    eventually(lambda: len(server.connections()) == 1)

    def ask() -> None:
        client.ask(1, count=2)
        server.lines.look()  # answers the first; the second, sent ahead, waits for the loop's next turn
        client.ask(1)
        client.sock.shutdown(socket.SHUT_WR)

    gevent.get_hub().loop.run_callback(ask)
    for _ in range(3):
        assert client.body().endswith(b'"data": 5\n  }\n]')
    eventually(lambda: not server.connections())
