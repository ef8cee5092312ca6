"""WebSocket on the wire (protocol page, part 11)."""

from __future__ import annotations

import json
import re
import signal
import time
import zlib

import pytest

from rplx.protocol.websocket import Close, Opcode, Ping, Received, Text
from tests.lines.sockets import ACCEPTED, ASKED, Socket, request
from tests.lines.wire import Wire, blocks, http, settings
from tests.live import LiveServer
from tests.protocol.frames import close, frame, outcome, text
from tests.protocol.test_websocket import RIGHT, WRONG
from tests.waiting import at_best, eventually

OPTIONS = settings("wait.heartbeat=2", "wait.allowed_origins=https://page.example,https://*.pages.example")
CURSOR = r"\d{10}\.\d{6}"


# -- the handshake


def test_the_bytes_of_a_socket(wire: Wire, prefix: str) -> None:
    socket = Socket(wire, f"{prefix}a", opens=False)
    first, payload = socket.frame()
    assert first == 0x81
    assert re.fullmatch(rf'{{"open":"{CURSOR}","gaps":\[\]}}', payload.decode())
    wire.send(f"{prefix}a", '{"text":"hi"}')
    first, payload = socket.frame()
    assert first == 0x81
    assert re.fullmatch(rf'{{"ids":{{"{prefix}a":"{CURSOR}"}},"data":{{"text":"hi"}}}}', payload.decode())


def test_the_subprotocol(wire: Wire) -> None:
    socket = Socket(wire, "", "Sec-WebSocket-Protocol: other, rplx.1", head=b"", opens=False)
    assert b"\r\nSec-WebSocket-Protocol: rplx.1\r\n" in socket.head


def test_no_compression_unless_it_is_switched_on(wire: Wire) -> None:
    Socket(wire, "", "Sec-WebSocket-Extensions: permessage-deflate", opens=False)


OWN = ("http://h", "https://h", "HTTP://H")
OTHERS = ("https://page.example", "https://x.pages.example")
FOREIGN = ("https://h.example", "https://pages.example", "null", "http://h:81", "https://h.page.example", "file://")


@pytest.mark.parametrize("origin", [*OWN, *OTHERS])
def test_pages_that_may_listen(wire: Wire, prefix: str, origin: str) -> None:
    Socket(wire, f"{prefix}a", f"Origin: {origin}")


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("target", ["/", "/?identifier=~a"])
def test_pages_that_may_not(wire: Wire, prefix: str, origin: str, target: str) -> None:
    """CORS does not cover WebSocket: a page of any site could open one."""
    head, body = wire.on_wait(request(target.replace("~", prefix), f"Origin: {origin}")).answer()
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"wait.allowed_origins" in body


def test_a_browser_says_itself_that_a_page_is_of_the_same_origin(wire: Wire, prefix: str) -> None:
    """Behind a proxy that changes Host. No page can change this header."""
    Socket(wire, f"{prefix}a", "Origin: https://site.example", "Sec-Fetch-Site: same-origin")


def test_refusals_of_the_handshake(wire: Wire) -> None:
    cases = (
        (ASKED.replace("13", "8"), b"HTTP/1.1 426 Upgrade Required", b"\r\nSec-WebSocket-Version: 13\r\n"),
        (ASKED.replace("==", ""), b"HTTP/1.1 400 Bad Request", b""),
    )
    for lines, status, header in cases:
        head, _ = wire.on_wait(http(f"GET / HTTP/1.1\nHost: h\n{lines}")).answer()
        assert head.startswith(status)
        assert header in head


def test_who_has_ended_the_sending_half_is_gone(wire: Wire, prefix: str) -> None:
    """With the handshake, when nothing more comes of it that could be noticed, and behind it."""
    for number in range(20):
        gone = wire.on_wait(request(f"/?identifier={prefix}a"), end=number % 2 == 0)
        if number % 2:
            gone.until(b"\r\n\r\n")
            gone.end()
        gone.rest()
    eventually(lambda: wire.online(f"{prefix}a"), f"{prefix}a 0\n")


