"""JSON texts: the strict check of messages, and JSON for answers made of messages that were not checked (part 7.5)."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from rplx.errors import BadRequest

UTF_8 = ("utf-8", "utf8")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


def check_json(data: bytes) -> None:
    """Raises BadRequest if `data` is not one strict JSON text (RFC 8259; part 7.5).

    One bad message would spoil the answer of every listener that gets it.
    """
    try:
        text = data.decode()
        if not _is_value(text):
            _decoder.decode(text)  # there is space around it, or this says what is wrong
    except UnicodeDecodeError as error:
        raise BadRequest(f"the message is not UTF-8: byte {error.start} is wrong", closes=False) from None
    except RecursionError:
        raise BadRequest("the message is nested too deeply", closes=False) from None
    except ValueError as error:
        raise BadRequest(f"the message is not JSON: {error}", closes=False) from None


def _is_value(text: str) -> bool:
    """Returns whether `text` is a JSON value with nothing around it; faster than `decode`."""
    try:
        return _decoder.raw_decode(text)[1] == len(text)
    except json.JSONDecodeError:
        return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _number(text: str) -> None:
    """Numbers are checked by their form alone: a very long one is valid JSON."""


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_number, parse_float=_number)


def as_json(data: bytes, charset: str) -> bytes:
    """Returns `data` as one strict JSON text (RFC 8259), for clients that read it in `charset`.

    JSON in UTF-8 or in `charset` keeps its meaning; for charsets other than UTF-8 it is escaped to ASCII, as they may
    read its bytes otherwise. Anything else becomes a JSON string of its text in `charset`, or in Latin-1 if the bytes
    have no meaning there or Python does not know the charset.
    """
    if _is_json(data):
        return data if charset.lower() in UTF_8 else _in_ascii(data.decode())
    try:
        text = data.decode(charset)
    except (UnicodeError, LookupError):
        text = data.decode("latin-1")
    else:
        plain = _in_ascii(text)
        if _is_json(plain):
            return plain
    return json.dumps(text).encode()


def _in_ascii(text: str) -> bytes:
    return _BEYOND_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text).encode()


def _is_json(data: bytes) -> bool:
    """Returns whether `check_json` takes `data`."""
    try:
        check_json(data)
    except BadRequest:
        return False
    return True
