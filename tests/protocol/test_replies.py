"""What the IN line answers (protocol page, parts 3 and 7.1): values in, bytes out."""

from __future__ import annotations

from rplx.errors import AccessDenied, BadRequest
from rplx.messages import Event
from rplx.protocol import replies


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