@pytest.mark.parametrize(
    "lines",
    [
        ASKED.replace("websocket", "h2c"),
        ASKED.replace("Connection: Upgrade", "X: y"),
        ASKED.replace("Upgrade: websocket", "X-Upgrade: websocket"),
        "Connection: Upgrade\nUpgrade: websocket",
    ],
)
def test_what_asks_for_no_socket_is_a_poll(wire: Wire, prefix: str, lines: str) -> None:
    wire.send(f"5:{prefix}a", "1")
    asked = wire.on_wait(http(f"GET /?identifier=1:{prefix}a HTTP/1.1\nHost: h\n{lines}"))
    assert asked.answer()[1].endswith(blocks(({f"{prefix}a": "5"}, "1")))


def test_a_handshake_in_pieces(wire: Wire, prefix: str) -> None:
    whole = request(f"/?identifier={prefix}a")
    asked = wire.on_wait()
    for at in range(0, len(whole), 40):
        asked.send(whole[at : at + 40])
        asked.waits(0.01)
    assert asked.exactly(len(ACCEPTED)) == ACCEPTED


def test_a_poll_before_it_on_the_same_connection(wire: Wire, prefix: str) -> None:
    wire.send(f"5:{prefix}a", "1")
    asked = wire.on_wait(http(f"GET /?identifier=1:{prefix}a HTTP/1.1\nHost: h"))
    asked.answer()
    asked.send(request(f"/?identifier={prefix}a"))
    assert asked.exactly(len(ACCEPTED)) == ACCEPTED


def test_a_wrong_list_in_the_target_closes_with_the_reason(wire: Wire) -> None:
    """A page can read that, and no status of the handshake."""
    code, reason = Socket(wire, "a/b", opens=False).closed()
    assert code == 4000
    assert reason["code"] == "bad_request"
    assert '"a/b" is no channel id' in reason["text"]


# -- channels


def test_channels_added_and_dropped(wire: Wire, prefix: str) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    socket = Socket(wire, opens=False)
    socket.say({"listen": {a: None}})
    position = socket.open()
    wire.send(a, "1")
    assert list(socket.heard()["ids"]) == [a]
    socket.say({"listen": {b: None}})
    assert float(socket.open()) > float(position)
    assert wire.online(prefix) == f"{a} 1\n{b} 1\n"
    wire.send(f"{a},{b}", "2")
    assert sorted(socket.heard()["ids"]) == [a, b]
    socket.say({"stop": [a]})
    eventually(lambda: wire.online(prefix), f"{a} 0\n{b} 1\n")
    wire.send(a, "3")
    wire.send(b, "4")
    assert socket.message() == 4
    socket.say({"stop": [b, "never"]})
    eventually(lambda: wire.online(prefix), f"{a} 0\n{b} 0\n")
    wire.send(b, "5")
    socket.say({"listen": {b: None}})
    socket.open()
    wire.send(b, "6")
    assert socket.message() == 6


def test_nothing_is_lost_or_doubled_while_channels_come_and_go(wire: Wire, prefix: str) -> None:
    a = f"{prefix}a"
    socket = Socket(wire, a)
    for number in range(40):
        wire.send(a, str(number))
        socket.say({"listen": {f"{prefix}{number}": None}} if number % 2 else {"stop": [f"{prefix}{number - 1}"]})
        wire.send(a, str(1000 + number))
    found = []
    while len(found) < 80:
        heard = socket.heard()
        if "data" in heard:
            found.append(heard["data"])
    assert found == [value for number in range(40) for value in (number, 1000 + number)]


def test_cursors_and_gaps(wire: Wire, prefix: str) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    for number in range(5, 8):
        wire.send(f"{number}:{b}", str(number))
    socket = Socket(wire, a)
    for number in range(3):
        wire.send(a, str(number))
    heard = [socket.heard() for _ in range(3)]
    socket.say({"listen": {a: None, b: "5"}})  # a goes on where it is
    assert socket.heard()["gaps"] == [b]  # nobody knows what there was before the first
    assert [socket.heard(), socket.heard()] == [{"ids": {b: str(n)}, "data": n} for n in (6, 7)]
    socket.say({"listen": {a: heard[0]["ids"][a]}})  # back to where the client says
    assert a not in socket.heard()["gaps"]
    assert [socket.heard(), socket.heard()] == heard[1:]


