"""What our own server and the application tell each other beside WSGI, in `environ["rplx.direct"]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rplx.hub.members import Member
from rplx.hub.sets import Listener
from rplx.options.table import NEVER

KEY = "rplx.direct"


@dataclass(slots=True)
class Direct:
    """One request of a connection that our own server holds.

    `text` is a plain text request whole, None for HTTP. Without `may_wait` the poll is answered at once. `sent_ahead`:
    something behind the request has been read. The application sets `listener` where the poll has to wait, and
    `timeout` to the seconds for which it does at most: the server parks it and sends its answer, which the application
    does not begin. A stream has no timeout, and `first` is sent behind its head. `upgraded`: this is a WebSocket from
    now on, also if it ends with its answer.
    """

    connection: Any
    keep_alive: bool
    text: bytes | None = None
    may_wait: bool = True
    sent_ahead: bool = False
    listener: Listener | Member | None = None
    timeout: float = NEVER
    first: bytes = b""
    upgraded: bool = False
