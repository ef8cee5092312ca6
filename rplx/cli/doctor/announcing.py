"""Why nobody answers as rplx does: one side sends or expects a PROXY header, and the other does not (part 9.6)."""

from __future__ import annotations

from rplx.cli.doctor.asking import EMPTY, NotAsked, Place, Poll, ask, new_id
from rplx.cli.doctor.findings import Finding, wrong

UNSENT, UNEXPECTED = "no PROXY header", "PROXY header"  # the names of the checks
NOBODY = b"PROXY UNKNOWN\r\n"  # the header of a connection that is made for no client
PATIENCE = 3.0  # seconds for a head that is sent at once
POSITION = "x-realplexor-cursor"  # has each answer of rplx but those to plain text


def check(place: Place) -> Finding | None:
    """Returns what is wrong with the PROXY header, if it is that."""
    if _is_unexpected(place):
        text = "what is in between sends one, but rplx does not expect it and so takes requests for plain text"
        return wrong(UNEXPECTED, text)
    if _is_expected(place):
        text = "rplx expects one of each connection (wait.proxy_protocol), and what is in between sends none"
        return wrong(UNSENT, text)
    return None


def _is_expected(place: Place) -> bool:
    connection = place.connect(PATIENCE)
    try:
        connection.connect()
        connection.sock.sendall(NOBODY)
        answer = ask(connection, place.target(new_id(), position=True))
    except (NotAsked, OSError, UnicodeError):
        return False
    finally:
        connection.close()
    return answer.status == 200 and answer.body == EMPTY


def _is_unexpected(place: Place) -> bool:
    try:
        poll = Poll(place, place.target(new_id(), position=True))
    except NotAsked:
        return False
    came = poll.wait(lambda: poll.body or poll.ended, PATIENCE)
    poll.hang_up()
    return came and poll.status == 200 and poll.body == EMPTY and not poll.has(POSITION)
