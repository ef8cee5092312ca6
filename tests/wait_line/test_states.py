"""The table of a connection's states names what happens, and nothing else."""

from __future__ import annotations

import socket

import pytest

from rplx.log import Log
from rplx.wait_line.states import MOVES, State
from tests.fuzz.targets import wait_connections
from tests.wait_line.conftest import NAMED, Move
from tests.wait_line.local_server import LONG, Client, Server
from tests.waiting import eventually


def test_every_state_has_a_row() -> None:
    assert MOVES.keys() == set(State)


def test_every_move_of_the_table_is_made(moves: set[Move]) -> None:
    server = Server(Log(0))
    client, other = Client(server), Client(server)
    client.poll(1)
    server.publish(2, b"2")  # from PARKED to READING
    client.body()
    client.ask(1)  # from WORKING to READING
    client.body()
    other.ask(1, "Connection: close\r\n")  # from WORKING to CLOSED
    eventually(lambda: (State.WORKING, State.CLOSED) in moves)
    client.poll(2)
    server.publish(3, LONG)  # from PARKED to WRITING, and on to READING
    client.body()
    client.ask(2)  # from WORKING to WRITING
    eventually(lambda: (State.WORKING, State.WRITING) in moves)
    client.sock.close()  # from WRITING to CLOSED
    stream = Client(server)
    stream.stream()  # from PARKED to WRITING, and back
    stream.until(LONG)
    eventually(lambda: (State.WRITING, State.PARKED) in moves)
    stream.sock.close()
    third = Client(server)
    third.poll(3)
    third.sock.shutdown(socket.SHUT_WR)  # from PARKED to CLOSED
    fourth = Client(server)
    eventually(lambda: (State.PARKED, State.CLOSED) in moves)
    fourth.sock.close()  # from READING to CLOSED
    eventually(lambda: not server.connections())
    server.stop()
    assert moves == NAMED


@pytest.mark.parametrize("data", list(wait_connections.seeds())[::9])
def test_hostile_clients_make_no_other_move(data: bytes, moves: set[Move]) -> None:
    wait_connections.check(data)
    assert moves
