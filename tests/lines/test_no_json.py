"""Messages that are no JSON, stored with the check off: as they came for old clients, as JSON for who asks for it."""

from __future__ import annotations

import json

import pytest

from rplx.protocol.json_texts import as_json
from tests.lines.wire import Conversation, Wire, http, settings
from tests.live import LiveServer

OPTIONS = settings("in.check_json=false", "wait.charset=windows-1251", "wait.out_max=2000")
FORGED = b'1\n  },\n  {\n    "ids": { "~b": "99" },\n    "data": 2'
RUSSIAN = "Привет"
TEXTS = [  # what was sent, and what an answer that is JSON says it is
    (b"alert(1)", "alert(1)"),
    (b'{"a": 1}', {"a": 1}),
    (b"NaN", "NaN"),
    (b'"\n"', '"\n"'),
    (FORGED, FORGED.decode()),
    (f'{{"a": "{RUSSIAN}"}}'.encode("windows-1251"), {"a": RUSSIAN}),
    (f'"{RUSSIAN}"'.encode(), RUSSIAN),
    (RUSSIAN.encode("windows-1251"), RUSSIAN),
    (b"\x98", "\x98"),  # means nothing in windows-1251
]


def send(wire: Wire, marker: str, data: bytes) -> None:
    answer = wire.on_in(http(f"POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier={marker}", data)).answer()
    assert answer[0].startswith(b"HTTP/1.1 200 ") or answer[1]


def listen(wire: Wire, target: str) -> Conversation:
    return wire.on_wait(f"GET /?identifier={target} HTTP/1.0\r\n\r\n".encode())


def blocks(conversation: Conversation) -> list[tuple[dict[str, str], object]]:
    """What a client understands that parses the whole body."""
    body = b"[" + conversation.rest().partition(b"[")[2]
    return [(block["ids"], block["data"]) for block in json.loads(body.decode("windows-1251"))]


@pytest.mark.parametrize(("data", "value"), TEXTS)
def test_from_history_and_to_those_who_wait(wire: Wire, prefix: str, data: bytes, value: object) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    old = [listen(wire, f"1:{a},1:{b}{flag}") for flag in ("", "&jsonp&x=json")]
    new = [listen(wire, f"1:{a},1:{b}{flag}") for flag in ("&json", "&x=1&json=1&y")]
    for conversation in (*old, *new):
        conversation.until(b"\r\n \r\n")
    send(wire, f"5:{a}", data)
    new.append(listen(wire, f"1:{a},1:{b}&json"))
    for conversation in new:
        assert blocks(conversation) == [({a: "5"}, value)]
    old.append(listen(wire, f"1:{a},1:{b}"))
    for conversation in old:
        assert data in conversation.rest()


def test_those_who_split_up_keep_their_form(wire: Wire, prefix: str) -> None:
    """Some are ahead of a message, and wait on in another set."""
    id = f"{prefix}a"
    waiting = [listen(wire, f"{cursor}:{id}&json") for cursor in (1, 10)]
    for conversation in waiting:
        conversation.until(b" \r\n")
    send(wire, f"5:{id}", b"first")
    assert blocks(waiting[0]) == [({id: "5"}, "first")]
    send(wire, f"15:{id}", b"second")
    assert blocks(waiting[1]) == [({id: "15"}, "second")]


def test_an_answer_keeps_its_limit(wire: Wire, prefix: str) -> None:
    """Text grows: six characters for one."""
    id = f"{prefix}a"
    for cursor in range(2, 8):
        send(wire, f"{cursor}:{id}", b"\xcf" * 250)
    found: list[object] = []
    cursor = "1"
    while len(found) < 6:
        answer = blocks(listen(wire, f"{cursor}:{id}&json"))
        assert len(answer) == 1
        found += [data for _, data in answer]
        cursor = answer[-1][0][id]
    assert found == ["П" * 250] * 6


def test_a_long_answer_is_shared_by_those_of_its_form(wire: Wire, prefix: str) -> None:
    id = f"{prefix}a"
    send(wire, f"5:{id}", b"x" * 5000)
    for _ in range(2):
        assert blocks(listen(wire, f"1:{id}&json")) == [({id: "5"}, "x" * 5000)]
        assert b'"data": ' + b"x" * 5000 + b"\n" in listen(wire, f"1:{id}").rest()


def test_with_the_check_it_changes_nothing() -> None:
    with LiveServer() as server:
        wire = Wire(server)
        wire.send("5:a", ' {"a": 1}')
        assert listen(wire, "1:a&json").rest().endswith(b'"data":  {"a": 1}\n  }\n]')


def test_what_is_json_in_utf_8_is_so_in_charsets_that_read_its_bytes_otherwise() -> None:
    """In Shift_JIS the last byte of a character and a backslash are one, and the string would end early."""
    data = '"\u0281\\", 1, \\""'.encode()
    assert json.loads(data)
    assert json.loads(as_json(data, "shift_jis").decode("shift_jis")) == json.loads(data)


@pytest.mark.parametrize("charset", ["utf-8", "no-such", "hex", "utf-16"])
def test_whatever_the_charset_it_is_json(charset: str) -> None:
    for data in (b"\xff", b"x", b"\xd0\x9f", b"[" * 5000, b'{"a": "\xff"}', b"\xff\xfe", b"\x00"):
        assert json.loads(as_json(data, charset)) is not None
