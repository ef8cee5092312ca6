"""The users file, with hashes of the real htpasswd where there is one, else of the library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from passlib.context import CryptContext

from rplx.access import users as users_module
from rplx.access.users import Users
from rplx.errors import AccessDenied, ConfigError

HTPASSWD = shutil.which("htpasswd")
FORMS = {
    "apr_md5_crypt": "-m",
    "bcrypt": "-B",
    "des_crypt": "-d",
    "ldap_sha1": "-s",
    "sha256_crypt": "-2",
    "sha512_crypt": "-5",
}


def line_of(login: str, password: str, form: str) -> str:
    """A line of a users file, as htpasswd prints it."""
    if HTPASSWD:
        command = [HTPASSWD, "-nb", FORMS[form], login, password]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    options = {"bcrypt": {"rounds": 5}, "sha256_crypt": {"rounds": 5000}, "sha512_crypt": {"rounds": 5000}}
    return f"{login}:{CryptContext([form]).handler(form).using(**options.get(form, {})).hash(password)}"


def refusal(users: Users, login: str, password: str) -> str:
    with pytest.raises(AccessDenied) as caught:
        users.verify(login, password)
    assert caught.value.status == 403
    return caught.value.text


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_hash(form: str) -> None:
    users = Users.parse(line_of("bob", "s:cret", form), "users")
    assert users.warnings == []
    assert not users.remembers("bob", "s:cret")
    for _ in range(2):  # the second time out of the memory of good passwords
        users.verify("bob", "s:cret")
        assert refusal(users, "bob", "S:cret") == "invalid password for login: bob"
        assert refusal(users, "bob", "") == "invalid password for login: bob"
    assert users.remembers("bob", "s:cret")
    assert not users.remembers("bob", "S:cret")
    assert not users.remembers("alice", "s:cret")
    assert refusal(users, "alice", "s:cret") == "unknown login: alice"
    assert refusal(users, "Bob", "s:cret") == "unknown login: Bob"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("password", ["\0", "a\0b", "x" * 100, "x" * 5000, "é☺", "\udcff"])
def test_odd_passwords_are_refused_and_nothing_breaks(form: str, password: str) -> None:
    users = Users.parse(line_of("bob", "secret", form), "users")
    assert refusal(users, "bob", password) == "invalid password for login: bob"
    assert refusal(users, "eve", password) == "unknown login: eve"


@pytest.mark.parametrize("form", FORMS)
def test_passwords_beyond_ascii_and_beyond_72_bytes(form: str) -> None:
    for password in ("пароль", "x" * 72, "x" * 80):
        Users.parse(line_of("bob", password, form), "users").verify("bob", password)


def test_a_file_with_bad_lines(tmp_path: Path) -> None:
    good = line_of("bob", "secret", "ldap_sha1")
    file = tmp_path / "users"
    file.write_bytes(
        b"\xef\xbb\xbf# users\r\n"
        + f"{good} # the first\r\n\n  {good.replace('bob', 'ann')}  \n".encode()
        + b"alone\n"
        + b"my_login:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
        + b":{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
        + b"plain:topsecret\n"
        + b"cut:$apr1$abcd$short\nempty:\nextra:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:x\nbad\xff:x\n"
        + good.replace("bob", "ann").encode()
    )
    users = Users.load(str(file))
    assert users.warnings == [
        f"{file}:5: not of the form login:hash, line skipped",
        f'{file}:6: login "my_login" must be letters and digits, line skipped',
        f'{file}:7: login "" must be letters and digits, line skipped',
        f"{file}:8: login plain has no hash as htpasswd or crypt(3) writes them, line skipped",
        f"{file}:9: login cut has no hash as htpasswd or crypt(3) writes them, line skipped",
        f"{file}:10: login empty has no hash as htpasswd or crypt(3) writes them, line skipped",
        f"{file}:11: login extra has no hash as htpasswd or crypt(3) writes them, line skipped",
        f'{file}:12: login "bad\ufffd" must be letters and digits, line skipped',
        f"{file}:13: login ann is there twice, this line counts",
    ]
    users.verify("bob", "secret")
    users.verify("ann", "secret")
    assert refusal(users, "plain", "topsecret") == "unknown login: plain"
    assert users.has_file
    assert not users.guests_allowed


def test_the_last_of_two_lines_counts() -> None:
    lines = [line_of("bob", password, "ldap_sha1") for password in ("old", "new")]
    users = Users.parse("\n".join(lines), "users")
    users.verify("bob", "new")
    assert refusal(users, "bob", "old") == "invalid password for login: bob"


@pytest.mark.parametrize("text", [":", "# x\n:\n", " : # guests\r\n"])
def test_a_colon_alone_lets_guests_in(text: str) -> None:
    users = Users.parse(text, "users")
    assert users.guests_allowed
    assert users.warnings == []


@pytest.mark.parametrize("text", ["", "#:\n", "\n\n"])
def test_a_file_without_it_does_not(text: str) -> None:
    users = Users.parse(text, "users")
    assert not users.guests_allowed
    assert refusal(users, "bob", "x") == "unknown login: bob"


def test_without_a_file_nobody_has_a_login() -> None:
    users = Users.load("")
    assert not users.has_file
    assert refusal(users, "bob", "x") == "unknown login: bob"


def test_a_file_that_cannot_be_read_names_the_option(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError) as caught:
            Users.load(str(path))
        assert caught.value.problems == [f"users.file: cannot read {path}: {reason}"]


def test_logins_own_what_begins_with_their_name() -> None:
    users = Users.load("")
    assert users.owns("bob", "bob_")
    assert users.owns("bob", "bob_x")
    for id in ("", "bob", "bobby_x", "Bob_x", "x_bob_"):
        assert not users.owns("bob", id)


def test_each_refusal_costs_a_hash_of_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: tests/soak/logins.py times it."""
    bcrypt = CryptContext(["bcrypt"]).handler("bcrypt")
    lines = [
        line_of("sha", "right", "ldap_sha1"),
        line_of("apr", "right", "apr_md5_crypt"),
        line_of("apr2", "right2", "apr_md5_crypt"),
        line_of("des", "right", "des_crypt"),
        *(f"b{rounds}:{bcrypt.using(rounds=rounds).hash('right')}" for rounds in (4, 5)),
    ]
    users = Users.parse("\n".join(lines), "users")
    verify = users_module._HASHES.verify
    spent: list[str] = []

    def counted(secret: bytes, password_hash: str) -> bool:
        spent.append(users_module._cost(password_hash))
        return bool(verify(secret, password_hash))

    monkeypatch.setattr(users_module._HASHES, "verify", counted)
    for login in ("sha", "apr", "apr2", "des", "b4", "b5", "nobody"):
        spent.clear()
        refusal(users, login, "wrong")
        assert spent == ["{SHA}", "$apr1", "DES, 13 characters", "$2b$04", "$2b$05"]
    for login in ("sha", "b4"):
        users.verify(login, "right")
    spent.clear()
    users.verify("b4", "right")
    assert spent == [], "a good pair is remembered"


def test_passwords_are_not_kept() -> None:
    users = Users.parse(line_of("bob", "hunter2hunter2", "sha512_crypt"), "users")
    users.verify("bob", "hunter2hunter2")
    assert "hunter2" not in repr(vars(users))


@pytest.mark.parametrize("text", ["", "# nobody\n", "bob secret\nx.y:z\n"])
def test_a_file_that_lets_nobody_send(text: str) -> None:
    assert (
        "users: there is no login in it and no line : for guests, so nobody may send"
        in Users.parse(text, "users").warnings
    )
    assert Users.parse(text + ":\n", "users").warnings == Users.parse(text, "users").warnings[:-1]
