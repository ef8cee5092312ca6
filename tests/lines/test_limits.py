"""Each named limit at N and at N + 1: what just fits is served, what does not gets its clear refusal."""

from __future__ import annotations

import re

import pytest

from rplx.engine.history import CHANNEL_OVERHEAD, OVERHEAD
from rplx.options.rows import OPTIONS as TABLE
from tests.lines.wire import CLOSED, Conversation, Wire, blocks, http, settings
from tests.live import LiveServer
from tests.waiting import at_best, eventually

OPTIONS = settings(
    "wait.maxlen=200",
    "wait.head_max=300",
    "wait.body_max=400",
    "wait.max_ids=3",
    "wait.id_max=20",
    "wait.extra_max=100",
    "in.maxlen=1000",
    "in.max_ids=4",
    "in.max_online=3",
    "history.max_messages=3",
    "log.connections=true",
)


DEFAULTS = {
    "wait.head_max": 16_384,
    "wait.head_timeout": 10,
    "wait.maxlen": 5_120,
    "wait.body_max": 65_536,
    "wait.max_ids": 500,
    "wait.id_max": 128,
    "wait.max_connections": 0,
    "wait.max_connections_per_address": 0,
    "wait.out_max": 1 << 20,
    "wait.unsent_max": 256 << 20,
    "wait.write_timeout": 10,
    "wait.timeout": 55,
    "wait.keepalive_timeout": 75,
    "wait.extra_max": 4_096,
    "in.maxlen": 204_800,
    "in.max_ids": 10_000,
    "in.max_connections": 1_000,
    "in.max_online": 1_000_000,
    "in.timeout": 20,
    "history.max_messages": 30,
    "history.max_channels": 1_000_000,
    "history.max_bytes": 1 << 30,
    "history.expire_after": 3_600,
    "presence.event_chain_len": 1_000,
    "presence.offline_timeout": 30,
    "users.max_failures": 10,
}


def test_the_defaults() -> None:
    assert {name: TABLE[name].default for name in DEFAULTS} == DEFAULTS


def status(conversation: Conversation) -> tuple[int, str]:
    answer = conversation.rest()
    match = re.match(rb"HTTP/1\.[01] (\d+) ", answer)
    assert match, answer
    return int(match[1]), answer.partition(b"\r\n\r\n")[2].decode()


class TestWaitMaxlen:
    """More bytes than this without a complete marker: `overflow` (part 2.5)."""

    def test_plain_text(self, wire: Wire, prefix: str) -> None:
        tail = f" identifier=1:{prefix}a\n".encode()
        listener = wire.on_wait(b"x" * (200 - len(tail)) + tail)
        assert listener.exactly(len(CLOSED)) == CLOSED
        listener.close()
        waiting = wire.on_wait(b"x" * 200)
        assert waiting.waits(0.1)
        waiting.send(b"x")
        assert waiting.rest() == b""
        wire.server.wait_for(r"overflow \(received 201 bytes total\)")

    def test_http(self, wire: Wire) -> None:
        assert wire.on_wait(b"GET / HTTP/1.1\r\nX: " + b"x" * 181).waits(0.1)
        assert status(wire.on_wait(b"GET / HTTP/1.1\r\nX: " + b"x" * 182)) == (
            431,
            "overflow (received 201 bytes total)\n",
        )