def test_limiters(wire: Wire, prefix: str) -> None:
    socket = Socket(wire, f"{prefix}a")
    wire.send(f"{prefix}a,*{prefix}friend", "1")
    socket.say({"listen": {f"{prefix}friend": None}})
    assert socket.heard()["gaps"] == []
    wire.send(f"{prefix}a,*{prefix}friend", "2")
    heard = [socket.message()]
    if heard == [1]:  # history has it still, and the friend is one now
        heard.append(socket.message())
    assert heard[-1] == 2


def test_one_listener(wire: Wire, prefix: str) -> None:
    a = f"{prefix}a"
    socket = Socket(wire, a)
    for number in range(3):
        socket.say({"listen": {f"{prefix}b{number}": None}})
        socket.open()
        assert f"{a} 1\n" in wire.online(prefix)
    changes = [line.split() for line in wire.command(f"WATCH 1 {prefix}\n\n").splitlines() if prefix in line]
    assert [word for word, _ in changes] == ["online"] * 4
    socket.conversation.reset()
    eventually(lambda: f"{a} 0\n" in wire.online(prefix))


def test_a_socket_without_channels_counts_nowhere(wire: Wire, prefix: str) -> None:
    socket = Socket(wire, opens=False)
    socket.send(frame(Opcode.PING, b"x"))
    assert socket.frame() == (0x8A, b"x")
    assert wire.online(prefix) == ""
    assert not [line for line in wire.command("STATS\n\n").splitlines() if line.endswith("=> ")]


# -- commands


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        ({"lsten": {}}, 4000, "lsten"),
        ({"listen": {"a b": None}}, 4000, "a b"),
        ({"listen": {"a": 5}}, 4000, "cursor"),
        ({"listen": {f"a{number}": None for number in range(501)}}, 4013, "500"),
        ({"grant": "eyJ"}, 4003, "grant"),
    ],
)
def test_wrong_commands_close(wire: Wire, value: object, code: int, said: str) -> None:
    socket = Socket(wire, opens=False)
    socket.say(value)
    found, reason = socket.closed()
    assert found == code
    assert said in reason["text"]


def test_too_many_channels_in_all(wire: Wire, prefix: str) -> None:
    socket = Socket(wire, opens=False)
    for part in range(2):
        socket.say({"listen": {f"{prefix}{part}_{number}": None for number in range(250)}})
        socket.open()
    socket.say({"stop": [f"{prefix}0_0"], "listen": {f"{prefix}more": None}})
    socket.open()
    socket.say({"listen": {f"{prefix}one_more": None}})
    assert socket.closed()[0] == 4013
    eventually(lambda: f"{prefix}more 0\n" in wire.online(prefix))


# -- frames

QUIET_ONES = [case for case in RIGHT if not any(isinstance(one, Text) for one in case[2])]


@pytest.mark.parametrize(("data", "received"), [case[1:] for case in QUIET_ONES], ids=[case[0] for case in QUIET_ONES])
def test_control_frames(wire: Wire, prefix: str, data: bytes, received: list[Received]) -> None:
    socket = Socket(wire, f"{prefix}a")
    socket.send(data)
    for one in received:
        if isinstance(one, Close):
            assert socket.frame()[0] == 0x88
            assert socket.conversation.rest() == b""
            return
        assert isinstance(one, Ping)
        assert socket.frame() == (0x8A, one.data)
    wire.send(f"{prefix}a", "1")
    assert socket.message() == 1


def test_a_close_is_answered_with_its_code(wire: Wire) -> None:
    for data, answer in ((close(1000), b"\x03\xe8"), (close(4999, b"bye"), b"\x13\x87"), (frame(Opcode.CLOSE), b"")):
        socket = Socket(wire, opens=False)
        socket.send(data)
        assert socket.frame() == (0x88, answer)
        assert socket.conversation.rest() == b""


