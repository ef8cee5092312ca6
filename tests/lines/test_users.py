"""Logins (protocol page, part 3, "Users"): who may send, and about what a login may ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from passlib.hash import apr_md5_crypt, ldap_sha1

from tests.lines.wire import Wire, blocks, http
from tests.live import LiveServer


def users_file(folder: Path, *lines: str) -> str:
    file = folder / "users"
    hashes = {"{me}": apr_md5_crypt.hash("pw"), "{you}": ldap_sha1.hash("p:w")}
    text = "\n".join(lines)
    for name, hashed in hashes.items():
        text = text.replace(name, hashed)
    file.write_text(text + "\n")
    return str(file)


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """Logins me and you, no guests."""
    path = users_file(
        tmp_path_factory.mktemp("users"),
        "# who may",
        "me:{me}  # a comment",
        "",
        "no-login:{me}",
        "you:{you}",
        "bad:plain",
        "nocolon",
    )
    with LiveServer(
        "--set", f"users.file={path}", "--set", "users.max_failures=0", "--set", "log.connections=true"
    ) as server:
        yield Wire(server)
        assert server.process.poll() is None


def refused(text: str) -> bytes:
    return b"HTTP/1.0 403 Access Deined\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (
        len(text) + 1,
        f"{text}\n".encode(),
    )


REFUSALS = [
    ("identifier=me_a", "access denied for guest user"),
    ("identifier=nobody:pw@me_a", "unknown login: nobody"),
    ("identifier=me:wrong@me_a", "invalid password for login: me"),
    ("identifier=me:@me_a", "invalid password for login: me"),
    ("identifier=me:PW@me_a", "invalid password for login: me"),
    ("identifier=you:p@you_a", "invalid password for login: you"),
    ("identifier=bad:plain@bad_a", "unknown login: bad"),
]


@pytest.mark.parametrize(("marker", "text"), REFUSALS)
def test_refusals(wire: Wire, marker: str, text: str) -> None:
    """In plain text too, byte for byte; over HTTP with the same words."""
    assert wire.ask(f"{marker}\n\n1".encode()) == refused(text)
    assert wire.on_in(http(f"POST /?{marker} HTTP/1.0", b"1")).rest() == refused(text)
    assert wire.on_in(http(f"POST / HTTP/1.0\nX-Realplexor: {marker}", b"1")).rest() == refused(text)
    empty = marker.rpartition("@")[0] + "@" if "@" in marker else "identifier="
    for command in ("ONLINE", "WATCH", "STATS"):
        assert wire.ask(f"X-Realplexor: {empty}\n\n{command}\n\n".encode()) == refused(text)
    assert wire.poll("1:me_a,1:you_a,1:bad_a") == b""


def test_http_1_1_gets_the_same_status_line_words(wire: Wire) -> None:
    head, text = wire.on_in(http("POST /?identifier=me:wrong@me_a HTTP/1.1\nHost: h", b"1")).answer()
    assert head.split(b"\r\n")[0].split(b" ", 1)[1] == b"403 Access Deined"
    assert text == b"invalid password for login: me\n"


def test_a_login_sends_to_its_own_ids(wire: Wire) -> None:
    receipt = wire.on_in(http("POST /?identifier=me:pw@5:me_x1,5:you_x1,5:mex1,5:me HTTP/1.1\nHost: h", b"1")).answer()[
        1
    ]
    assert receipt == b"me_x1 5\n"
    for id in ("you_x1", "me_x1", "mex1"):
        wire.server.wait_for(r"skipping not owned \[you_x1\] for login me$")
        assert wire.poll(f"1:{id}") == (blocks(({"me_x1": "5"}, "1")) if id == "me_x1" else b"")


def test_nothing_owned_is_an_empty_receipt(wire: Wire) -> None:
    assert wire.on_in(http("POST /?identifier=me:pw@5:you_x2 HTTP/1.1\nHost: h", b"1")).answer()[1] == b""
    assert wire.poll("1:you_x2") == b""


def test_a_password_with_a_colon(wire: Wire) -> None:
    wire.send("you:p:w@5:you_x3", "1")
    assert wire.poll("1:you_x3") == blocks(({"you_x3": "5"}, "1"))


def test_browsers_need_no_login(wire: Wire) -> None:
    listener = wire.listen("5:me_x4")
    wire.send("me:pw@6:me_x4", "1")
    assert listener.rest() == blocks(({"me_x4": "6"}, "1"))


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("ONLINE me_y", "me_yone 1\n"),
        ("ONLINE you_y me_yo", "me_yone 1\n"),
        ("ONLINE me", ""),
        ("ONLINE you_", ""),
        ("ONLINE", ""),
        ("STATS", ""),
    ],
)
def test_a_login_asks_about_its_own(wire: Wire, command: str, answer: str) -> None:
    listener = wire.listen("me_yone,you_yone")
    assert wire.command(f"X: identifier=me:pw@\n\n{command}\n\n") == answer
    listener.close()


def test_a_login_watches_its_own(wire: Wire) -> None:
    ask = "X: identifier=me:pw@\n\nWATCH{}\n\n"
    start = wire.command(ask.format(""))
    assert start.startswith("FAKE ")
    position = start[5:].partition(":")[0]
    listener = wire.listen("me_z,you_z")
    assert wire.command(ask.format(f" {position} me_ you_")).startswith("online ")
    assert wire.command(ask.format(f" {position} me_ you_")).endswith(":me_z\n")
    assert wire.command(ask.format(f" {position} me_ you_")).count("\n") == 1
    assert wire.command(ask.format(f" {position} you_")) == ""
    assert wire.command(ask.format(f" {position}")) == ""
    listener.close()


def test_bad_lines_are_told_and_skipped(wire: Wire) -> None:
    for number, text in (
        (4, 'login "no-login" must be letters and digits'),
        (6, "login bad has no hash as htpasswd writes them"),
        (7, "not of the form login:hash"),
    ):
        wire.server.wait_for(rf"users:{number}: {text}, line skipped$")


def test_guests_where_the_file_says_so(tmp_path: Path) -> None:
    with LiveServer("--set", f"users.file={users_file(tmp_path, ':', 'me:{me}')}") as server:
        wire = Wire(server)
        wire.send("5:a", "1")
        assert wire.poll("1:a") == blocks(({"a": "5"}, "1"))
        assert wire.ask(b"identifier=me:x@me_a\n\n1") == refused("invalid password for login: me")
        assert wire.command("ONLINE a\n\n") == "a 0\n"


def test_too_many_wrong_passwords(tmp_path: Path) -> None:
    options = ("--set", f"users.file={users_file(tmp_path, 'me:{me}')}", "--set", "users.max_failures=3")
    with LiveServer(*options) as server:
        wire = Wire(server)
        for _ in range(3):
            assert wire.ask(b"identifier=me:x@me_a\n\n1") == refused("invalid password for login: me")
        assert wire.on_in(http("POST /?identifier=me:pw@me_a HTTP/1.0", b"1")).rest().startswith(b"HTTP/1.0 429 ")


def test_who_was_let_in_is_not_locked_out_by_others(tmp_path: Path) -> None:
    options = ("--set", f"users.file={users_file(tmp_path, 'me:{me}')}", "--set", "users.max_failures=3")
    with LiveServer(*options) as server:
        wire = Wire(server)
        wire.send("me:pw@5:me_a", "1")
        for _ in range(4):
            wire.ask(b"identifier=me:x@me_a\n\n1")
        wire.send("me:pw@6:me_a", "2")
        assert b'"6"' in wire.poll("5:me_a")