class TestWaitHeadMax:
    def request(self, size: int) -> bytes:
        start, end = b"GET /?identifier= HTTP/1.1\r\nHost: h\r\nX: ", b"\r\n\r\n"
        return start + b"x" * (size - len(start) - len(end)) + end

    def test_one_byte_more_is_refused_by_its_name(self, wire: Wire) -> None:
        assert wire.on_wait(self.request(300)).answer()[0].startswith(b"HTTP/1.1 400 ")
        assert status(wire.on_wait(self.request(301))) == (431, "request head longer than 300 bytes (wait.head_max)\n")

    def test_byte_by_byte(self, wire: Wire, prefix: str) -> None:
        request = http(f"GET /?identifier={prefix}a HTTP/1.1\nHost: h\nX: ")
        fits, one_more = (request[:-4] + b"x" * (size - len(request)) + b"\r\n\r\n" for size in (300, 301))
        listener = wire.on_wait()
        for byte in fits:
            listener.send(bytes([byte]))
        eventually(lambda: wire.online(prefix), f"{prefix}a 1\n")
        listener.close()
        refused = wire.on_wait()
        for byte in one_more[:-1]:  # its last byte would find the connection closed
            refused.send(bytes([byte]))
        refused.send(one_more[-1:])
        assert status(refused) == (431, "request head longer than 300 bytes (wait.head_max)\n")

    def test_a_line_without_end(self, wire: Wire) -> None:
        assert wire.on_wait(b"POST /" + b"x" * 294).waits(0.1)
        assert status(wire.on_wait(b"POST /" + b"x" * 295)) == (
            431,
            "request head longer than 300 bytes (wait.head_max)\n",
        )


class TestWaitBodyMax:
    def test_with_a_length(self, wire: Wire, prefix: str) -> None:
        wire.send(f"5:{prefix}a", "1")
        marker = f"identifier=1:{prefix}a ".encode()
        fits = http("POST / HTTP/1.1\nHost: h", marker + b"x" * (400 - len(marker)))
        assert wire.on_wait(fits).answer()[1] == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))
        one_more = http("POST / HTTP/1.1\nHost: h", marker + b"x" * (401 - len(marker)))
        assert status(wire.on_wait(one_more)) == (413, "body longer than 400 bytes (wait.body_max)\n")

    def test_chunked(self, wire: Wire) -> None:
        data = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n191\r\n" + b"x" * 401
        assert status(wire.on_wait(data)) == (413, "body longer than 400 bytes (wait.body_max)\n")


class TestWaitMaxIds:
    def test_each_id_counts_once_and_one_more_is_refused(self, wire: Wire, prefix: str) -> None:
        names = [f"{prefix}{number}" for number in range(4)]
        wire.listen(",".join(names[:3])).close()
        wire.listen(",".join(names[:3] + names[:3])).close()  # each id once
        request = http(f"GET /?identifier={','.join(names)} HTTP/1.0")
        assert status(wire.on_wait(request)) == (413, "more than 3 channels in one list (wait.max_ids)\n")

    @pytest.mark.parametrize("ids", ["a,b,c,d", "n" * 21])
    def test_in_plain_text_the_connection_is_closed(self, wire: Wire, ids: str) -> None:
        assert wire.on_wait(f"identifier={ids}\n".encode()).rest() == b""


class TestWaitIdMax:
    @pytest.mark.parametrize("line", ["wait", "in_"])
    def test_one_character_more_is_refused(self, wire: Wire, line: str) -> None:
        name = "n" * 20
        fits = {"wait": "GET", "in_": "POST"}[line]
        address = getattr(wire, line)
        conversation = Conversation(
            address, http(f"{fits} /?identifier=5:{name} HTTP/1.1\nHost: h", b"1" * (line == "in_"))
        )
        if line == "wait":
            assert conversation.waits()
        else:
            assert conversation.answer()[1] == f"{name} 5\n".encode()
        conversation.close()
        refused = Conversation(address, http(f"{fits} /?identifier=5:{name}n HTTP/1.0", b"1" * (line == "in_")))
        assert status(refused) == (400, "a channel id is longer than 20 characters (wait.id_max)\n")


class TestWaitExtraMax:
    """What a waiting listener may send."""

    @pytest.mark.parametrize("kept", [True, False])
    def test_one_byte_more_ends_the_listener(self, wire: Wire, prefix: str, kept: bool) -> None:
        listener = wire.on_wait(http(f"GET /?identifier={prefix}a HTTP/1.{int(kept)}\nHost: h"))
        eventually(lambda: wire.online(prefix), f"{prefix}a 1\n")
        listener.send(b"x" * 100)
        assert wire.online(prefix) == f"{prefix}a 1\n"
        listener.send(b"x")
        eventually(lambda: wire.online(prefix), f"{prefix}a 0\n")


