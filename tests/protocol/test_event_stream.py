"""Event streams: their marks, and that no message can forge an event."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.errors import Ending
from rplx.messages import Message
from rplx.protocol.event_stream import MARK_MAX, Mark, event_stream, mark_text, parse_mark, refused
from tests.event_source import events

CURSORS = st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,9})?", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(CURSORS, st.dictionaries(IDS, CURSORS, max_size=20))
def test_a_mark_is_read_as_it_was_written(common: str, named: dict[str, str]) -> None:
    assert parse_mark(mark_text(common, named)) == Mark(common, named)


@pytest.mark.parametrize("number", [100, 150, 300])
def test_a_long_mark_is_held_back(number: int) -> None:
    named = {f"channel-{n}": f"{n + 2}.000000" for n in range(number)}
    text = mark_text("1000", named)
    assert len(text) <= MARK_MAX
    assert text == "2.000000:*" if number > 200 else parse_mark(text) == Mark("1000", named)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("5:*", Mark("5", {})),
        ("5:a", Mark(None, {"a": "5"})),
        ("5:*,7.5:a,6:room-1.x", Mark("5", {"a": "7.5", "room-1.x": "6"})),
        ("7:a,5:*", Mark("5", {"a": "7"})),
        ("7:a,5:a,6:a", Mark(None, {"a": "5"})),
        ("9:*,10:*", Mark("9", {})),
        (" 5:* ", Mark("5", {})),
        ("", None),
        ("5", None),
        ("*", None),
        ("5:", None),
        (":a", None),
        ("-5:a", None),
        ("5:*,", None),
        ("5:a b", None),
        ("1e5:a", None),
        ("٥:a", None),
        (f"{'9' * 65}:*", None),
        ("5:*\n6:a", None),
    ],
)
def test_marks(text: str, mark: Mark | None) -> None:
    assert parse_mark(text) == mark


@given(st.text())
def test_any_text_is_a_mark_or_none(text: str) -> None:
    mark = parse_mark(text)
    assert mark is None or mark.common is not None or mark.named


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        b'{"text":"hi"}',
        b'{"a":\n1}',
        b"[1,\r\n2,\r3]",
        b'"id: 9:*"',
        b"1\n\nevent: bye\ndata: forged",
        b"\r\rretry: 1",
        b"\x00\xff\n\n",
        "\u2028\n\u0085".encode(),
    ],
)
def test_no_message_forges_an_event(data: bytes, chunked: bool) -> None:
    stream = event_stream(chunked=chunked, charset="utf-8")
    event = stream.event(stream.writer(Message(data, {"a": "1", "b": "2.5"}))(("a", "b")), "2.5", {"a": "1"})
    if chunked:
        size, _, event = event.partition(b"\r\n")
        assert event.endswith(b"\r\n")
        event = event[:-2]
        assert len(event) == int(size, 16)
    (found,) = events(event)
    assert (found.name, found.id) == ("message", "2.5:*,1:a")
    told = json.loads(found.data)
    assert told["ids"] == {"a": "1", "b": "2.5"}
    try:
        assert told["data"] == json.loads(data)
    except ValueError:
        assert told["data"] == data.decode("utf-8" if b"\xff" not in data else "latin-1")


def test_other_events() -> None:
    stream = event_stream(chunked=False, charset=None)
    opened, gap, beat, bye = events(
        stream.opened("5", {}, "6", ["a"])
        + stream.gap(["a", "b"])
        + stream.heartbeat("7", {})
        + stream.bye(Ending(), 2500)
    )
    assert (opened.name, opened.id, opened.retry, opened.data) == ("open", "5:*", 1000, '{"cursor":"6","gaps":["a"]}')
    assert (gap.name, gap.id, gap.data) == ("gap", None, '{"ids":["a","b"]}')
    assert (beat.data, beat.id) == ("", "7:*")
    assert (bye.name, bye.retry, bye.data) == ("bye", 2500, '{"retry":2500}')
    (refusal,) = events(refused("busy\nevent: x", 3000))
    assert (refusal.name, refusal.data, refusal.retry) == ("message", "", 3000)
