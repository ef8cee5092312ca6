"""Who may use the IN line: logins, guests, and what guessing passwords costs (protocol page, part 3, "Users")."""

from __future__ import annotations

import ipaddress
import time
from collections import deque
from collections.abc import Iterable
from weakref import WeakValueDictionary

from gevent import get_hub
from gevent.lock import BoundedSemaphore

from rplx.access.users import Users
from rplx.addresses import network_of
from rplx.errors import AccessDenied, GuestRefused, TooManyRequests
from rplx.messages import Credentials
from rplx.options.table import Config

FAILURE_WINDOW = 60.0  # seconds over which failed logins are counted
FAILURES_MAX = 10_000  # pairs of an address and a login whose failures are remembered; the oldest are forgotten
ALL_LOGINS = 10  # times users.max_failures, over all logins of an address: past it each login has one guess a minute
UNKNOWN = ""  # stands for all logins that are in no users file
ALL = "*"  # stands for all logins of an address


class Logins:
    """Admits requests by their credentials, and guests, who have none."""

    def __init__(self, users: Users, config: Config) -> None:
        self._users = users
        self._guests_loopback_only = config.in_.guests_loopback_only
        self._max_failures = config.users.max_failures
        self._may_send = _by_login(config.users.may_send)
        self._may_ask = _by_login(config.users.may_ask)
        self._failures = _Failures(self._max_failures * ALL_LOGINS)
        self._verifying: WeakValueDictionary[tuple[str, str], BoundedSemaphore] = WeakValueDictionary()

    def configure(self, users: Users, config: Config) -> None:
        """Takes new users and options, which count from the next request on."""
        users.inherit(self._users)
        self._users = users
        self._guests_loopback_only = config.in_.guests_loopback_only
        self._max_failures = config.users.max_failures
        self._may_send = _by_login(config.users.may_send)
        self._may_ask = _by_login(config.users.may_ask)
        self._failures.configure(self._max_failures * ALL_LOGINS)

    def warm_up(self) -> None:
        """Loads what the first check of a password needs."""
        self._users.warm_up()

    def may_send(self, login: str, id: str) -> bool:
        """Returns whether `login` may send to this id: it owns it (part 3, "Users"), or users.may_send says so."""
        return self._users.owns(login, id) or id.startswith(self._may_send.get(login, ()))

    def may_ask(self, login: str, prefix: str) -> bool:
        """Returns whether `login` may ask about ids that begin with `prefix`."""
        return self._users.owns(login, prefix) or prefix.startswith(self._may_ask.get(login, ()))

    def admit(self, host: str, credentials: Credentials | None) -> None:
        """Returns if a request from the address `host` may be carried out; None stands for a guest.

        May wait for a thread that checks the password. Raises AccessDenied; TooManyRequests after too many wrong ones.
        """
        if credentials is None:
            self._check_guest(host)
            return
        users = self._users
        if users.remembers(credentials.login, credentials.password):
            return
        login = credentials.login if users.knows(credentials.login) else UNKNOWN
        host = network_of(host)
        # One check at a time for each address and login, and one for each address: a thousand guesses at once would
        # all be let through before the first has failed. Whoever is right waits for one guess at each other login.
        own = self._verifying.setdefault((host, login), BoundedSemaphore())
        all_ = self._verifying.setdefault((host, ALL), BoundedSemaphore())
        with own, all_:
            self._verify(host, login, credentials)

    # -- guests

    def _check_guest(self, host: str) -> None:
        """Applies the whole policy on guests: the users file decides; without one, where they come from does.

        Raises GuestRefused.
        """
        if self._users.has_file:
            admitted = self._users.guests_allowed
        else:
            admitted = not self._guests_loopback_only or is_loopback(host)
        if not admitted:
            raise GuestRefused

    def warning_of_guests(self, hosts: Iterable[str]) -> str:
        """Returns a line for the log of a server that listens on the addresses `hosts`; "" if none is needed."""
        if self._users.has_file or all(map(is_loopback, hosts)):
            return ""
        who = "the machine itself" if self._guests_loopback_only else "EVERY machine that can connect"
        return f"IN: there is no users file (users.file), so {who} may send without a password"

    # -- passwords

    def _verify(self, host: str, login: str, credentials: Credentials) -> None:
        """Raises AccessDenied, TooManyRequests."""
        users = self._users
        if users.remembers(credentials.login, credentials.password):  # the request before this one has just shown it
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
        """Raises TooManyRequests: wrong guesses at a login lock that login alone, and for that address alone."""
        failed = self._failures.count((host, login))
        if failed >= self._max_failures:
            raise TooManyRequests("too many failed logins from this address; wait a minute")
        if failed and self._failures.count((host, ALL)) >= self._max_failures * ALL_LOGINS:
            raise TooManyRequests("too many failed logins from this address; wait a minute")


def _by_login(items: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Returns the prefixes of each login in items LOGIN=PREFIX."""
    found: dict[str, tuple[str, ...]] = {}
    for item in items:
        login, _, prefix = item.partition("=")
        found[login] = (*found.get(login, ()), prefix)
    return found


class _Failures:
    """How often each pair of an address and a login has failed in the last FAILURE_WINDOW seconds."""

    def __init__(self, most: int) -> None:
        """`most`: counts up to this one are told apart."""
        self._most = most
        self._times: dict[tuple[str, str], deque[float]] = {}

    def configure(self, most: int) -> None:
        """Takes another `most`."""
        self._most = most

    def add(self, key: tuple[str, str]) -> None:
        times = self._times.pop(key, None)
        if times is None:
            if len(self._times) >= FAILURES_MAX:
                del self._times[next(iter(self._times))]
            times = deque()
        times.append(time.monotonic())
        while len(times) > self._most:
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
    """Returns the error instead of raising it: gevent's threads print the traceback of what is raised in them."""
    try:
        users.verify(credentials.login, credentials.password)
    except AccessDenied as error:
        return error
    return None


def is_loopback(host: str) -> bool:
    """Returns whether an address is the machine's own; a Unix socket's, which is none, counts as such."""
    if host.startswith("127."):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return True