class TestInMaxIds:
    @pytest.mark.parametrize("ids", ["~a,~b,~c,~d", "~a,*~b,*~c,*~d"])
    def test_one_id_or_limiter_more_is_refused_and_nothing_is_stored(self, wire: Wire, prefix: str, ids: str) -> None:
        fits = http(f"POST /?identifier={ids} HTTP/1.1\nHost: h".replace("~", prefix), b"1")
        assert wire.on_in(fits).answer()[0].startswith(b"HTTP/1.1 200 ")
        stored = wire.poll(f"1:{prefix}a,{prefix}d")
        one_more = http(f"POST /?identifier={ids},*~e HTTP/1.1\nHost: h".replace("~", prefix), b"2")
        assert status(wire.on_in(one_more)) == (413, "more than 4 channels in one list (in.max_ids)\n")
        assert wire.poll(f"1:{prefix}a,{prefix}d") == stored

    @pytest.mark.parametrize("ids", ["a,b,c,d,e", "n" * 21])
    def test_in_plain_text_nothing_is_stored(self, wire: Wire, ids: str) -> None:
        assert wire.ask(f"identifier={ids}\n\n1".encode()) == b""
        assert wire.poll("1:a,1:b") == b""


class TestInMaxOnline:
    def test_one_more_is_refused_and_those_of_a_prefix_are_shown(self, wire: Wire, prefix: str) -> None:
        listener = wire.listen(",".join(f"{prefix}{name}" for name in "abc"))
        assert wire.online(prefix).count("\n") == 3
        other = wire.listen(f"{prefix}d")
        question = http("POST / HTTP/1.1\nHost: h", f"ONLINE {prefix}\n\n".encode())
        assert status(wire.on_in(question)) == (
            413,
            "more than 3 ids are online (in.max_online); ask for those of a prefix\n",
        )
        assert wire.ask(f"ONLINE {prefix}\n\n".encode()) == b""  # plain text has no refusals
        assert wire.online(f"{prefix}d") == f"{prefix}d 1\n"
        listener.close()
        other.close()


class TestOutMax:
    """Bytes of one answer: no more waits for a slow listener. More comes in parts."""

    def test_an_answer_ends_before_the_message_that_exceeds_it(self) -> None:
        with LiveServer(*settings("wait.out_max=1000")) as server:
            wire = Wire(server)
            empty = len(blocks(({"a": "1"}, ""), ({"a": "2"}, ""))) + len(b" \r\n")
            for id, length in (("a", 1000 - empty), ("b", 1001 - empty)):
                wire.send(f"1:{id}", "1" * 100)
                wire.send(f"2:{id}", "1" * (length - 100))
            assert len(wire.poll("0:a")) + len(b" \r\n") == 1000
            assert wire.poll("0:b") == blocks(({"b": "1"}, "1" * 100))
            assert wire.poll("1:b") == blocks(({"b": "2"}, "1" * (901 - empty)))
            wire.send("1:c", "1" * 2000)  # nothing shorter than a message can be sent
            wire.send("2:c", "2")
            assert wire.poll("0:c") == blocks(({"c": "1"}, "1" * 2000))


