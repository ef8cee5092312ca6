"""Whether a grant holds, and which channels it opens (protocol page, part 12). The clock and the keys are handed in."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from rplx.access.grant_keys import GrantKey
from rplx.errors import InvalidGrant

SKEW = 5.0  # seconds by which clocks may differ
CHANNELS_MAX = 1000  # ids and prefixes in one grant
_TIME_MAX = 1e11  # seconds; a greater number is no time that a grant ends

_PART = re.compile(r"[A-Za-z0-9_-]+")
_TYPES = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")  # RFC 7519, 5.1; RFC 9068, 2.1
_CHANNEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\*?|\*")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token that holds says: whom it names, when it ends (seconds since 1970), and what it opens."""

    user: str
    ends: float
    ids: frozenset[str]
    prefixes: tuple[str, ...]

    def opens(self, id: str) -> bool:
        """Returns whether this channel may be listened to."""
        return id in self.ids or id.startswith(self.prefixes)


def seconds_left(ends: float | None, now: float) -> float | None:
    """Returns for how long who has a grant may listen, None if there is no end.

    Past the end that is what clocks may differ by. Both are in seconds since 1970.
    """
    if ends is None:
        return None
    return ends - now if ends > now else max(0.0, ends + SKEW - now)


def verify(token: str, keys: Mapping[str, GrantKey], now: float) -> Grant:
    """Returns what `token` says if it holds at `now`, seconds since 1970. Raises InvalidGrant, which never shows it."""
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidGrant("it is no JSON Web Token of three parts")
    key = _key_of(_json(parts[0]), keys)
    signature = _bytes(parts[2])
    try:
        holds = key.verify(f"{parts[0]}.{parts[1]}".encode("ascii"), signature)
    except Exception:  # what a library makes of odd signatures is theirs; none of them holds
        holds = False
    if not holds:
        raise InvalidGrant("its signature is wrong")
    return _grant(_json(parts[1]), now)


def _key_of(head: dict[str, Any], keys: Mapping[str, GrantKey]) -> GrantKey:
    """Returns the key that the token names; one without a name is meant for the only one."""
    if "crit" in head:
        raise InvalidGrant("it asks for extensions (crit)")
    kind = head.get("typ", "jwt")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise InvalidGrant("its type (typ) is another one")
    kid = head.get("kid")
    if kid is None and "kid" not in head and len(keys) == 1:
        key = next(iter(keys.values()))
    elif isinstance(kid, str) and kid in keys:
        key = keys[kid]
    else:
        raise InvalidGrant("no key of its name (kid) is known")
    if head.get("alg") != key.algorithm:
        raise InvalidGrant("its algorithm (alg) is not that of the key")
    return key


def _grant(claims: dict[str, Any], now: float) -> Grant:
    ends = _time(claims, "exp")
    if ends is None:
        raise InvalidGrant("it does not say when it ends (exp)")
    if now >= ends + SKEW:
        raise InvalidGrant("it has ended")
    begins = _time(claims, "nbf")
    if begins is not None and now < begins - SKEW:
        raise InvalidGrant("it has not begun yet (nbf)")
    made = _time(claims, "iat")
    if made is not None and now < made - SKEW:
        raise InvalidGrant("it was made in the future (iat)")
    user = claims.get("sub", "")
    if not isinstance(user, str):
        raise InvalidGrant("whom it names (sub) is no string")
    channels = claims.get("channels")
    if not isinstance(channels, list) or len(channels) > CHANNELS_MAX:
        raise InvalidGrant(f"its channels are no list of at most {CHANNELS_MAX}")
    if not all(isinstance(channel, str) and _CHANNEL.fullmatch(channel) for channel in channels):
        raise InvalidGrant("its channels are not all ids, or prefixes that end in *")
    return Grant(user, ends, *_opened(channels))


def _opened(channels: Iterable[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    ids = [channel for channel in channels if not channel.endswith("*")]
    return frozenset(ids), tuple([channel[:-1] for channel in channels if channel.endswith("*")])


def _time(claims: dict[str, Any], name: str) -> float | None:
    """Returns a NumericDate (RFC 7519, 2), None if there is none."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _TIME_MAX:
        raise InvalidGrant(f"a time in it ({name}) is no number of seconds")
    return float(value)


def _bytes(part: str) -> bytes:
    """Returns what base64url without padding stands for (RFC 7515, 2), in its one form."""
    if _PART.fullmatch(part):
        try:
            data = base64.b64decode(part + "=" * (-len(part) % 4), b"-_", True)
        except ValueError:
            data = b""
        if data and base64.urlsafe_b64encode(data).rstrip(b"=") == part.encode("ascii"):
            return data
    raise InvalidGrant("a part of it is not base64url")


def _json(part: str) -> dict[str, Any]:
    try:
        value = json.loads(
            _bytes(part).decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse, parse_float=_float
        )
    except (ValueError, RecursionError):
        raise InvalidGrant("a part of it is not strict JSON") from None
    if not isinstance(value, dict):
        raise InvalidGrant("a part of it is no JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object. Raises ValueError if a name stands there twice: others may take the other value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _refuse(_name: str) -> NoReturn:
    raise ValueError
