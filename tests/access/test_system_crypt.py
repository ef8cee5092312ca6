"""Hashes of crypt(3) in a users file: known ones, and such as this system's library makes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from rplx.access import system_crypt
from rplx.access import users as users_module
from rplx.access.users import Users
from rplx.errors import AccessDenied

# Of the password `s:cret`, made by libxcrypt 4.4.33.
KNOWN = {
    "$1$": "$1$J.90ekrq$SCDSv05h09.AJwDYyg.UA/",
    "$2x$": "$2x$05$CCCCCCCCCCCCCCCCCCCCC.7QSdE04Iy1BKibPFS01bfpAcIAm6oM2",
    "$3$": "$3$$556d9c9801b88ced9dabbec318a63eb5",
    "$5$": "$5$BOQ2nuAHR0X7PpHK$4seGcE1zNyqzwdn6cuW5xDrYPKv6bBV1GTYE11fCxs8",
    "$6$": "$6$DEua3Gajb2TtFUyR$erYCkVtHsTlrXdXd4CeZ3aBQ3m4h9YD7MEtJ7.TC2xuOgPwMgWYhBKhAWcQ5QkIBKZh2BJSDcISvqab3vxrQq.",
    "$7$": "$7$CU..../....TKcCKWZSMTXek7USrKdpV.$tk3r5OGbmMWhdO1IHztwr.yhuE.rvCXY7ahPZ1agOS7",
    "$gy$": "$gy$j9T$ASvnyMA.4umC3lNtIcg1F0$wblghPSqsbDfRXNn4ZDKmpWjmFR68dr9pc9Qv4/D/Q5",
    "$md5": "$md5,rounds=92510$o3NPRvQs$$yKc1nbJ6IF6pl7vMWvbmv1",
    "$sha1$": "$sha1$222193$ziXZ1556yBqarzz0MpLD$cihl2qYm6aqLpicQIXEN10Gk4TPM",
    "$y$": "$y$j9T$5cMdrvL7lAKOMBmPMynTz0$WBW7IAtcYIlusqMNvmrAmNZVbOq/1VFDkPsOdR9aKq.",
    "_": "_J9..5gpu/Ybhm2smvEE",
    "": "/D4RkX8udKcAI",
}
SYSTEM = ["$2x$", "$3$", "$7$", "$gy$", "$md5", "$y$"]
FOREIGN = "$y$j9T$5cMdrvL7lAKOMBmPMynTz0$" + "x" * 43

needs_library = pytest.mark.skipif(not system_crypt.takes(KNOWN["$y$"]), reason="this system has no libxcrypt")


def made_here(form: str, password: bytes) -> str:
    """A hash as the system's own programs make it, at the least cost that the form has."""
    library = system_crypt._library()
    assert library is not None
    library.crypt_gensalt_rn.restype = library.crypt.restype = ctypes.c_char_p
    setting = ctypes.create_string_buffer(192)
    least = {"$y$": 1, "$gy$": 1, "$7$": 6, "$md5": 1, "$sha1$": 1, "_": 1}
    prefix = form.encode()
    assert library.crypt_gensalt_rn(prefix, ctypes.c_ulong(least.get(form, 0)), None, 0, setting, 192)
    return str(library.crypt(password, setting).decode())


def check(password_hash: str, password: str = "s:cret") -> None:
    users = Users.parse(f"bob:{password_hash} # crypt(3)'s", "users")
    assert users.warnings == []
    for wrong in (
        password + "x" if len(password_hash) != 13 else "x" + password,
        "S:cret",
        "",
        "\0",
        "s:cret\0",
        "x" * 600,
    ):
        with pytest.raises(AccessDenied, match="invalid password for login: bob"):
            users.verify("bob", wrong)
    users.verify("bob", password)


@pytest.mark.parametrize("form", KNOWN)
def test_a_known_hash(form: str) -> None:
    if form in SYSTEM and not system_crypt.takes(KNOWN[form]):
        pytest.skip("this system's crypt(3) does not take it")
    check(KNOWN[form])


@needs_library
@pytest.mark.parametrize("form", [form for form in KNOWN if form != "$2x$"])
def test_a_hash_made_here(form: str) -> None:
    """Passwords beyond ASCII too; crypt(3) takes bytes."""
    if not system_crypt.takes(KNOWN[form]):
        pytest.skip("this system's crypt(3) does not take it")
    for password in ("s:cret", "пар"):
        check(made_here(form, password.encode()), password)


def test_a_long_password_of_the_old_crypt() -> None:
    """More than eight characters in DES: bigcrypt."""
    check("abHYijaFJiyQkjuiY3R0OZQg.EuAXgnYd8g", "s:cret-longer-than-eight")


@pytest.mark.parametrize(
    "wrong",
    [
        "$y$",
        "$y$j9T$5cMd$short",
        "$zz$j9T$5cMd$" + "x" * 43,
        "$7$CU$" + "x" * 43,
        "_J9..5gpu",
        "$sha1$0$a$" + "x" * 28,
        "*0",
    ],
)
def test_what_is_no_hash_is_told(wrong: str) -> None:
    text = "users:1: login bob has no hash as htpasswd or crypt(3) writes them, line skipped"
    assert Users.parse(f"bob:{wrong}\n:", "users").warnings == [text]  # guests may send, so that nothing else is told


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a system that has none: the names are looked for, and are not there."""
    monkeypatch.setattr(system_crypt, "_NAMES", ("libcrypt-that-is-not.so.9", "libc.so.6"))
    system_crypt._library.cache_clear()
    yield
    monkeypatch.undo()
    system_crypt._library.cache_clear()


@pytest.mark.usefixtures("no_library")
@pytest.mark.parametrize("form", SYSTEM)
def test_without_the_library_it_is_told(form: str) -> None:
    shown = "$md5,rounds=92510$" if form == "$md5" else form
    users = Users.parse(f"bob:{KNOWN[form]}\nann:{KNOWN['$1$']}", "users")
    assert users.warnings == [
        f"users:1: login bob has a hash {shown}... that needs the system's libcrypt (libxcrypt),"
        " which takes none here, line skipped"
    ]
    users.verify("ann", "s:cret")
    with pytest.raises(AccessDenied, match="unknown login: bob"):
        users.verify("bob", "s:cret")


@needs_library
def test_each_refusal_costs_a_hash_of_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins known and unknown, whichever of the libraries has their form."""
    other = made_here("$y$", b"other")
    hashes = [made_here("$y$", b"right"), other, KNOWN["$y$"], KNOWN["$1$"], KNOWN["_"], made_here("$7$", b"x")]
    users = Users.parse("\n".join(f"u{n}:{password_hash}" for n, password_hash in enumerate(hashes)), "users")
    spent: list[str] = []
    matches = users_module._matches

    def counted(secret: bytes, password_hash: str) -> bool:
        spent.append(users_module._cost(password_hash))
        return matches(secret, password_hash)

    monkeypatch.setattr(users_module, "_matches", counted)
    forms = [users_module._cost(hashes[0]), "$y$j9T", "$1", "_J9..", users_module._cost(hashes[5])]
    assert len(set(forms)) == 5
    for login in ("u0", "u1", "u2", "u3", "u4", "u5", "nobody"):
        spent.clear()
        with pytest.raises(AccessDenied):
            users.verify(login, "wrong")
        assert spent == forms
    users.verify("u0", "right")