class TestInMaxlen:
    def test_plain_text(self, wire: Wire, prefix: str) -> None:
        head = f"identifier=5:{prefix}a\n\n".encode()
        assert wire.ask(head + b'"' + b"x" * (1001 - len(head) - 2) + b'"') == b""
        assert wire.poll(f"1:{prefix}a") == b""
        assert wire.ask(head + b'"' + b"x" * (1000 - len(head) - 2) + b'"') == b""
        assert wire.poll(f"1:{prefix}a") != b""

    def test_http(self, wire: Wire, prefix: str) -> None:
        head = f"POST /?identifier=5:{prefix}a HTTP/1.1\nHost: h"
        assert wire.on_in(http(head, b"1" * 1000)).answer()[1] == f"{prefix}a 5\n".encode()
        assert status(wire.on_in(http(head, b"1" * 1001))) == (413, "body longer than 1000 bytes (in.maxlen)\n")

    def test_chunked(self, wire: Wire, prefix: str) -> None:
        head = f"POST /?identifier=5:{prefix}a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert wire.on_in(head + b"3e8\r\n" + b"1" * 1000 + b"\r\n0\r\n\r\n").answer()[1] == f"{prefix}a 5\n".encode()
        over = head.replace(b"=5:", b"=6:") + b"3e8\r\n" + b"1" * 1000 + b"\r\n1\r\n1"
        assert status(wire.on_in(over)) == (413, "body longer than 1000 bytes (in.maxlen)\n")
        assert b'"6"' not in wire.poll(f"1:{prefix}a")

    def test_until_the_end(self, wire: Wire, prefix: str) -> None:
        sender = wire.on_in(http(f"POST /?identifier=5:{prefix}a HTTP/1.1\nHost: h", length=False) + b"1" * 1001)
        assert status(sender) == (413, "body longer than 1000 bytes (in.maxlen)\n")
        assert wire.poll(f"1:{prefix}a") == b""

    def test_a_head(self, wire: Wire) -> None:
        sender = wire.on_in(b"POST / HTTP/1.1\r\nX: " + b"x" * 1000)
        assert status(sender) == (431, "request head longer than 1000 bytes (in.maxlen)\n")


class TestHistoryMaxMessages:
    def test_the_newest_by_cursor_are_kept(self, wire: Wire, prefix: str) -> None:
        """The newest by cursor are kept, whatever order they came in."""
        for cursor in ("5", "9", "7", "8", "6"):
            wire.send(f"{cursor}:{prefix}a", cursor)
        assert wire.poll(f"1:{prefix}a") == blocks(*[({f"{prefix}a": cursor}, cursor) for cursor in ("7", "8", "9")])


class TestStorage:
    def test_channels(self) -> None:
        with LiveServer("--set", "history.max_channels=2") as server:
            wire = Wire(server)
            assert wire.on_in(http("POST /?identifier=5:a,5:b HTTP/1.1\nHost: h", b"1")).answer()[1] == b"a 5\nb 5\n"
            head, text = wire.on_in(http("POST /?identifier=5:c HTTP/1.1\nHost: h", b"1")).answer()
            assert head.startswith(b"HTTP/1.1 507 Insufficient Storage\r\n")
            assert text == b"more than 2 channels\n"
            assert wire.on_in(http("POST /?identifier=6:a HTTP/1.1\nHost: h", b"1")).answer()[1] == b"a 6\n"

    def test_bytes(self) -> None:
        """What a channel and a message cost beside the text is counted too (tests/engine/test_history_memory.py)."""
        with LiveServer("--set", f"history.max_bytes={CHANNEL_OVERHEAD + OVERHEAD + 100}") as server:
            wire = Wire(server)
            sender = wire.on_in(http("POST /?identifier=5:a HTTP/1.1\nHost: h", b"1" * 101))
            head, text = sender.answer()
            assert head.startswith(b"HTTP/1.1 507 Insufficient Storage\r\n")
            assert text == f"more than {CHANNEL_OVERHEAD + OVERHEAD + 100} bytes of history\n".encode()
            sender.send(http("POST /?identifier=5:a HTTP/1.1\nHost: h", b"1" * 100))  # the connection is kept
            assert sender.answer()[1] == b"a 5\n"
            assert wire.ask(b"identifier=6:a\n\n1") == b""
            assert wire.poll("1:a") == blocks(({"a": "5"}, "1" * 100))


