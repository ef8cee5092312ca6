"""A newer poll of a client ends its older one (protocol page, part 9.9), in each server that the WAIT line runs in."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest

from tests.hosts.http import Client, ask, eventually, get, messages, online, send
from tests.hosts.servers import HOOKS, Server, gunicorn, pywsgi, rplx_serve

OPTIONS = {"RPLX_WAIT_TIMEOUT": "600", "RPLX_PRESENCE_OFFLINE_TIMEOUT": "0"}
STARTS = {
    "rplx": lambda: rplx_serve(OPTIONS),
    "gunicorn": lambda: gunicorn(*HOOKS, options=OPTIONS),
    "pywsgi": lambda: pywsgi(OPTIONS),
}
EMPTY = b" \r\n"
_names = (f"client_{number:09}-" for number in itertools.count())  # 17 characters


@pytest.fixture(scope="module", params=STARTS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with STARTS[request.param]() as child:
        yield child
    assert not [line for line in child.log if "Traceback" in line or "Error" in line], "\n".join(child.log)


@pytest.fixture
def name() -> str:
    return next(_names)


def poll(ids: str, *values: str, version: str = "1.1") -> bytes:
    return get("&".join([f"/?identifier={ids}", *values]), version=version)


def listen(server: Server, id: str, *values: str, version: str = "1.1") -> Client:
    """A listener of one channel, where nobody else listens, that is registered when this returns."""
    client = Client(server.wait, poll(id, *values, version=version))
    eventually(lambda: online(server.in_).get(id) == 1)
    return client


def test_the_older_one_has_its_empty_answer_and_its_connection_goes_on(server: Server, prefix: str, name: str) -> None:
    older = listen(server, f"{prefix}a", f"client={name}")
    newer = Client(server.wait, poll(f"{prefix}a,{prefix}b", "json", f"client={name}"))
    answer = older.read()
    assert (answer.status, answer.body) == ("200 OK", EMPTY)
    assert online(server.in_) == {f"{prefix}a": 1, f"{prefix}b": 1}
    older.send(poll(f"{prefix}c"))
    eventually(lambda: online(server.in_).get(f"{prefix}c") == 1)
    send(server.in_, f"{prefix}a,{prefix}c", b"1")
    assert messages(newer.read().body) == [1]
    assert messages(older.read().body) == [1]


@pytest.mark.parametrize("kind", [(), ("Connection: close",)])
def test_one_that_has_its_head_already(server: Server, prefix: str, name: str, kind: tuple[str, ...]) -> None:
    version = "1.1" if kind else "1.0"
    older = Client(server.wait, get(f"/?client={name}&identifier={prefix}a", *kind, version=version))
    older.read_until(EMPTY)
    newer = listen(server, f"{prefix}b", f"client={name}")
    assert older.read().body == EMPTY
    assert older.ended()
    eventually(lambda: f"{prefix}a" not in online(server.in_))
    send(server.in_, f"{prefix}b", b"1")
    assert messages(newer.read().body) == [1]


def test_many_exchanges_leave_one_poll_and_nobody_is_seen_to_leave(server: Server, prefix: str, name: str) -> None:
    """Ids go offline at once here when their last listener leaves, so a moment without any would be an event."""
    clients = [listen(server, f"{prefix}a", f"client={name}")]
    for number in range(20):
        clients.append(Client(server.wait, poll(f"{prefix}a,{prefix}{number}", f"client={name}")))
        assert clients[number].read().body == EMPTY
        clients[number].close()
    assert online(server.in_).get(f"{prefix}a") == 1
    events = Client(server.in_, b"WATCH 1\n\n").read().body.decode()
    assert re.findall(rf"(?m)^(\w+) [\d.]+:{prefix}a$", events) == ["online"]
    send(server.in_, f"{prefix}a", b"1")
    assert messages(clients[-1].read().body) == [1]


def test_one_that_does_not_wait_ends_none(server: Server, prefix: str, name: str) -> None:
    older = listen(server, f"{prefix}a", f"client={name}")
    assert ask(server.wait, poll(f"{prefix}a", "position", f"client={name}")).body == EMPTY
    send(server.in_, f"{prefix}b", b"1")
    assert messages(ask(server.wait, poll(f"1:{prefix}b", f"client={name}")).body) == [1]
    send(server.in_, f"{prefix}a", b"2")
    assert messages(older.read().body) == [2]


def test_one_that_was_answered_is_forgotten(server: Server, prefix: str, name: str) -> None:
    client = Client(server.wait)
    for number in range(3):
        client.send(poll(f"{prefix}a", f"client={name}"))
        eventually(lambda: online(server.in_).get(f"{prefix}a") == 1)
        send(server.in_, f"{prefix}a", b"%d" % number)
        assert messages(client.read().body) == [number]
    other = listen(server, f"{prefix}b", f"client={name}")
    client.send(poll(f"{prefix}c", "timeout=1"))
    assert client.read().body == EMPTY
    assert not other.pending
    other.close()


@pytest.mark.parametrize(
    "values",
    [
        ("client=",),
        ("client=a",),
        ("client=" + "a" * 15,),
        ("client=" + "a" * 65,),
        ("client=" + "a" * 16 + "%20",),
        ("client=" + "a" * 16 + "/",),
        ("myclient=" + "a" * 16,),
    ],
)
def test_what_is_no_name_is_ignored(server: Server, prefix: str, values: tuple[str, ...]) -> None:
    listeners = [listen(server, f"{prefix}{number}", *values) for number in range(2)]
    assert ask(server.wait, poll(f"{prefix}b", "timeout=1")).body == EMPTY
    send(server.in_, f"{prefix}0,{prefix}1", b"1")
    assert [messages(listener.read().body) for listener in listeners] == [[1], [1]]


def test_names_of_both_lengths_and_in_a_posts_target(server: Server, prefix: str, name: str) -> None:
    long = (name * 4)[:64]
    for at, client in enumerate((name[:16], long)):
        older = listen(server, f"{prefix}{at}", f"client={client}")
        body = f"identifier={prefix}b{at}\n"
        head = f"POST /?json&client={client} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        newer = Client(server.wait, (head + body).encode())
        assert older.read().body == EMPTY
        newer.close()


def test_others_and_those_without_a_name_stay(server: Server, prefix: str, name: str) -> None:
    unnamed = listen(server, f"{prefix}a")
    other = listen(server, f"{prefix}b", f"client={next(_names)}")
    older = listen(server, f"{prefix}c", f"client={name}")
    newer = listen(server, f"{prefix}d", f"client={name}")
    assert older.read().body == EMPTY
    send(server.in_, f"{prefix}a,{prefix}b,{prefix}d", b"1")
    assert [messages(client.read().body) for client in (unnamed, other, newer)] == [[1]] * 3
