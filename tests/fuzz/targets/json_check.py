"""The strict JSON check takes nothing that another reader refuses, and raises nothing but BadRequest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from rplx.errors import BadRequest
from rplx.protocol.json_texts import check_json
from tests.fuzz.inputs import plain, repeated

SIZE = 204800  # in.maxlen
WORDS = re.compile(rb"NaN|Infinity")
STRICT_MAX = 4096  # bytes that the second reader looks at


def seeds() -> Iterator[bytes]:
    for text in (
        b'{"a": [1, -2.5e+3, true, false, null, "x\\u00e9\\n"]}',
        b"NaN", b"[01]", b'"\x01"', b'"\xff"', b"[1,]", b"\xef\xbb\xbf1",
        b'"\\ud800"', b" \t\r\n1 ", b"1e999999", b"-", b'{"a":1,"a":2}', b'{"ids":',
    ):  # fmt: skip
        yield plain(text)
    for text in (b"[", b'{"":', b"1", b'"\\n', b" ", b"{},", b'\\"'):
        yield repeated(text)


def check(data: bytes) -> None:
    try:
        check_json(data)
    except BadRequest:
        return
    # What it takes, it takes for one value, which another reader of the standard reads as well.
    text = data.decode()
    assert not text.startswith("\ufeff")
    if len(data) <= STRICT_MAX:
        decoder = json.JSONDecoder(strict=True, parse_int=str, parse_float=str, parse_constant=_refuse)
        value, end = decoder.raw_decode(text.lstrip(" \t\r\n"))
        assert not text.lstrip(" \t\r\n")[end:].strip(" \t\r\n")
        json.dumps(value)


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} was taken for JSON")
