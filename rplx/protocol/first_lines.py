"""What the first line of a request tells: whether it is HTTP, may become HTTP, or is plain text (part 7.7)."""

from __future__ import annotations

import re

# The characters of a method (RFC 9110, 5.6.2). A browser may send any method; the longest that IANA lists has 17.
_METHOD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}"
# A whole first line that ends as HTTP's does is HTTP, whatever its method. Otherwise a browser could do as plain text
# what it may not do by HTTP.
_REQUEST_LINE = re.compile(_METHOD + rb"[ \t][^\n]*HTTP/|[^\n]*[ \t]HTTP/[0-9]+(?:\.[0-9]+)?[ \t]*\r?\Z")
_MAY_BECOME_HTTP = re.compile(_METHOD + rb"(?:[ \t][^\n]*)?\Z")  # exactly the beginnings of the first alternative
_DECIDING_SIZE = 34  # bytes of a line that decide that: what follows a method and a blank is free
_NEXT_REQUEST = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|PATCH|CONNECT)[ \t]|[^\n]*[ \t]HTTP/")
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"TRACE ", b"PATCH ", b"CONNECT ")


def is_http(line: bytes | bytearray, size: int) -> bool:
    """Returns whether the whole first line that is the first `size` bytes of `line` is HTTP's."""
    return _REQUEST_LINE.match(line, 0, size) is not None


def may_become_http(line: bytes | bytearray, size: int) -> bool:
    """Returns whether a first line of which the first `size` bytes of `line` have come may yet become HTTP's."""
    return _MAY_BECOME_HTTP.match(line, 0, min(size, _DECIDING_SIZE)) is not None


def is_next(data: bytes) -> bool:
    """Returns whether `data` is the beginning of a request, perhaps behind blank lines."""
    return bool(_NEXT_REQUEST.match(data.lstrip(b"\r\n")))


def may_be_next(data: bytes) -> bool:
    """Returns whether `data` is blank lines alone, or may be the beginning of a request."""
    data = data.lstrip(b"\r\n")
    return not data or is_next(data) or any(method.startswith(data) for method in _METHODS)
