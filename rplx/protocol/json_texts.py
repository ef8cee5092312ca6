"""Messages for an answer that has to be JSON, on a server that does not check what it stores (part 7.5)."""

from __future__ import annotations

import json
import re

from rplx.errors import BadRequest
from rplx.protocol.commands import check_json

UTF_8 = ("utf-8", "utf8")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


def as_json(data: bytes, charset: str) -> bytes:
    """`data` as one strict JSON text (RFC 8259), for clients that read it in `charset`.

    What is one, in UTF-8 or in `charset`, stays what it says; beside UTF-8 it is put in ASCII, as other charsets may
    read its bytes otherwise. Anything else becomes a JSON string, of what its bytes mean in `charset` or, where that is
    nothing or Python does not know it, in Latin-1.
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
    try:
        check_json(data)
    except BadRequest:
        return False
    return True
