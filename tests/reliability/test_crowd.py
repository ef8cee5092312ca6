"""A kept crowd that polls again the moment it has its message, and others meanwhile: nobody is forgotten."""

from __future__ import annotations

import time

from tests.live import LiveServer
from tests.soak.clients import BackEnd, Listener
from tests.soak.crowd import Crowd, http, is_answer

LISTENERS = 3000  # more than one turn of a delivery serves
ROUNDS = 5
PATIENCE = 60.0


def test_a_crowd_that_comes_back_at_once() -> None:
    with LiveServer() as server, Crowd(server.wait) as crowd:
        back_end = BackEnd(server.in_)
        crowd.come(LISTENERS, http("1.1", "a"))
        crowd.until(lambda: back_end.online("a").get("a") == LISTENERS, PATIENCE, "all are in")
        for number in range(ROUNDS):
            ending = crowd.members[number :: ROUNDS * 10]  # hang up right behind their next poll
            served = 0
            back_end.send("a", f'"{number}"')
            deadline = time.monotonic() + PATIENCE
            while served < len(crowd.members):
                assert time.monotonic() < deadline, f"{served} of {len(crowd.members)}"
                for member in crowd.look(0.1):
                    assert not member.end, member.end
                    if not is_answer(member):
                        continue
                    assert f'"data": "{number}"'.encode() in member.data
                    served += 1
                    member.data = b""
                    member.send(member.request)
                    if member in ending:
                        crowd.end(member)
            crowd.members = [member for member in crowd.members if not member.end]
            assert Listener(server.wait).poll({f"b{number}": None}, query="&position").position
            left = len(crowd.members)
            crowd.until(lambda left=left: back_end.online("a").get("a") == left, PATIENCE, "all poll again")
