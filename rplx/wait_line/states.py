"""The states of a browser's connection, and what moves it from one to another.

A connection is in one State at a time, and each state has one part of the server that acts on it:

READING   `reading` takes what comes until a request is whole.
WORKING   `calling` gives the request to the application, then `answering` sends what that answers. What comes meanwhile
          is noted in the connection's `inbound` and read later.
PARKED    `parking` watches whether the client goes and whether time is up, until `sending` has a message. A stream
          stays PARKED while `streams` writes one message after another.
WRITING   `sending` waits until the socket takes the rest of an answer, or `streams` reads on from history.
CLOSED    Nobody acts. The connection may still be found in a queue, so whoever takes it out looks at its state first.

Events come from outside: from the client (INPUT), from the application (ANSWER, WAIT), from the hub (MESSAGE), from the
socket (WRITTEN), from the clock (DEADLINE), and from a server that ends or defends itself (END). MOVES names, by state
and event, the states that may follow. An event that is missing in a row changes nothing in that state.

Behind an answer `Reading.answered` alone decides where a connection goes: a kept one reads on, another one ends. A
stream that has been told all goes back from WRITING to PARKED.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """What a connection does now. Hot loops use the names of the members below: those of a class are slow to find."""

    READING = "a request is awaited or comes in"
    WORKING = "the application has the request, or its answer is about to be sent"
    PARKED = "a poll waits for a message"
    WRITING = "the socket has not taken all of an answer yet"
    CLOSED = "it has ended"


class Event(enum.Enum):
    """What happens to a connection."""

    INPUT = "bytes have come, or the end of the client's sending half, or a reset"
    ANSWER = "the application has answered"
    WAIT = "the application has left a listener, which waits for a message"
    MESSAGE = "the listener has its answer"
    WRITTEN = "the socket has taken the rest of the answer"
    DEADLINE = "the time is up"
    END = "the server ends, or has to end this connection"


class Inbound(enum.Enum):
    """What is known of the client's sending half."""

    UNWATCHED = "the epoll does not watch it yet"
    QUIET = "nothing has come that was not read"
    UNREAD = "something has come that was not read, maybe its end"
    ENDED = "its end has been read, or seen in front of us"


class Turn(enum.Enum):
    """When a connection is read after something came."""

    NEXT = "with all others"
    LATER = "behind others: its poll was answered together with a crowd's, which polls again all at once"
    QUEUED = "it waits behind others already"


READING, WORKING, PARKED, WRITING, CLOSED = State
UNWATCHED, QUIET, UNREAD, ENDED = Inbound
NEXT, LATER, QUEUED = Turn

MOVES: dict[State, dict[Event, tuple[State, ...]]] = {
    READING: {
        Event.INPUT: (READING, WORKING, CLOSED),
        Event.DEADLINE: (CLOSED,),
        Event.END: (CLOSED,),
    },
    WORKING: {
        Event.INPUT: (WORKING,),
        Event.ANSWER: (READING, WRITING, CLOSED),
        Event.WAIT: (PARKED, CLOSED),
        Event.END: (CLOSED,),
    },
    PARKED: {
        Event.INPUT: (PARKED, WRITING, CLOSED),
        Event.MESSAGE: (READING, WRITING, CLOSED),
        Event.DEADLINE: (READING, WRITING, CLOSED),
        Event.END: (WRITING, CLOSED),
    },
    WRITING: {
        Event.INPUT: (WRITING,),
        Event.WRITTEN: (READING, PARKED, CLOSED),
        Event.DEADLINE: (WRITING, CLOSED),
        Event.END: (CLOSED,),
    },
    CLOSED: {},
}
