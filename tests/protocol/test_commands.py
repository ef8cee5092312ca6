"""One IN request -> Send, Online, Watch or Stats (protocol page, part 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.errors import BadRequest, Forbidden, Refusal
from rplx.messages import Command, Credentials, Identifiers, Online, Send, Stats, Watch
from rplx.protocol.commands import EmptyBody, command_of_http, command_of_text, early_command
from rplx.protocol.identifiers import IdentifierParser
from rplx.protocol.request_reader import RequestReader

PARSER = IdentifierParser()
ME = Credentials("me", "pw")

# The whole of a plain text request, and what it asks for.
TEXTS: list[tuple[bytes, Command]] = [
    (b"identifier=abc\n\n{}", Send(Identifiers({"abc": None}), b"{}")),
    (b"X-Realplexor: identifier=5:abc,*d\r\n\r\n{}\r\n", Send(Identifiers({"abc": "5"}, {"d": None}), b"{}\r\n")),
    (b"a: b\r\nidentifier=abc\n\na\n\nb", Send(Identifiers({"abc": None}), b"a\n\nb")),
    (b"identifier=me:pw@me_a\n\n1", Send(Identifiers({"me_a": None}, {}, ME), b"1")),
    # Never inside the body of a send (part 7.9).
    (b"identifier=abc\n\nONLINE\n\n", Send(Identifiers({"abc": None}), b"ONLINE\n\n")),
    (b"identifier=abc\n\nidentifier=def", Send(Identifiers({"abc": None}), b"identifier=def")),
    (b"identifier=abc\n\n", Send(Identifiers({"abc": None}), b"")),
    # At the very start of the data.
    (b"ONLINE", Online()),
    (b"online ", Online()),
    (b"Online\n", Online()),
    (b"oNLINE\r\n\r\n", Online()),
    (b"ONLINE a b_\n\n", Online(("a", "b_"))),
    (b"ONLINE  a\t b \r\n\r\n", Online(("a", "b"))),
    (b"WATCH", Watch()),
    (b"watch 0", Watch("0")),
    (b"WATCH 12 a b\n\n", Watch("12", ("a", "b"))),
    (b"WATCH x\n\n", Watch("x")),
    (b"STATS\n\n", Stats()),
    (b"stats", Stats()),
    # Right behind the first blank line.
    (b"identifier=me:pw@\n\nONLINE", Online((), ME)),
    (b"X-Realplexor: identifier=me:pw@\r\n\r\nONLINE me_ other\r\n\r\n", Online(("me_", "other"), ME)),
    (b"X: y\n\nwatch 3", Watch("3")),
    (b"identifier=\n\nSTATS\n", Stats()),
    (b"\nONLINE", Online()),
]


@pytest.mark.parametrize(("data", "command"), TEXTS)
def test_plain_text(data: bytes, command: Command) -> None:
    assert command_of_text(data, PARSER) == command


@pytest.mark.parametrize(("data", "command"), TEXTS)
def test_an_early_command_is_the_whole_one(data: bytes, command: Command) -> None:
    """A command ended by a blank line is carried out before the half-close; it never is another one than later."""
    for length in range(len(data) + 1):
        early = early_command(data[:length], PARSER)
        assert early is None or early == command
        assert early is None or not isinstance(command, Send)
    ended = data.endswith((b"\n\n", b"\r\n\r\n"))
    if ended and not isinstance(command, Send):
        assert early_command(data, PARSER) == command


@given(st.text("ONLINEonlinewatch STATS=:@,\r\nidentifier=ab1", max_size=50), st.text("ONLINE \n\rab=", max_size=20))
def test_what_is_early_stays_what_it_is(text: str, more: str) -> None:
    try:
        early = early_command(text.encode(), PARSER)
    except Refusal:
        return
    if early is not None:
        assert early_command((text + more).encode(), PARSER) == early
        assert command_of_text((text + more).encode(), PARSER) == early


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (b"identifier=abc", EmptyBody, "passed empty HTTP body, ignored"),
        (b"identifier=abc\n", EmptyBody, "passed empty HTTP body, ignored"),
        (b"hello", EmptyBody, "passed empty HTTP body, ignored"),
        (b"ONLINES", EmptyBody, "passed empty HTTP body, ignored"),
        (b"identifier=\n\n", BadRequest, "no channel given"),
        (b"{}\n\n{}", BadRequest, "no channel given, and no command (ONLINE, WATCH or STATS)"),
        (b"X: y\n\nONLINES\n\n", BadRequest, "no channel given, and no command (ONLINE, WATCH or STATS)"),
        (b"X: y\n\n", BadRequest, "no channel given"),
        (b"Referer: identifier=a\n\n{}", BadRequest, "no channel given, and no command (ONLINE, WATCH or STATS)"),
        (b"X: y\n\n\nONLINE", BadRequest, "no channel given, and no command (ONLINE, WATCH or STATS)"),
    ],
)
def test_what_is_refused(data: bytes, error: type[Refusal], text: str) -> None:
    with pytest.raises(error) as caught:
        command_of_text(data, PARSER)
    assert type(caught.value) is error
    assert caught.value.text == text


def http(head: str, body: bytes = b"", target: str = "/") -> Command:
    lines = "".join(f"{line}\r\n" for line in head.split("\n") if line)
    request = f"POST {target} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
    return command_of_http(RequestReader(9999, 9999, need_host=False).feed(request)[0], PARSER)


class TestHttp:
    def test_where_the_marker_counts(self) -> None:
        expected = Send(Identifiers({"a": "5"}), b"{}")
        assert http("X-Realplexor: identifier=5:a", b"{}") == expected
        assert http("x-REALPLEXOR: identifier=5:a", b"{}") == expected
        assert http("", b"{}", "/?identifier=5:a") == expected
        assert http("", b"identifier=5:a\n\n{}") == expected
        assert http("X-Realplexor: identifier=5:a", b"{}", "/?identifier=b") == expected

    @pytest.mark.parametrize("list_", ["", "*a", "-5:a", "x:a", ",", "dk:p@"])
    def test_an_empty_list_in_the_old_place_is_a_send_to_nobody(self, list_: str) -> None:
        for command in (
            http(f"X-Realplexor: identifier={list_}", b"hello"),
            command_of_text(f"identifier={list_}\n\nhello".encode(), PARSER),
            command_of_text(f"X-Realplexor: identifier={list_}\r\n\r\nhello".encode(), PARSER),
        ):
            assert isinstance(command, Send)
            assert command.identifiers.cursors == {}
            assert command.data == b"hello"

    @pytest.mark.parametrize("list_", ["", "*a", "-5:a", "dk:p@"])
    def test_elsewhere_it_is_a_mistake(self, list_: str) -> None:
        with pytest.raises(BadRequest, match="no channel given, and no command"):
            http("", b"{}", f"/?identifier={list_}")

    @pytest.mark.parametrize("head", ["Cookie: identifier=a", "X-Other: identifier=a", "Host: identifier=a"])
    def test_where_it_does_not(self, head: str) -> None:
        with pytest.raises(BadRequest, match="no channel given"):
            http(head, b"{}")

    @pytest.mark.parametrize(
        "head", ["Origin: http://h", "Referer: http://h", "origin: null", "sec-fetch-site: x", "Sec-Fetch-Site: none"]
    )
    def test_a_browser_is_no_back_end(self, head: str) -> None:
        with pytest.raises(Forbidden):
            http(f"X-Realplexor: identifier=a\n{head}", b"{}")

    def test_commands(self) -> None:
        assert http("", b"ONLINE a") == Online(("a",))
        assert http("X-Realplexor: identifier=me:pw@", b"WATCH 3 me_\n") == Watch("3", ("me_",), ME)
        assert http("X-Realplexor: identifier=", b"stats") == Stats()
        assert http("X-Realplexor: identifier=a", b"ONLINE") == Send(Identifiers({"a": None}), b"ONLINE")
