"""Which channels a listener may listen to: rules by prefix, and grants (protocol page, part 12)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from rplx.access.grant_keys import GrantKey
from rplx.access.grants import SKEW, Grant, verify
from rplx.errors import Forbidden, InvalidGrant
from rplx.options.table import ChannelRule, Config


class Access(Protocol):
    """What one listener may listen to. `ends`: when that ends, in seconds since 1970; None: never."""

    ends: float | None

    def closed(self, ids: Iterable[str]) -> list[str]:
        """Returns those of `ids` that may not be listened to."""

    def renewed(self, token: str, now: float) -> Access:
        """Returns the access by a new grant. Raises InvalidGrant, Forbidden where none is taken."""


class GrantAccess:
    """The Access by a grant, or by none."""

    def __init__(self, listening: Listening, grant: Grant | None) -> None:
        self._listening = listening
        self._grant = grant
        self.ends: float | None = None if grant is None else grant.ends

    def closed(self, ids: Iterable[str]) -> list[str]:
        grant, needs_grant = self._grant, self._listening.needs_grant
        if grant is None:
            return [id for id in ids if needs_grant(id)]
        return [id for id in ids if not grant.opens(id) and needs_grant(id)]

    def renewed(self, token: str, now: float) -> Access:
        if not self._listening.active:
            raise Forbidden("no grants are taken here")
        return self._listening.access(token, now)


class Listening:
    """The rules and the grants of a process. `active`: some rule asks for grants; else they are not looked at."""

    def __init__(self, config: Config, keys: dict[str, GrantKey]) -> None:
        self._remembered: dict[str, GrantAccess] = {}
        self._guest = GrantAccess(self, None)
        self.configure(config, keys)

    def configure(self, config: Config, keys: dict[str, GrantKey]) -> None:
        """Takes new options and keys. What was verified by keys that are gone counts no longer."""
        self._rules = _by_length(config.channels)
        self._keys = keys
        self._max_bytes = config.grants.max_bytes
        self._max_remembered = config.grants.max_remembered
        self._remembered.clear()
        self.active = any(rule.access == "grant" for rule in config.channels)

    def needs_grant(self, id: str) -> bool:
        """Returns whether only who has a grant may listen to a channel: the longest prefix that fits decides."""
        for length, rules in self._rules:
            if len(id) >= length and (rule := rules.get(id[:length])) is not None:
                return rule.access == "grant"
        return False

    def access(self, token: str | None, now: float) -> GrantAccess:
        """Returns the access of who brings `token`, or none, at `now`. Raises InvalidGrant.

        A grant that does not hold is refused whole: nobody who brought one is taken for a guest.
        """
        if token is None or not self.active:
            return self._guest
        found = self._remembered.get(token)
        if found is None:
            return self.verified(token, now)
        if found.ends is not None and now >= found.ends + SKEW:
            del self._remembered[token]
            raise InvalidGrant("it has ended")
        return found

    def verified(self, token: str, now: float) -> GrantAccess:
        """Returns the access by `token`, also where no rule asks for grants. Raises InvalidGrant.

        A signature is looked at once, and what it signs remembered until it ends.
        """
        if len(token) > self._max_bytes:
            raise InvalidGrant(f"it is longer than {self._max_bytes} bytes (grants.max_bytes)")
        found = GrantAccess(self, verify(token, self._keys, now))
        if len(self._remembered) >= self._max_remembered:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[token] = found
        return found


def _by_length(rules: Iterable[ChannelRule]) -> list[tuple[int, dict[str, ChannelRule]]]:
    """Returns the rules by their prefixes, those of the same length together, the longest first."""
    found: dict[int, dict[str, ChannelRule]] = {}
    for rule in rules:
        found.setdefault(len(rule.prefix), {})[rule.prefix] = rule
    return sorted(found.items(), reverse=True)
