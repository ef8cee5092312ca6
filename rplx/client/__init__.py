"""The Python client. It needs the standard library alone, and works with gevent and without (docs/python.md).

from rplx.client import Realplexor

client = Realplexor("127.0.0.1", 10010)
client.send(["alpha", "beta"], {"text": "hello"})
"""

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
