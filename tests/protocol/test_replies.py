"""What goes out (protocol page, parts 2.3, 3, 7.1): values in, bytes out."""

from __future__ import annotations

import pytest

from rplx.errors import AccessDenied, BadRequest
from rplx.messages import Due, Event, Message
from rplx.protocol import replies


def due(data: bytes, **ids: str) -> Due:
    return Due.of(Message(data, ids), ids)


@pytest.mark.parametrize(
    ("dues", "body"),
    [
        ([due(b"1", a="5")], b'[\n  {\n    "ids": { "a": "5" },\n    "data": 1\n  }\n]'),
        # The example of part 2.3.
        (
            [due(b'{"a":\n 1}', abc="21.5"), due(b'"ccc"', **{"def": "30", "abc": "20"})],
            b'[\n  {\n    "ids": { "abc": "20", "def": "30" },\n    "data": "ccc"\n  },\n'
            b'  {\n    "ids": { "abc": "21.5" },\n    "data":\n{"a":\n 1}\n  }\n]',
        ),
        # Sorted by the smallest cursor as a number, then by the message's bytes; equal texts stay two blocks.
        (
            [due(b"3", a="10"), due(b"2", a="9"), due(b"1", a="9.0", b="100"), due(b"1", a="9")],
            b"[\n"
            b'  {\n    "ids": { "a": "9.0", "b": "100" },\n    "data": 1\n  },\n'
            b'  {\n    "ids": { "a": "9" },\n    "data": 1\n  },\n'
            b'  {\n    "ids": { "a": "9" },\n    "data": 2\n  },\n'
            b'  {\n    "ids": { "a": "10" },\n    "data": 3\n  }\n]',
        ),
        # Digits beyond a float's count.
        (
            [due(b"2", a="1.00000000000000000002"), due(b"1", a="1.00000000000000000003")],
            b'[\n  {\n    "ids": { "a": "1.00000000000000000002" },\n    "data": 2\n  },\n'
            b'  {\n    "ids": { "a": "1.00000000000000000003" },\n    "data": 1\n  }\n]',
        ),
        ([due("é☃".encode(), a="1")], b'[\n  {\n    "ids": { "a": "1" },\n    "data": ' + "é☃".encode() + b"\n  }\n]"),
    ],
)
def test_blocks(dues: list[Due], body: bytes) -> None:
    assert replies.encode_blocks(dues) == body


def test_answers() -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n"
    assert list(replies.answer(b"ab\n", keep_alive=False)) == [head + b"ab\n"]
    assert list(replies.answer([b"a", b"b", b"\n"], keep_alive=False)) == [head + b"a", b"b", b"\n"]
    assert replies.answer(b"", keep_alive=True)[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert replies.receipt({"b": "5", "a": "1795346940.571800"}) == b"b 5\na 1795346940.571800\n"
    assert replies.events([Event(11, "online", "a"), Event(14, "offline", "b")]) == b"online 11:a\noffline 14:b\n"
    assert replies.fake_event(10) == b"FAKE 10:FAKE\n"


def test_refusals() -> None:
    assert replies.refusal(AccessDenied("unknown login: é")) == (
        b"HTTP/1.0 403 Access Deined\r\nContent-Type: text/plain\r\nContent-Length: 18\r\n\r\nunknown login: \xc3\xa9\n"
    )
    assert replies.refusal(BadRequest("no"), keep_alive=True).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_the_size_of_a_block() -> None:
    dues = [due(b"1", a="5"), due(b"{\n}", abc="21.5", b="7"), due(b"", x="1")]
    for count in (1, 2, 3):
        assert len(replies.encode_blocks(dues[:count])) == 2 + sum(due.size for due in dues[:count])


def test_one_message_is_encoded_as_among_others() -> None:
    for data, cursors in ((b"1", {"a": "5"}), (b"{\n}", {"b": "7", "abc": "21.5", "c": "8"})):
        found = due(data, **cursors)
        assert replies.encode_one(data, replies.Pairs(cursors), sorted(cursors)) == replies.encode_blocks([found])
