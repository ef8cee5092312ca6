"""The percent escapes of a marker (protocol page, part 7.6)."""

from __future__ import annotations

import re

_ESCAPED = re.compile(rb"%(2[CcAa]|3[Aa])")  # the only characters that are percent-decoded: , * :


def unescaped(data: bytes) -> bytes:
    """Returns `data` with `%2C`, `%2A` and `%3A` decoded, and nothing else."""
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), data) if b"%" in data else data
