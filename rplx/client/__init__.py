"""The Python client. It needs the standard library alone, and works with gevent and without (docs/python.md).

from rplx.client import Realplexor

client = Realplexor("127.0.0.1", 10010)
client.send(["alpha", "beta"], {"text": "hello"})
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rplx.client.answers import Event
from rplx.client.blocks import Message, Unreadable
from rplx.client.errors import (
    BrokenResponse,
    ConnectionFailed,
    ConnectionLost,
    InvalidArgument,
    NotStored,
    RealplexorError,
    Refused,
    SendManyError,
    Timeout,
)
from rplx.client.listener import Listener
from rplx.client.old_names import Dklab_Realplexor, Dklab_Realplexor_Exception
from rplx.client.realplexor import Realplexor

if TYPE_CHECKING:
    from rplx.client.async_listener import AsyncListener as AsyncListener
    from rplx.client.async_realplexor import AsyncRealplexor as AsyncRealplexor

# AsyncRealplexor and AsyncListener are missing here, since they need the extra rplx[async].
__all__ = [
    "BrokenResponse",
    "ConnectionFailed",
    "ConnectionLost",
    "Dklab_Realplexor",
    "Dklab_Realplexor_Exception",
    "Event",
    "InvalidArgument",
    "Listener",
    "Message",
    "NotStored",
    "Realplexor",
    "RealplexorError",
    "Refused",
    "SendManyError",
    "Timeout",
    "Unreadable",
]


def __getattr__(name: str) -> Any:
    """Loads what needs httpx when it is asked for. Raises ImportError, which names the extra."""
    if name not in ("AsyncListener", "AsyncRealplexor"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from rplx.client import async_listener, async_realplexor
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs the extra rplx[async]: pip install 'rplx[async]' ({error})") from error
    return async_listener.AsyncListener if name == "AsyncListener" else async_realplexor.AsyncRealplexor
