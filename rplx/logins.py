"""Who may use the IN line: logins, guests, and what guessing passwords costs (protocol page, part 3, "Users")."""

from __future__ import annotations

import ipaddress
import time
from collections import deque
from weakref import WeakValueDictionary

from gevent import get_hub
from gevent.lock import BoundedSemaphore

from rplx.errors import AccessDenied, TooManyRequests
from rplx.messages import Credentials
from rplx.options import Config
from rplx.users import Users

FAILURE_WINDOW = 60.0  # seconds over which failed logins of an address are counted
FAILURE_ADDRESSES_MAX = 10_000  # addresses whose failures are remembered


class Logins:
    """Admits requests by their credentials."""

    def __init__(self, users: Users, config: Config) -> None:
        self.configure(users, config)
        self._failures: dict[str, deque[float]] = {}
        self._verifying: WeakValueDictionary[str, BoundedSemaphore] = WeakValueDictionary()  # by address

    def configure(self, users: Users, config: Config) -> None:
        """Takes new users and options; they count from the next request on."""
        self.users = users
        self._guests_loopback_only = config.in_.guests_loopback_only
        self._max_failures = config.users.max_failures

    def admit(self, host: str, credentials: Credentials | None) -> None:
        """Errors: AccessDenied, TooManyRequests."""
        users = self.users
        if credentials is None:
            if not users.guests_allowed:
                raise AccessDenied("access denied for guest user")
            if not users.has_file and self._guests_loopback_only and not is_loopback(host):
                raise AccessDenied("access denied for guest user")
            return
        if users.remembers(credentials.login, credentials.password):
            return
        # One at a time from each address: a thousand guesses at once would all come before the first has failed.
        turn = self._verifying.setdefault(host, BoundedSemaphore())
        with turn:
            self._verify(host, credentials)

    def _verify(self, host: str, credentials: Credentials) -> None:
        """Errors: AccessDenied, TooManyRequests."""
        users = self.users
        if users.remembers(credentials.login, credentials.password):  # the one before us has just found out
            return
        now = time.monotonic()
        failures = self._failures.get(host)
        if failures is not None and self._max_failures:
            while failures and failures[0] + FAILURE_WINDOW < now:
                failures.popleft()
            if len(failures) >= self._max_failures:
                raise TooManyRequests("too many failed logins from this address; wait a minute")
        # A hash is slow by design: in a thread it holds up nobody else.
        denied = get_hub().threadpool.apply(_denial, (users, credentials))
        if denied is not None:
            if self._max_failures:
                if len(self._failures) >= FAILURE_ADDRESSES_MAX:
                    self._failures.pop(next(iter(self._failures)))
                self._failures.setdefault(host, deque(maxlen=self._max_failures)).append(now)
            raise denied


def _denial(users: Users, credentials: Credentials) -> AccessDenied | None:
    """Not raised: gevent's threads print the traceback of what is raised in them."""
    try:
        users.verify(credentials.login, credentials.password)
    except AccessDenied as error:
        return error
    return None


def is_loopback(host: str) -> bool:
    """Whether an address is the machine's own."""
    if host.startswith("127."):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return True  # a Unix socket's
