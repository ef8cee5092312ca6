"""Logins (protocol page, part 3, "Users"): who may send, and about what a login may ask."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from passlib.hash import apr_md5_crypt, bcrypt, ldap_sha1

from rplx.access import system_crypt
from tests.lines.wire import Wire, blocks, http, settings
from tests.live import LiveServer
from tests.waiting import at_best, eventually

YESCRYPT = "$y$j9T$5cMdrvL7lAKOMBmPMynTz0$WBW7IAtcYIlusqMNvmrAmNZVbOq/1VFDkPsOdR9aKq."
MD5_CRYPT = "$1$J.90ekrq$SCDSv05h09.AJwDYyg.UA/"


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
        *settings(f"users.file={path}", "users.max_failures=0", "log.connections=true"),
        *settings("users.may_send=me=news.,me=shop_", "users.may_ask=me=stock_"),
    ) as server:
        yield Wire(server)
        assert server.process.poll() is None
        assert not [line for line in server.log if "Traceback" in line]


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
        (6, "login bad has no hash as htpasswd or crypt\\(3\\) writes them"),
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
        answer = wire.on_in(http("POST /?identifier=me:pw@me_a HTTP/1.0", b"1")).rest()
        assert re.match(rb"HTTP/1\.0 429 [^\0]*\r\nRetry-After: 6[1-5]\r\n\r\n", answer)


def answer_to(wire: Wire, login: str, password: str, source: str = "127.0.0.1") -> bytes:
    """The answer to a send to LOGIN_a from an address."""
    with socket.create_connection(wire.in_, timeout=120, source_address=(source, 0)) as sock:
        sock.sendall(http(f"POST /?identifier={login}:{password}@5:{login}_a HTTP/1.0", b"1"))
        return b"".join(iter(lambda: sock.recv(1000), b""))


TOO_MANY = b"\r\n\r\ntoo many failed logins from this address; wait a minute\n"


def test_failures_count_for_their_login_and_address_alone(tmp_path: Path) -> None:
    """10 a minute, as a configuration without the option has it; then 429, also for a right password."""
    with LiveServer("--set", f"users.file={users_file(tmp_path, 'me:{me}', 'you:{me}')}") as server:
        wire = Wire(server)
        for _ in range(10):
            assert answer_to(wire, "me", "x") == refused("invalid password for login: me")
        for password in ("x", "pw"):
            answer = answer_to(wire, "me", password)
            assert answer.startswith(b"HTTP/1.0 429 Too Many Requests\r\n")
            assert answer.endswith(TOO_MANY)
        assert wire.poll("1:me_a") == b""
        assert answer_to(wire, "you", "pw").startswith(b"HTTP/1.0 200 ")
        assert answer_to(wire, "me", "pw", "127.0.0.2").startswith(b"HTTP/1.0 200 ")


def test_unknown_logins_count_as_one(tmp_path: Path) -> None:
    with LiveServer("--set", f"users.file={users_file(tmp_path, 'me:{me}')}") as server:
        wire = Wire(server)
        for number in range(10):
            assert answer_to(wire, f"u{number}", "x") == refused(f"unknown login: u{number}")
        assert answer_to(wire, "u11", "x").endswith(TOO_MANY)
        assert answer_to(wire, "me", "pw").startswith(b"HTTP/1.0 200 ")


def test_guessing_at_all_logins_of_an_address_is_bounded(tmp_path: Path) -> None:
    """Past ten times the limit each login has one guess, which leaves the right ones in."""
    logins = [f"u{number}" for number in range(30)]
    users = users_file(tmp_path, *[f"{login}:{{me}}" for login in logins])
    with LiveServer(*settings(f"users.file={users}", "users.max_failures=2")) as server:
        wire = Wire(server)
        guesses = [answer_to(wire, login, "x").endswith(TOO_MANY) for _ in range(2) for login in logins[:25]]
        assert guesses == [False] * 20 + [False] * 5 + [True] * 25
        assert answer_to(wire, logins[28], "x") == refused("invalid password for login: u28")
        assert answer_to(wire, logins[28], "x").endswith(TOO_MANY)
        assert answer_to(wire, logins[29], "pw").startswith(b"HTTP/1.0 200 ")


def test_who_was_let_in_stays_in_over_a_reload(tmp_path: Path) -> None:
    """A login whose line is the same; one whose password is another has to show it anew."""
    users = users_file(tmp_path, "me:{me}", "you:{me}")
    with LiveServer(*settings(f"users.file={users}", "users.max_failures=2")) as server:
        wire = Wire(server)
        for login in ("me", "you"):
            assert answer_to(wire, login, "pw").startswith(b"HTTP/1.0 200 ")
            for _ in range(2):
                answer_to(wire, login, "x")
        file = Path(users)
        lines = file.read_text().splitlines()
        file.write_text("\n".join(["# changed", lines[0], f"you:{bcrypt.using(rounds=4).hash('other')}"]) + "\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: answer_to(wire, "you", "pw").endswith(TOO_MANY), True)
        assert answer_to(wire, "me", "pw").startswith(b"HTTP/1.0 200 ")


def test_polls_and_sends_go_on_while_passwords_are_checked(tmp_path: Path) -> None:
    """The hashes are computed in threads: with a second's work each under way, all else is answered first."""
    slow = bcrypt.using(rounds=13).hash("pw")
    users = users_file(tmp_path, ":", f"slow:{slow}")
    with LiveServer("--set", f"users.file={users}", "--set", "log.connections=true") as server:
        at_best(lambda: guesses(server))


