"""One IN request -> Send, Online, Watch or Stats (protocol page, part 3), and what is strict JSON (part 7.5)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.errors import BadRequest, Forbidden, Refusal
from rplx.messages import Command, Credentials, Identifiers, Online, Send, Stats, Watch
from rplx.protocol.commands import EmptyBody, check_json, command_of_http, command_of_text, early_command
from rplx.protocol.http_requests import RequestReader
from rplx.protocol.identifiers import IdentifierParser

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


GOOD_JSON = [
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0",
    b"1.5e+10",
    b"1E-2",
    b"123456789012345678901234567890",
    b"1e999",
    b'""',
    b'"\\u00e9\\n\\"\\/\\ud83d\\ude00"',
    '"é☃😀"'.encode(),
    b"[]",
    b"[1, [2, {}]]",
    b"{}",
    b'{"a": {"b": [null]}, "a": 1}',
    b' \t\r\n{"a":1}\r\n',
    b'"\x7f"',
    b'"\\u0000"',
    b'"\xe2\x80\xa8"',
    b"[" * 200 + b"]" * 200,
    b"9" * 5000,
]
BAD_JSON = [
    b"",
    b" ",
    b"hello",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"[NaN]",
    b"nul",
    b"True",
    b"01",
    b"-01",
    b"+1",
    b"1.",
    b".5",
    b"1e",
    b"0x10",
    b"--1",
    b"'a'",
    b'"a',
    b'"a\nb"',
    b'"\t"',
    b'"\x00"',
    b'"\\x41"',
    b'"\\u12"',
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    b"{a: 1}",
    b'{"a"}',
    b'{"a":1,}',
    b"{1:2}",
    b"{} {}",
    b"1 2",
    b"null;",
    b"// c\n1",
    b"/**/1",
    b"]",
    b"\xff",
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b"\xef\xbb\xbf{}",
    b"\x0c1",
    b"\xc2\xa01",
    "\u00a01".encode(),
    b"[" * 100_000,
    b"1\x00",
    "１".encode(),
    "-٣".encode(),
]


@pytest.mark.parametrize("data", GOOD_JSON, ids=lambda data: repr(data[:30]))
def test_strict_json(data: bytes) -> None:
    check_json(data)


@pytest.mark.parametrize("data", BAD_JSON, ids=lambda data: repr(data[:30]))
def test_not_json(data: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        check_json(data)
    assert caught.value.text.startswith(("the message is not", "the message is nested"))
    assert "\n" not in caught.value.text
    assert not caught.value.closes


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_what_json_writes_is_json(value: object, ascii_only: bool, indent: int | None) -> None:
    try:
        data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8
        return
    check_json(data)


@given(values.filter(lambda value: isinstance(value, (list, dict, str))), st.data())
def test_a_cut_text_is_not(value: object, data: st.DataObject) -> None:
    text = json.dumps(value).encode()
    with pytest.raises(BadRequest):
        check_json(text[: data.draw(st.integers(0, len(text) - 1))])
