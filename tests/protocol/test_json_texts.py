"""What is strict JSON (protocol page, part 7.5)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.errors import BadRequest
from rplx.protocol.json_texts import check_json

GOOD_JSON = [
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0",
    b"1.5e+10",
    b"1E-2",
    b"123456789012345678901234567890",
    b"1e999",
    b'""',
    b'"\\u00e9\\n\\"\\/\\ud83d\\ude00"',
    '"é☃😀"'.encode(),
    b"[]",
    b"[1, [2, {}]]",
    b"{}",
    b'{"a": {"b": [null]}, "a": 1}',
    b' \t\r\n{"a":1}\r\n',
    b'"\x7f"',
    b'"\\u0000"',
    b'"\xe2\x80\xa8"',
    b"[" * 200 + b"]" * 200,
    b"9" * 5000,
]
BAD_JSON = [
    b"",
    b" ",
    b"hello",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"[NaN]",
    b"nul",
    b"True",
    b"01",
    b"-01",
    b"+1",
    b"1.",
    b".5",
    b"1e",
    b"0x10",
    b"--1",
    b"'a'",
    b'"a',
    b'"a\nb"',
    b'"\t"',
    b'"\x00"',
    b'"\\x41"',
    b'"\\u12"',
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    b"{a: 1}",
    b'{"a"}',
    b'{"a":1,}',
    b"{1:2}",
    b"{} {}",
    b"1 2",
    b"null;",
    b"// c\n1",
    b"/**/1",
    b"]",
    b"\xff",
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b"\xef\xbb\xbf{}",
    b"\x0c1",
    b"\xc2\xa01",
    "\u00a01".encode(),
    b"[" * 100_000,
    b"1\x00",
    "１".encode(),
    "-٣".encode(),
]


@pytest.mark.parametrize("data", GOOD_JSON, ids=lambda data: repr(data[:30]))
def test_strict_json(data: bytes) -> None:
    check_json(data)


@pytest.mark.parametrize("data", BAD_JSON, ids=lambda data: repr(data[:30]))
def test_not_json(data: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        check_json(data)
    assert caught.value.text.startswith(("the message is not", "the message is nested"))
    assert "\n" not in caught.value.text
    assert not caught.value.closes


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_what_json_writes_is_json(value: object, ascii_only: bool, indent: int | None) -> None:
    try:
        data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8
        return
    check_json(data)


@given(values.filter(lambda value: isinstance(value, (list, dict, str))), st.data())
def test_a_cut_text_is_not(value: object, data: st.DataObject) -> None:
    text = json.dumps(value).encode()
    with pytest.raises(BadRequest):
        check_json(text[: data.draw(st.integers(0, len(text) - 1))])
