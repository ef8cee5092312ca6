"""Grants: signed texts that say which channels somebody may listen to (protocol page, part 12).

They are JSON Web Tokens (RFC 7519), signed here by HMAC with SHA-256, for which Python has all that is needed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import os
import re
import time
from collections.abc import Iterable
from typing import Any

from rplx.client.errors import InvalidArgument, shown
from rplx.client.names import checked_id, encode

Channels = str | int | Iterable[str | int]

KEY_VARIABLE, KID_VARIABLE = "RPLX_GRANT_KEY", "RPLX_GRANT_KID"
KEY_MIN = 32  # bytes: as many as the hash has (RFC 7518, 3.2)
SECONDS_MAX = 366 * 86400  # a grant cannot be taken back, so one of years is a mistake
CHANNELS_MAX = 1000  # that a server takes in one grant (part 12.1)
ANY = "*"

_KID = re.compile(r"[A-Za-z0-9_.-]+")
_PEM = b"-----BEGIN "


def grant(
    user: str | int | None,
    channels: Channels,
    *,
    seconds: float = 600,
    key: str | bytes | None = None,
    kid: str | None = None,
    info: Any = None,
    now: float | None = None,
) -> str:
    """Returns a grant; see `rplx.grant`. `now`: the time of its making, if not the clock's."""
    if key is None:
        key, kid = f"env:{KEY_VARIABLE}", kid or os.environ.get(KID_VARIABLE) or None
    made = int(time.time() if now is None else now)
    claims: dict[str, Any] = {} if user is None else {"sub": _checked_user(user)}
    claims |= {"exp": made + _checked_seconds(seconds), "iat": made, "channels": _checked_channels(channels)}
    if info is not None:
        claims["info"] = info
    head = {"alg": "HS256", "typ": "JWT"}
    if kid is not None:
        head["kid"] = _checked_kid(kid)
    signed = f"{_part(encode(head))}.{_part(encode(claims))}"
    return f"{signed}.{_part(hmac.digest(read_key(key), signed.encode(), hashlib.sha256))}"


def read_key(key: str | bytes) -> bytes:
    """Returns a key's bytes: those of `env:NAME` or `file:PATH`, without the line's end behind them, or the key itself.

    Raises InvalidArgument, which never shows the key.
    """
    if isinstance(key, str) and key.startswith("env:"):
        return _checked_key(_variable(key[4:]).encode(errors="surrogateescape"), f"the variable {key[4:]}")
    if isinstance(key, str) and key.startswith("file:"):
        try:
            with open(key[5:], "rb") as file:
                return _checked_key(file.read().rstrip(b"\r\n"), key[5:])
        except OSError as error:
            raise InvalidArgument(f"Key cannot be read: {key[5:]}: {error.strerror}") from None
    if not isinstance(key, (str, bytes)):
        raise InvalidArgument(f"Key must be text or bytes, not {type(key).__name__}")
    return _checked_key(key.encode() if isinstance(key, str) else key, "it")


def contents(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the head and the claims of a grant, which may be anybody's: no signature is looked at.

    Raises InvalidArgument if the text is no JSON Web Token.
    """
    parts = token.split(".")
    try:
        head, claims = (json.loads(base64.b64decode(part + "=" * (-len(part) % 4), "-_", True)) for part in parts[:2])
    except (ValueError, RecursionError):
        head = claims = None
    if len(parts) != 3 or not isinstance(head, dict) or not isinstance(claims, dict):
        raise InvalidArgument("not a grant, which has three parts with dots between them, JSON in base64url in two")
    return head, claims


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise InvalidArgument(
            f"There is no key: the variable {name} is not set; it holds what signs grants, {KEY_MIN} bytes at least"
        ) from None


def _checked_key(key: bytes, where: str) -> bytes:
    if key.startswith(_PEM):
        raise InvalidArgument(f"Key must be a shared secret, {where} is a PEM: sign with a JWT library there")
    if len(key) < KEY_MIN:
        raise InvalidArgument(f"Key must have {KEY_MIN} bytes at least, {where} has {len(key)}")
    return key


def _checked_user(user: object) -> str:
    if isinstance(user, bool) or not isinstance(user, (str, int)) or user == "":
        raise InvalidArgument(f'User must be a text or a whole number, "{shown(str(user))}" given; None means nobody')
    return str(user)


def _checked_seconds(seconds: object) -> int:
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds <= SECONDS_MAX:
        return math.ceil(seconds)
    raise InvalidArgument(f'Seconds must be a number above 0, up to {SECONDS_MAX}, "{shown(str(seconds))}" given')


def _checked_channels(channels: Channels) -> list[str]:
    if isinstance(channels, (str, int)):
        channels = [channels]
    if isinstance(channels, (bytes, bytearray, memoryview)) or not isinstance(channels, Iterable):
        raise InvalidArgument(f"Channels must be a list of ids, not {type(channels).__name__}")
    checked = list(dict.fromkeys(map(_checked_channel, channels)))
    if len(checked) > CHANNELS_MAX:
        raise InvalidArgument(
            f"A grant has {CHANNELS_MAX} channels at most, {len(checked)} given; a prefix stands for many"
        )
    if not checked:
        raise InvalidArgument("No channel given: a grant without one would let nobody listen to anything")
    return checked


def _checked_channel(channel: object) -> str:
    """Returns an id, or a prefix of ids with `*` behind it."""
    if isinstance(channel, str) and channel.endswith(ANY):
        prefix = channel.removesuffix(ANY)
        if ANY not in prefix:
            return (checked_id(prefix) if prefix else "") + ANY
    if isinstance(channel, str) and ANY in channel:
        raise InvalidArgument(f'A channel may have "*" at its end alone, "{shown(channel)}" given')
    return checked_id(channel)


def _checked_kid(kid: object) -> str:
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise InvalidArgument(f'A key\'s id must match {_KID.pattern}, "{shown(str(kid))}" given')
    return kid
