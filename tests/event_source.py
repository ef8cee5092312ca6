"""Event streams as browsers read them (HTML standard, 9.2.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass
class Event:
    """One event: its fields as they came. `id` and `retry` are None where it has none; browsers skip empty `data`."""

    name: str = "message"
    data: str = ""
    id: str | None = None
    retry: int | None = None


def events(stream: bytes) -> list[Event]:
    """The events of a whole stream; what stands behind the last blank line is none."""
    *blocks, _ = re.split(r"(?:\r\n|\n|\r)(?:\r\n|\n|\r)", "\n" + stream.decode())
    return [_event(block) for block in blocks]


def _event(block: str) -> Event:
    event = Event()
    data = []
    for line in re.split(r"\r\n|\n|\r", block):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            event.name = value
        elif name == "id" and "\0" not in value:
            event.id = value
        elif name == "retry" and value.isdigit():
            event.retry = int(value)
    event.data = "\n".join(data)
    return event


def unchunked(body: bytes) -> bytes:
    """A chunked body as far as it has come in whole chunks (RFC 9112, 7.1)."""
    found = b""
    while match := re.match(rb"([0-9a-fA-F]+)\r\n", body):
        size = int(match[1], 16)
        if len(body) < match.end() + size + 2:
            break
        found += body[match.end() : match.end() + size]
        body = body[match.end() + size + 2 :]
        if not size:
            break
    return found
