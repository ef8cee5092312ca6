"""Who may use the IN line: logins, guests, and what guessing passwords costs (protocol page, part 3, "Users")."""

from __future__ import annotations

import ipaddress
import time
from collections import deque
from weakref import WeakValueDictionary

from gevent import get_hub
from gevent.lock import BoundedSemaphore

from rplx.access.users import Users
from rplx.addresses import network_of
from rplx.errors import AccessDenied, TooManyRequests
from rplx.messages import Credentials
from rplx.options.table import Config

FAILURE_WINDOW = 60.0  # seconds over which failed logins are counted
FAILURES_MAX = 10_000  # pairs of an address and a login whose failures are remembered; the oldest are forgotten
ALL_LOGINS = 10  # times users.max_failures, over all logins of an address: past it each login has one guess a minute
UNKNOWN = ""  # stands for all logins that are in no users file
ALL = "*"  # stands for all logins of an address

GUESTS_REFUSED = "access denied for guest user"  # old clients compare it (part 3)
GUESTS_HINT = (
    "a back-end without a login is refused: the line : in users.file lets it in; without such a file"
    " in.guests_loopback_only=false lets other machines send"
)


class Logins:
    """Admits requests by their credentials."""

    def __init__(self, users: Users, config: Config) -> None:
        self._failures = _Failures()
        self._verifying: WeakValueDictionary[tuple[str, str], BoundedSemaphore] = WeakValueDictionary()
        self.users = users
        self.configure(users, config)

    def configure(self, users: Users, config: Config) -> None:
        """Takes new users and options; they count from the next request on."""
        users.inherit(self.users)
        self.users = users
        self._guests_loopback_only = config.in_.guests_loopback_only
        self._max_failures = config.users.max_failures
        self._failures.most = self._max_failures * ALL_LOGINS

    def admit(self, host: str, credentials: Credentials | None) -> None:
        """Errors: AccessDenied, TooManyRequests."""
        users = self.users
        if credentials is None:
            if not users.guests_allowed:
                raise AccessDenied(GUESTS_REFUSED)
            if not users.has_file and self._guests_loopback_only and not is_loopback(host):
                raise AccessDenied(GUESTS_REFUSED)
            return
        if users.remembers(credentials.login, credentials.password):
            return
        login = credentials.login if users.knows(credentials.login) else UNKNOWN
        host = network_of(host)
        # One at a time for each login, and one of these from each address: a thousand guesses at once would all
        # come before the first has failed, and whoever is right waits for one guess at each other login at most.
        own = self._verifying.setdefault((host, login), BoundedSemaphore())
        all_ = self._verifying.setdefault((host, ALL), BoundedSemaphore())
        with own, all_:
            self._verify(host, login, credentials)

    def _verify(self, host: str, login: str, credentials: Credentials) -> None:
        """Errors: AccessDenied, TooManyRequests."""
        users = self.users
        if users.remembers(credentials.login, credentials.password):  # the one before us has just found out
            return
        if self._max_failures:
            self._check_failures(host, login)
        # A hash is slow by design: in a thread it holds up nobody else.
        denied = get_hub().threadpool.apply(_denial, (users, credentials))
        if denied is not None:
            if self._max_failures:
                self._failures.add((host, login))
                self._failures.add((host, ALL))
            raise denied

    def _check_failures(self, host: str, login: str) -> None:
        """Guesses at one login cost that login, from that address. Errors: TooManyRequests."""
        failed = self._failures.count((host, login))
        if failed >= self._max_failures:
            raise TooManyRequests("too many failed logins from this address; wait a minute")
        if failed and self._failures.count((host, ALL)) >= self._max_failures * ALL_LOGINS:
            raise TooManyRequests("too many failed logins from this address; wait a minute")


class _Failures:
    """How often each pair of an address and a login has failed in the last minute."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], deque[float]] = {}
        self.most = 0  # that has to be told apart

    def add(self, key: tuple[str, str]) -> None:
        times = self._times.pop(key, None)
        if times is None:
            if len(self._times) >= FAILURES_MAX:
                del self._times[next(iter(self._times))]
            times = deque()
        times.append(time.monotonic())
        if len(times) > self.most:
            times.popleft()
        self._times[key] = times  # behind the others: those that failed longest ago are forgotten first

    def count(self, key: tuple[str, str]) -> int:
        times = self._times.get(key)
        if times is None:
            return 0
        oldest = time.monotonic() - FAILURE_WINDOW
        while times and times[0] < oldest:
            times.popleft()
        return len(times)


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