class TestConnections:
    @pytest.mark.parametrize(
        ("option", "text"),
        [
            ("max_connections", "more than 2 connections\n"),
            ("max_connections_per_address", "more than 2 connections from one address\n"),
        ],
    )
    def test_on_wait(self, option: str, text: str) -> None:
        with LiveServer("--set", f"wait.{option}=2") as server:
            wire = Wire(server)
            first, second = wire.listen("a"), wire.listen("a")
            assert status(wire.on_wait(http("GET /?identifier=a HTTP/1.1\nHost: h"))) == (503, text)
            first.close()
            eventually(lambda: wire.online("a"), "a 1\n")
            wire.listen("a").close()
            second.close()

    def test_on_in(self) -> None:
        """Further back-ends wait in the kernel's queue and are served when there is room."""
        with LiveServer("--set", "in.max_connections=2") as server:
            at_best(lambda: self.third_waits(Wire(server)))

    def third_waits(self, wire: Wire) -> None:
        held = [wire.on_in(b"identifier=a\n") for _ in range(2)]
        third = wire.on_in(b"ONLINE\n\n")
        assert third.waits()  # less than a second: behind that the idle make room
        held[0].close()
        assert third.rest().startswith(b"HTTP/1.0 200 OK\r\n")
        held[1].close()

    def test_out_of_descriptors(self) -> None:
        """Those connected are served, accepting pauses, and it is said in the log."""
        with LiveServer(shell="ulimit -n 64") as server:
            wire = Wire(server)
            served = [wire.listen("1:a") for _ in range(10)]
            crowd = [wire.on_wait(b"identifier=1:b\n") for _ in range(60)]
            server.wait_for(r"cannot accept: Too many open files; raise the limit of open files \(ulimit -n\)")
            for listener in served[:2]:
                listener.close()
            for listener in crowd:
                listener.close()
            eventually(lambda: wire.online("b"), "b 0\n")
            wire.send("5:a", "1")
            assert {listener.rest() for listener in served[2:]} == {blocks(({"a": "5"}, "1"))}


class TestPipeline:
    def test_requests_sent_ahead(self, wire: Wire) -> None:
        sixteen = http("GET /?identifier= HTTP/1.1\nHost: h") * 16
        listener = wire.on_wait(sixteen)
        assert all(listener.answer()[0].startswith(b"HTTP/1.1 400 Bad Request\r\n") for _ in range(16))
        assert status(wire.on_wait(http("GET /?identifier= HTTP/1.1\nHost: h") * 17)) == (
            400,
            "more than 16 requests sent ahead\n",
        )


class TestCursors:
    """Behind a cursor that a back-end gives the server draws its own: they stay such that a poll may name them."""

    @pytest.mark.parametrize("given", ["9" * 40, "9" * 40 + "." + "9" * 23, "0" * 24 + "9" * 40, "1." + "1" * 62])
    def test_the_longest(self, wire: Wire, prefix: str, given: str) -> None:
        wire.send(f"{given}:{prefix}a", "1")
        for number in "23":
            wire.send(f"{prefix}a", number)
        cursor = given
        for number in "23":
            found = wire.poll(f"{cursor}:{prefix}a")
            cursors = re.findall(rb'"(\d+\.\d+)" }', found)
            assert len(cursors) == 4 - int(number)
            assert f'"data": {number}'.encode() in found
            cursor = cursors[0].decode()
        listener = wire.listen(f"{cursor}:{prefix}a")
        wire.send(f"{prefix}a", "4")
        assert b'"data": 4' in listener.rest()

    @pytest.mark.parametrize("given", ["1" + "0" * 40, "9" * 58, "9" * 64, "9" * 50 + ".5"])
    def test_one_digit_more(self, wire: Wire, prefix: str, given: str) -> None:
        body = b"1"
        sender = Conversation(
            wire.in_, http(f"POST / HTTP/1.1\nHost: x\nX-Realplexor: identifier={given}:{prefix}a", body)
        )
        head, text = sender.answer()
        assert head.startswith(b"HTTP/1.1 400 ")
        assert text == b"a message's cursor has more than 40 digits before its point\n"
        sender.close()
        wire.send(f"{prefix}b,{given}:{prefix}a", "1")  # stored in neither of them
        assert wire.poll(f"0:{prefix}a,0:{prefix}b") == b""
        wire.send(f"{prefix}a", "2")
        assert b'"data": 2' in wire.poll(f"0:{prefix}a")
        assert wire.poll(f"{given}:{prefix}a") == b""  # a poll may
