"""The bodies of polls (protocol page, part 2.3): values in, bytes out."""

from __future__ import annotations

import pytest

from rplx.messages import Due, Message
from rplx.protocol.long_poll import AS_IT_CAME, encode_blocks, json_of


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
    assert encode_blocks(dues) == body


def test_the_size_of_a_block() -> None:
    dues = [due(b"1", a="5"), due(b"{\n}", abc="21.5", b="7"), due(b"", x="1")]
    for count in (1, 2, 3):
        assert len(encode_blocks(dues[:count])) == 2 + sum(due.size for due in dues[:count])


def test_one_message_is_encoded_as_among_others() -> None:
    for data, cursors in ((b"1", {"a": "5"}), (b"{\n}", {"b": "7", "abc": "21.5", "c": "8"})):
        found = due(data, **cursors)
        assert AS_IT_CAME.writer(found.message)(tuple(sorted(cursors))) == encode_blocks([found])


def test_messages_that_are_no_json_are_texts_of_the_charset() -> None:
    encoding = json_of("windows-1251")
    dues = [due("да".encode("cp1251"), a="5"), due(b'"x"', b="6")]
    texts = [found.message.data for found in encoding.convert(dues, lambda: None)]
    assert texts == [b'"\\u0434\\u0430"', b'"x"']
    assert encoding.writer(dues[0].message)(("a",)) == encode_blocks([due(texts[0], a="5")])
    assert json_of("windows-1251") is encoding  # so listeners share sets, and what is written, also after a reload