def guesses(server: LiveServer) -> None:
    wire = Wire(server)
    id = wire.prefix()
    guess = wire.on_in(http("POST /?identifier=slow:x@slow_a HTTP/1.0", b"1"))
    server.wait_for(f"{guess.peer}: DEBUG: read")
    for number in range(5):
        wire.send(f"{number + 5}:{id}", "1")
        assert f'"{number + 5}"'.encode() in wire.poll(f"{number + 4}:{id}")
    assert guess.waits(0), "the hash was faster than five sends and polls"
    assert guess.rest() == refused("invalid password for login: slow")


def own_address() -> str:
    """The address by which this machine would go out; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("198.51.100.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(sock.getsockname()[0])


OWN_ADDRESS = own_address()
needs_network = pytest.mark.skipif(OWN_ADDRESS.startswith("127."), reason="the machine has no address but loopback")


@needs_network
class TestGuestsFromElsewhere:
    """On an address that others reach: who does not come by loopback is elsewhere."""

    EVERYWHERE = ("--wait", "127.0.0.1:0", "--in", "0.0.0.0:0")

    def send(self, server: LiveServer, host: str) -> bytes:
        with socket.create_connection((host, server.in_[1]), timeout=120) as sock:
            sock.sendall(http("POST /?identifier=5:a HTTP/1.0", b"1"))
            return b"".join(iter(lambda: sock.recv(1000), b""))

    def test_only_the_machine_itself_may_send(self) -> None:
        with LiveServer(*self.EVERYWHERE, addresses=False) as server:
            server.wait_for(r"IN: there is no users file \(users\.file\), so the machine itself may send without")
            assert self.send(server, OWN_ADDRESS) == refused("access denied for guest user")
            assert self.send(server, "127.0.0.1").startswith(b"HTTP/1.0 200 ")

    @pytest.mark.parametrize("guests", [True, False])
    def test_unless_the_users_file_says_otherwise(self, tmp_path: Path, guests: bool) -> None:
        users = users_file(tmp_path, "me:{me}", ":" * guests)
        with LiveServer(*self.EVERYWHERE, "--set", f"users.file={users}", addresses=False) as server:
            for host in (OWN_ADDRESS, "127.0.0.1"):
                answer = self.send(server, host)
                assert (
                    answer.startswith(b"HTTP/1.0 200 ") if guests else answer == refused("access denied for guest user")
                )
            assert not [line for line in server.log if "there is no users file" in line]

    def test_or_the_operator(self) -> None:
        with LiveServer(*self.EVERYWHERE, "--set", "in.guests_loopback_only=false", addresses=False) as server:
            server.wait_for(r"so EVERY machine that can connect may send without a password$")
            assert self.send(server, OWN_ADDRESS).startswith(b"HTTP/1.0 200 ")


def test_who_was_let_in_is_not_locked_out_by_others(tmp_path: Path) -> None:
    options = ("--set", f"users.file={users_file(tmp_path, 'me:{me}')}", "--set", "users.max_failures=3")
    with LiveServer(*options) as server:
        wire = Wire(server)
        wire.send("me:pw@5:me_a", "1")
        for _ in range(4):
            wire.ask(b"identifier=me:x@me_a\n\n1")
        wire.send("me:pw@6:me_a", "2")
        assert b'"6"' in wire.poll("5:me_a")


def test_hashes_of_crypt_let_in(tmp_path: Path) -> None:
    """Of the system's own library, and of forms that no htpasswd writes."""
    if not system_crypt.takes(YESCRYPT):
        pytest.skip("this system has no libxcrypt")
    with LiveServer(*settings(f"users.file={users_file(tmp_path, f'me:{YESCRYPT}', f'you:{MD5_CRYPT}')}")) as server:
        wire = Wire(server)
        for login in ("me", "you"):
            assert answer_to(wire, login, "x") == refused(f"invalid password for login: {login}")
            assert answer_to(wire, login, "s:cret").startswith(b"HTTP/1.0 200 ")


def test_further_prefixes_of_a_login(wire: Wire) -> None:
    answer = wire.ask(b"identifier=me:pw@5:news.1,5:shop_1,5:me_1,5:stock_1,5:newsx,5:you_1\n\n7")
    assert answer == b""
    assert wire.poll("0:stock_1,0:you_1,0:newsx") == b""
    assert wire.poll("0:shop_1,0:me_1") == blocks(({"me_1": "5", "shop_1": "5"}, "7"))
    listeners = [wire.listen(id) for id in ("stock_9", "shop_9", "me_9")]
    command = "X-Realplexor: identifier=me:pw@\n\nONLINE stock_9 shop_9 me_9\n\n"
    eventually(lambda: wire.command(command) == "me_9 1\nstock_9 1\n")
    for listener in listeners:
        listener.close()
