"""What the IN line answers: command answers, receipts, refusals. Values in, bytes out (protocol page, part 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rplx.errors import Refusal
from rplx.messages import Event

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # for a client that waits for it before it sends its body


def answer(text: bytes | Sequence[bytes], *, keep_alive: bool) -> Sequence[bytes]:
    """Returns a command's answer or a send's receipt (parts 3 and 7.1, 7.2), in as many parts as its text.

    A kept connection is answered as HTTP/1.1, since an HTTP/1.0 answer would tell the client to close it.
    """
    version = "1.1" if keep_alive else "1.0"
    parts = (text,) if isinstance(text, bytes) else text
    length = sum(map(len, parts))
    head = f"HTTP/{version} 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    return (head.encode() + parts[0], *parts[1:])


def refusal(error: Refusal, added: Iterable[tuple[str, str]] = (), *, keep_alive: bool = False) -> bytes:
    """Returns a refusal on the IN line, its reason as one line of text (parts 3 and 7.3), with `added` headers."""
    version = "1.1" if keep_alive else "1.0"
    text = f"{error.text}\n".encode()
    status = f"HTTP/{version} {error.status} {error.reason}\r\n"
    allow = "Allow: GET, POST\r\n" if error.status == 405 else ""  # RFC 9110, 15.5.6
    further = "".join([f"{name}: {value}\r\n" for name, value in added])
    head = f"{status}{allow}Content-Type: text/plain\r\nContent-Length: {len(text)}\r\n{further}\r\n"
    return head.encode("latin-1") + text


def receipt(cursors: Mapping[str, str]) -> bytes:
    """Returns a line `ID CURSOR` for each channel in which a message was stored (part 7.1)."""
    return "".join([f"{id} {cursor}\n" for id, cursor in cursors.items()]).encode("ascii")


def events(events: Iterable[Event]) -> bytes:
    """Returns a line `online POS:ID` or `offline POS:ID` for each event (part 3, WATCH)."""
    return "".join([f"{event.kind} {event.position}:{event.id}\n" for event in events]).encode("ascii")


def fake_event(position: int) -> bytes:
    """Returns the event from which a watcher starts (part 3, WATCH)."""
    return b"FAKE %d:FAKE\n" % position