@pytest.mark.parametrize(("data", "code"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_breaks_the_protocol_is_answered_with_its_code(wire: Wire, data: bytes, code: int) -> None:
    socket = Socket(wire, opens=False)
    socket.send(data)
    is_command = any(isinstance(one, Text) for one in outcome([data])[0])  # a wrong one, in front of what is wrong
    assert socket.closed()[0] == (4000 if is_command else code)


def test_a_command_in_fragments_with_pings_between(wire: Wire, prefix: str) -> None:
    socket = Socket(wire, opens=False)
    whole = json.dumps({"listen": {f"{prefix}a": None}}).encode()
    for at in range(len(whole)):
        socket.send(frame(Opcode.CONTINUATION if at else Opcode.TEXT, whole[at : at + 1], fin=at == len(whole) - 1))
        if not at % 8:
            socket.send(frame(Opcode.PING, b"%d" % at))
            assert socket.frame() == (0x8A, b"%d" % at)
    socket.open()


def test_a_command_byte_by_byte(wire: Wire, prefix: str) -> None:
    socket = Socket(wire, opens=False)
    for byte in text(json.dumps({"listen": {f"{prefix}a": None}})):
        socket.send(bytes([byte]))
    socket.open()
    wire.send(f"{prefix}a", "1")
    assert socket.message() == 1


def test_many_commands_at_once(wire: Wire, prefix: str) -> None:
    """They are carried out in their order, and may be answered together."""
    socket = Socket(wire, opens=False)
    a, b = f"{prefix}a", f"{prefix}b"
    commands = [{"listen": {a: None}}, {"stop": [a]}, {"listen": {b: None}}] * 100
    socket.send(b"".join([text(json.dumps(command)) for command in commands]))
    eventually(lambda: f"{b} 1\n" in wire.online(prefix))
    wire.send(f"{a},{b}", "1")
    while "data" not in (heard := socket.heard()):
        pass
    assert list(heard["ids"]) == [b]


def test_a_client_that_hangs_up_is_noticed(wire: Wire, prefix: str) -> None:
    for how in ("end", "close", "reset"):
        socket = Socket(wire, f"{prefix}{how}")
        getattr(socket.conversation, how)()
        eventually(lambda how=how: f"{prefix}{how} 0\n" in wire.online(prefix))


def test_heartbeats_have_the_composite_cursor(wire: Wire, prefix: str) -> None:
    socket = Socket(wire, f"{prefix}a")
    found = []
    while len(found) < 2:
        first, payload = socket.frame()
        assert first == 0x81
        found.append(json.loads(payload)["at"])
    assert all(re.fullmatch(rf"{CURSOR}:\*", at) for at in found)
    assert found == sorted(set(found))


# -- limits, slow readers, the end


def test_the_end_of_the_server() -> None:
    with LiveServer(*settings("server.drain=2")) as server:
        wire = Wire(server)
        sockets = [Socket(wire, "a") for _ in range(5)] + [Socket(wire, opens=False)]
        server.process.send_signal(signal.SIGTERM)
        retries = set()
        for socket in sockets:
            code, reason = socket.closed()
            assert (code, reason["code"]) == (4200, "ending")
            retries.add(reason["retry"])
        assert min(retries) >= 1


def test_who_comes_while_the_server_ends_comes_back_later() -> None:
    with LiveServer(*settings("server.drain=60")) as server:
        wire = Wire(server)
        waiting = [wire.on_wait(http("GET /?identifier=a HTTP/1.1\nHost: h")) for _ in range(2)]
        eventually(lambda: wire.online("a"), "a 2\n")
        server.process.send_signal(signal.SIGTERM)
        waiting[0].answer()
        code, reason = Socket(wire, "a", opens=False).closed()
        assert code == 4200
        assert reason["retry"] > 1
        server.process.kill()


def test_a_slow_reader_catches_up() -> None:
    with LiveServer(*settings("wait.write_timeout=60", "history.max_messages=1000")) as server:
        wire = Wire(server)
        slow = Socket(wire, "a", receive_buffer=4096)
        swift = Socket(wire, "a")
        for number in range(300):
            wire.send("a", json.dumps([number, "x" * 5000]))
            assert swift.message()[0] == number
        slow.send(frame(Opcode.PING, b"x") + text('{"listen":{"b":null}}'))  # it is read once the socket takes more
        found = []
        while len(found) < 302:
            first, payload = slow.frame()
            value = "pong" if first == 0x8A else json.loads(payload)
            if value == "pong" or "data" in value or "open" in value:
                found.append(value["data"][0] if "data" in value else value if value == "pong" else "open")
        assert [value for value in found if isinstance(value, int)] == list(range(300))
        assert sorted(value for value in found if isinstance(value, str)) == ["open", "pong"]
        wire.send("b", "[300]")
        assert slow.message() == [300]
        assert not [line for line in server.log if "dropped" in line]


def test_a_slow_reader_is_told_of_a_gap() -> None:
    with LiveServer(*settings("wait.write_timeout=60", "history.max_messages=5")) as server:
        wire = Wire(server)
        slow = Socket(wire, "a", receive_buffer=4096)
        for number in range(600):
            wire.send("a", json.dumps([number, "x" * 5000]))
        found = [slow.heard()]
        while "data" not in found[-1] or found[-1]["data"][0] != 599:
            found.append(slow.heard())
        gaps = [value for value in found if "gap" in value]
        assert gaps == [{"gap": ["a"]}]
        assert found[-6:-5] == gaps


def test_who_reads_nothing_is_dropped() -> None:
    with LiveServer(*settings("wait.write_timeout=1")) as server:
        wire = Wire(server)
        slow = Socket(wire, "a", receive_buffer=4096)
        for number in range(300):
            wire.send("a", json.dumps([number, "x" * 5000]))
        eventually(lambda: wire.online("a"), "a 0\n")
        server.wait_for("wait.write_timeout")
        slow.conversation.close()


@pytest.mark.parametrize(
    "part", [b"\x81", text('{"listen":{}}')[:-1], frame(Opcode.TEXT, b"{", fin=False), text("x" * 60_000)[:-9]]
)
def test_a_message_has_to_come_whole_in_time(part: bytes) -> None:
    with LiveServer(*settings("wait.head_timeout=1")) as server:
        wire = Wire(server)
        socket = Socket(wire, "a")
        socket.send(part)
        code, reason = socket.closed()
        assert (code, reason["code"]) == (4008, "request_timeout")
        at_best(lambda: whole_in_time(wire))


def whole_in_time(wire: Wire) -> None:
    other = Socket(wire, "a")
    for byte in text('{"listen":{"b":null}}'):
        other.send(bytes([byte]))
    other.open()
    time.sleep(2.5)
    wire.send("b", "1")
    assert other.message() == 1  # a whole one has no time any more


def test_messages_that_are_no_json() -> None:
    with LiveServer(*settings("in.check_json=false")) as server:
        wire = Wire(server)
        socket = Socket(wire, "a")
        wire.send("a", 'plain\r\n"\n')
        wire.send("a", '{"json":\n1}')
        assert [socket.message(), socket.message()] == ['plain\r\n"\n', {"json": 1}]


def test_compressed_messages() -> None:
    with LiveServer(*settings("wait.websocket_deflate=true")) as server:
        wire = Wire(server)
        line = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        socket = Socket(wire, "", line, head=b"", opens=False)
        answer = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        assert b"\r\nSec-WebSocket-Extensions: %b\r\n" % answer in socket.head
        compressor = zlib.compressobj(wbits=-15)
        command = compressor.compress(b'{"listen":{"a":null}}') + compressor.flush(zlib.Z_SYNC_FLUSH)
        socket.send(frame(Opcode.TEXT, command[:-4], bits=0x40))
        socket.open()
        plain = Socket(wire, "a")
        wire.send("a", json.dumps("x" * 5000))
        first, payload = socket.frame()
        assert first == 0xC1
        assert len(payload) < 100
        value = json.loads(zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff"))
        assert value == plain.heard()
        wire.send("a", "1")
        assert socket.message() == 1


def test_log_lines() -> None:
    with LiveServer(*settings("log.connections=true")) as server:
        wire = Wire(server)
        socket = Socket(wire, "a")
        wire.send("a", "1")
        socket.message()
        socket.say({"listen": {"b": "5"}})
        socket.heard()
        socket.conversation.close()
        line = rf"WAIT: 127\.0\.0\.1:\d+: DEBUG: \[{socket.opened}:a\] registered"
        for text in (line, r"DEBUG: \[\d+\.\d+:a,\(and 1 more\)\] registered", r"WAIT: .*connection closed"):
            server.wait_for(text)
