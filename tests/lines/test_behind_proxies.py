"""Behind nginx and HAProxy: they and we see the same requests, and waiting works through them as without them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lines.hostile import CASES, NEXT, Case, filled, new_prefix
from tests.lines.proxies import BOTH, Proxy, proxy
from tests.lines.wire import Conversation, Wire, http
from tests.waiting import eventually

LAST = NEXT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")  # so that the proxy ends the connection
_CHANNEL = re.compile(r"[?&]identifier=1:(h\d{5}[asn])(?![A-Za-z0-9_])")
_BLOCK = re.compile(rb'"(h\d{5}[asn])": "')


@pytest.fixture(scope="module", params=BOTH)
def front(request: pytest.FixtureRequest, wire: Wire, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxy(request.param, tmp_path_factory.mktemp("proxy"), wire) as started:
        yield started


AT_ONCE = 8  # conversations, which share the proxy's connections to us


def converse(address: tuple[str, int], data: bytes) -> bytes:
    """Sends a case and a last request behind it; gives all that is answered."""
    conversation = Conversation(address)
    answer = b""
    try:
        conversation.send(data)
        while part := conversation.sock.recv(65536):
            answer += part
    except ConnectionError:
        pass  # a refusal while we still send: what it says may be lost, which is the proxy's affair
    conversation.close()
    return answer


def handed_on(front: Proxy) -> Counter[str]:
    """How many requests for each channel were forwarded and served."""
    return Counter(
        match[1]
        for request in front.forwarded()
        if request.status == 200 and (match := _CHANNEL.search(request.target))
    )


@pytest.mark.parametrize("kind", BOTH)
def test_every_request_is_one_for_both(wire: Wire, tmp_path: Path, kind: str) -> None:
    """A poll answers, and a send stores, once for each request in the proxy's log, in the channel that stands there."""
    polls, sends = [new_prefix() for _ in CASES], [new_prefix() for _ in CASES]
    seen: Counter[str] = Counter()
    with proxy(kind, tmp_path, wire) as front, ThreadPoolExecutor(AT_ONCE) as pool:

        def play(case: Case, poll: str, send: str) -> list[str]:
            wire.send(f"5:{poll}a,5:{poll}s,5:{poll}n", "1")
            answer = converse(front.addresses["hasty_wait"], filled(case.request + LAST, poll))
            converse(front.addresses["hasty_in"], filled(case.request + LAST, send))
            answered = [id.decode() for id in _BLOCK.findall(answer)]
            assert all(id.startswith(poll) for id in answered), f"{case.name}: another one's answer in {answer!r}"
            return answered

        for answered in pool.map(play, CASES, polls, sends):
            seen.update(answered)
        front.stop()
        logged = handed_on(front)
        assert front.forwarded()
    for send in sends:
        stored = wire.poll(f"0:{send}a,0:{send}s,0:{send}n")
        seen.update(id.decode() for id in _BLOCK.findall(stored))
    names = {prefix: case.name for prefixes in (polls, sends) for case, prefix in zip(CASES, prefixes, strict=True)}
    differing = {f"{names[id[:6]]}: {id}": (logged[id], seen[id]) for id in logged | seen if logged[id] != seen[id]}
    assert not differing, "in the proxy's log, and seen by us"
    assert sum(seen.values()) > len(CASES) / 2  # most proxies are as strict as we are, but much is served


class TestWaiting:
    def poll(self, prefix: str, cursor: str = "1") -> bytes:
        return http(f"GET /?identifier={cursor}:{prefix}a HTTP/1.1\nHost: h")

    def test_a_kept_connection_waits_twice(self, wire: Wire, prefix: str, front: Proxy) -> None:
        listener = Conversation(front.addresses["patient_wait"])
        for cursor in ("5", "6"):
            listener.send(self.poll(prefix, str(int(cursor) - 1)))
            eventually(lambda: wire.online(prefix), f"{prefix}a 1\n")
            assert listener.waits(0.05)
            wire.send(f"{cursor}:{prefix}a", f'"at {cursor}"')
            assert f'"at {cursor}"\n'.encode() in body(listener)
        listener.close()

    def test_a_hang_up_is_noticed(self, wire: Wire, prefix: str, front: Proxy) -> None:
        listener = Conversation(front.addresses["patient_wait"], self.poll(prefix))
        eventually(lambda: wire.online(prefix), f"{prefix}a 1\n")
        listener.close()
        eventually(lambda: wire.online(prefix), f"{prefix}a 0\n")

    def test_the_head_of_a_closing_poll_comes_at_once(self, wire: Wire, prefix: str, front: Proxy) -> None:
        request = self.poll(prefix).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        listener = Conversation(front.addresses["patient_wait"], request)
        eventually(lambda: wire.online(prefix), f"{prefix}a 1\n")
        wire.send(f"5:{prefix}a", '"at 5"')
        assert b'"at 5"\n' in listener.rest()

    def test_a_send_has_its_receipt(self, wire: Wire, prefix: str, front: Proxy) -> None:
        backend = Conversation(front.addresses["patient_in"])
        for cursor in ("5", "6"):
            backend.send(http(f"POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier={cursor}:{prefix}a", b"{}"))
            assert f"{prefix}a {cursor}\n".encode() in body(backend)
        assert wire.poll(f"1:{prefix}a").count(b'"data"') == 2

    def test_a_body_that_waits_for_its_continue(self, wire: Wire, prefix: str, front: Proxy) -> None:
        wire.send(f"5:{prefix}a", "1")
        text = f"identifier=1:{prefix}a\n".encode()
        head = f"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {len(text)}\r\n\r\n".encode()
        listener = Conversation(front.addresses["patient_wait"], head)
        assert listener.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        listener.send(text)
        assert b'"data": 1\n' in body(listener)


def body(conversation: Conversation) -> bytes:
    """An answer's body, which HAProxy hands on by its length and nginx may chunk."""
    head = conversation.until(b"\r\n\r\n")
    match = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
    if match:
        return conversation.exactly(int(match[1]))
    assert re.search(rb"(?i)\r\ntransfer-encoding: chunked\r\n", head), head
    return conversation.until(b"\r\n0\r\n\r\n")


def test_gaps_in_many_channels_fit_into_a_proxys_buffer(front: Proxy) -> None:
    """nginx has 4 KB for an answer's head by default, and answers 502 to a longer one (part 9.3)."""
    ids = [f"{number:03}".ljust(128, "g") for number in range(500)]
    body = ("identifier=" + ",".join([f"1:{id}" for id in ids])).encode()
    answer = Conversation(front.addresses["patient_wait"], http("POST /?position HTTP/1.1\nHost: h", body)).answer()
    assert answer[0].startswith(b"HTTP/1.1 200 ")
    assert b"\r\nx-realplexor-gap: *\r\n" in answer[0].lower()
    assert answer[1] == b" \r\n"
