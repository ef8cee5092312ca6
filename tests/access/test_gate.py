"""Who is admitted to the IN line without a login: by the users file, and without one by the address."""

from __future__ import annotations

import dataclasses

import pytest

from rplx.access.gate import Logins, is_loopback
from rplx.access.users import Users
from rplx.errors import GuestRefused
from rplx.options.table import Config, InOptions

NO_FILE = Users.load("")
HERE, ELSEWHERE = "127.0.0.1", "192.0.2.1"


def configuration(*, loopback_only: bool) -> Config:
    return dataclasses.replace(Config(), in_=InOptions(guests_loopback_only=loopback_only))


@pytest.mark.parametrize(
    ("users", "loopback_only", "host", "admitted"),
    [
        (NO_FILE, True, HERE, True),
        (NO_FILE, True, ELSEWHERE, False),
        (NO_FILE, False, ELSEWHERE, True),
        (Users.parse(":", "users"), True, ELSEWHERE, True),
        (Users.parse("# nobody", "users"), True, HERE, False),
        (Users.parse("# nobody", "users"), False, ELSEWHERE, False),
    ],
)
def test_guests(users: Users, loopback_only: bool, host: str, admitted: bool) -> None:
    logins = Logins(Users.load(""), Config())
    logins.configure(users, configuration(loopback_only=loopback_only))
    for found in (Logins(users, configuration(loopback_only=loopback_only)), logins):
        if admitted:
            found.admit(host, None)
            continue
        with pytest.raises(GuestRefused) as caught:
            found.admit(host, None)
        assert (caught.value.status, caught.value.reason) == (403, "Access Deined")
        assert caught.value.text == "access denied for guest user"


@pytest.mark.parametrize(
    ("users", "loopback_only", "hosts", "who"),
    [
        (NO_FILE, True, [HERE, "::1"], ""),
        (NO_FILE, True, [HERE, "0.0.0.0"], "the machine itself"),
        (NO_FILE, False, ["::"], "EVERY machine that can connect"),
        (Users.parse(":", "users"), False, ["0.0.0.0"], ""),
    ],
)
def test_a_server_is_warned_of_guests(users: Users, loopback_only: bool, hosts: list[str], who: str) -> None:
    warning = Logins(users, configuration(loopback_only=loopback_only)).warning_of_guests(hosts)
    assert warning == (f"IN: there is no users file (users.file), so {who} may send without a password" if who else "")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.0.3", "::1", "::1%lo", ""])
def test_addresses_of_the_machine_itself(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.0.2.1", "::", "0.0.0.0", "fe80::1%lo", "2001:db8::1"])
def test_addresses_of_others(host: str) -> None:
    assert not is_loopback(host)
