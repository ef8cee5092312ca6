"""The identifier marker (protocol page, part 1): bytes -> ids, cursors, limiters, credentials."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.errors import BadRequest, TooLarge
from rplx.messages import Credentials, Identifiers
from rplx.protocol.identifiers import IdentifierParser, listened_to

PARSER = IdentifierParser()

# bytes, channels, limiters, credentials
MARKERS = [
    # The table of part 1.
    (b"identifier=abc", {"abc": None}, {}, None),
    (b"identifier=12345.23:abc,12345:def", {"abc": "12345.23", "def": "12345"}, {}, None),
    (b"identifier=abc,*ghi,*jkl", {"abc": None}, {"ghi": None, "jkl": None}, None),
    (b"identifier=LOGIN:PASS@abc", {"abc": None}, {}, Credentials("LOGIN", "PASS")),
    # Where it stands.
    (b"GET /?1234?identifier=a HTTP/1.1", {"a": None}, {}, None),
    (b"/?=identifier=5:a", {"a": "5"}, {}, None),
    (b"X-Realplexor: identifier=a\r\n", {"a": None}, {}, None),
    (b"a-identifier=b", {"b": None}, {}, None),
    (b"xidentifier=a identifier=b", {"b": None}, {}, None),
    (b"_identifier=a;identifier=b", {"b": None}, {}, None),
    (b"identifier=a identifier=b", {"a": None}, {}, None),
    # Items of any other form are dropped without a word.
    (b"identifier=", {}, {}, None),
    (b"identifier=,,a,,", {"a": None}, {}, None),
    (b"identifier=5:,:a,a:b,1.:c,.5:d,1.2.3:e,**f,a*,ok", {"ok": None}, {}, None),
    (b"identifier=*5:a,5:*b", {}, {"a": "5"}, None),
    (b"identifier=a b", {"a": None}, {}, None),
    (b"identifier=a&x=y", {"a": None}, {}, None),
    # The cursor stays the very text that came in.
    (b"identifier=007.500:a", {"a": "007.500"}, {}, None),
    (b"identifier=1.00000000000000000001:a", {"a": "1.00000000000000000001"}, {}, None),
    # Credentials: PASSWORD is anything without @ and white space.
    (b"identifier=me:p,a:s=s/w?\xc3\xa9@a", {"a": None}, {}, Credentials("me", "p,a:s=s/w?é")),
    (b"identifier=me:@a", {"a": None}, {}, Credentials("me", "")),
    (b"identifier=me:p w@a", {}, {}, None),
    (b"identifier=me:pw@", {}, {}, Credentials("me", "pw")),
    (b"identifier=me:pw@5:me_a,*me_b", {"me_a": "5"}, {"me_b": None}, Credentials("me", "pw")),
    # Part 7.6: of percent-decoding only these three.
    (b"identifier=5%3Aa%2C%2Ab", {"a": "5"}, {"b": None}, None),
    (b"identifier=5%3aa%2c%2ab", {"a": "5"}, {"b": None}, None),
    # Part 7.8: each id once, at the smaller cursor, compared as decimals.
    (b"identifier=5:a,6:a", {"a": "5"}, {}, None),
    (b"identifier=10:a,9:a", {"a": "9"}, {}, None),
    (b"identifier=a,9:a", {"a": "9"}, {}, None),
    (b"identifier=9:a,a", {"a": "9"}, {}, None),
    (b"identifier=1.00000000000002:a,1.00000000000001:a", {"a": "1.00000000000001"}, {}, None),
]

# What plain text says otherwise than HTTP (part 9.8).
TEXT_MARKERS = [
    (b"identifier=a-b,c", {"a": None}, {}, None),
    (b"identifier=a%62", {"a": None}, {}, None),
    (b"identifier=a.b,c", {"c": None}, {}, None),
    (b"identifier=1.0E+25:a,b", {}, {}, None),
    (b"identifier=a/b", {"a": None}, {}, None),
]
HTTP_MARKERS = [
    (b"identifier=a-b,c", {"a-b": None, "c": None}, {}, None),
    (b"identifier=room-1", {"room-1": None}, {}, None),
    (b"identifier=5.7:user.7", {"user.7": "5.7"}, {}, None),
    (b"identifier=5:a-b,*private-room-7,6:c.d", {"a-b": "5", "c.d": "6"}, {"private-room-7": None}, None),
    (b"identifier=0b5f2d3e-9c1a-4f7e-8d21-1f0a6c3b9e55", {"0b5f2d3e-9c1a-4f7e-8d21-1f0a6c3b9e55": None}, {}, None),
    (b"identifier=7.5,_-,a.", {"7.5": None, "_-": None, "a.": None}, {}, None),
    (b"identifier=me:p-w@me_a-1", {"me_a-1": None}, {}, Credentials("me", "p-w")),
    # What old clients send beside an id: other parameters, escaped commas, ends of lines, JSON around it.
    (b"identifier=5%3Aa-b%2C%2Ac&x=y", {"a-b": "5"}, {"c": None}, None),
    (b"identifier=a&", {"a": None}, {}, None),
    (b"identifier=a;b", {"a": None}, {}, None),
    (b"identifier=a%20", {"a": None}, {}, None),
    (b"identifier=a%0d%0A&x", {"a": None}, {}, None),
    (b"identifier=a-b\r\n", {"a-b": None}, {}, None),
    (b"identifier=a, b", {"a": None}, {}, None),
    (b'{"x":"identifier=a"}', {"a": None}, {}, None),
    # Cursors that are none are dropped with their item, as ever, and so is what plain text drops.
    (b"identifier=-5:a,b", {"b": None}, {}, None),
    (b"identifier=1.0E+25:a,*1e-5:c-d,b", {"b": None}, {}, None),
    (b"identifier=.a,b:c,a*,b", {"b": None}, {}, None),
]
WRONG_IDS = [
    (b"room/1", "room/1"),
    (b"a,room%201,b", "room%201"),
    (b"-room", "-room"),
    (b"a,*-b", "*-b"),
    (b"room+1", "room+1"),
    (b"room(1)", "room(1)"),
    (b"a=b", "a=b"),
    (b"%D0%B6", "%D0%B6"),
    ("5:ж".encode(), "5:\\xd0\\xb6"),
    (b"a\xff", "a\\xff"),
    (b"a%2Fb", "a%2Fb"),
    (b"user@example.com", "user@example.com"),
    (b"room-1:a", "room-1:a"),
    (b"my-login:se,cr:et@abc", "my-login:...@abc"),
    (b"login:pass@cr:et@abc", "...@abc"),
    (b"login:pass@cr:et,x@abc", "...@abc"),
    (b"login:se,cr:et%40abc", "login:...%40abc"),
    (b"login%3Ase%2Ccr%3Aet%40abc", "login:...%40abc"),
    (b"login:pass@cr:et%40abc", "...%40abc"),
    (b"a/" + b"b" * 99, "a/" + "b" * 62),
]


def in_text(data: bytes) -> Identifiers | None:
    return PARSER.in_text(data, complete=True)


def in_http_text(data: bytes) -> Identifiers | None:
    return PARSER.in_text(data, complete=True, http=True)


@pytest.mark.parametrize(("data", "cursors", "limiters", "credentials"), HTTP_MARKERS)
def test_over_http_ids_have_dots_and_dashes(
    data: bytes, cursors: dict[str, str | None], limiters: dict[str, str | None], credentials: Credentials
) -> None:
    expected = Identifiers(cursors, limiters, credentials)
    assert PARSER.in_data(data) == in_http_text(data) == expected
    assert PARSER.in_text(data + b"\n", complete=False, http=True) == expected
    if b" " not in data and b'"' not in data:
        assert PARSER.in_target(b"/?" + data) == PARSER.in_target(b"/?" + data + b"&ncrnd=1") == expected


@pytest.mark.parametrize(("data", "cursors", "limiters", "credentials"), TEXT_MARKERS)
def test_plain_text_has_the_old_ids(
    data: bytes, cursors: dict[str, str | None], limiters: dict[str, str | None], credentials: Credentials
) -> None:
    expected = Identifiers(cursors, limiters, credentials)
    assert in_text(data) == PARSER.in_text(data + b"\n", complete=False) == expected


@pytest.mark.parametrize(("items", "named"), WRONG_IDS)
@pytest.mark.parametrize("search", [PARSER.in_data, PARSER.in_target, in_http_text])
def test_what_is_no_id_is_named_and_never_cut(
    search: Callable[[bytes], Identifiers | None], items: bytes, named: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        search(b"/?identifier=" + items + b"&timeout=25")
    assert caught.value.text.startswith(f'"{named}" is no channel id')
    assert "cr:et" not in caught.value.text


@given(st.text("ab-._/%2CcAD0:@*,5+;&?# ", max_size=30))
def test_over_http_no_id_is_a_part_of_what_was_sent(items: str) -> None:
    try:
        found = PARSER.in_target(f"/?identifier={items}".encode())
    except BadRequest:
        return
    assert found is not None
    sent = re.split("[&;?# ]", items.replace("%2C", ",").replace("%2c", ",").rpartition("@")[2])[0].split(",")
    for id in [*found.cursors, *found.limiters]:
        assert (
            id in {re.sub("(%20|%0[ADad])+$", "", item).rpartition(":")[2].lstrip("*") for item in sent} or "@" in items
        )


@pytest.mark.parametrize(("data", "cursors", "limiters", "credentials"), MARKERS)
def test_marker(
    data: bytes, cursors: dict[str, str | None], limiters: dict[str, str | None], credentials: Credentials
) -> None:
    expected = Identifiers(cursors, limiters, credentials)
    assert PARSER.in_data(data) == expected
    assert in_text(data) == in_http_text(data) == expected
    assert PARSER.in_text(data + b"\n", complete=False) == expected
    assert PARSER.in_text(data + b"\r\nX: identifier=other\r\n\r\nbody", complete=False) == expected


@pytest.mark.parametrize(
    "data", [b"", b"identifier", b"identifier:a", b"identifie=a", b"Identifier=a", b"xidentifier=a", b"a1_identifier=b"]
)
def test_no_marker(data: bytes) -> None:
    assert PARSER.in_data(data) is None
    assert PARSER.in_target(b"/?" + data) is None or b"?identifier=" in b"/?" + data
    assert PARSER.in_text(data, complete=True) is None


@pytest.mark.parametrize(
    ("data", "cursors", "limiters", "credentials", "http"),
    [(*marker, http) for http in (False, True) for marker in MARKERS + (HTTP_MARKERS if http else TEXT_MARKERS)],
)
def test_a_list_that_is_cut_is_never_taken_for_a_whole_one(
    data: bytes, cursors: dict[str, str | None], limiters: dict[str, str | None], credentials: Credentials, http: bool
) -> None:
    whole = data + b"\n"
    expected = Identifiers(cursors, limiters, credentials)
    for length in range(len(whole) + 1):
        assert PARSER.in_text(whole[:length], complete=False, http=http) in (None, expected)


@given(st.text("identifr=:@,.*ab5 \n%2CA-/", max_size=60), st.text("=:@,.*ab5 \n-/", max_size=20), st.booleans())
def test_what_was_complete_stays_the_same_with_more_behind_it(text: str, more: str, http: bool) -> None:
    data = f"identifier={text}".encode()
    early = outcome(lambda: PARSER.in_text(data, complete=False, http=http))
    if early is not None:
        assert outcome(lambda: PARSER.in_text(data + more.encode(), complete=True, http=http)) == early


def outcome(search: Callable[[], Identifiers | None]) -> Identifiers | str | None:
    try:
        return search()
    except BadRequest as error:
        return error.text


class TestReferer:
    @pytest.mark.parametrize("name", [b"Referer", b"referer", b"REFERER"])
    def test_it_does_not_count(self, name: bytes) -> None:
        data = name + b": http://h/?identifier=IFRAME\r\nX: identifier=a\r\n\r\n"
        assert PARSER.in_text(data, complete=False) == Identifiers({"a": None})
        assert PARSER.in_text(b"X: y\n" + data, complete=False) == Identifiers({"a": None})
        assert PARSER.in_text(name + b": identifier=a", complete=True) is None

    def test_a_word_that_only_contains_it_does(self) -> None:
        assert PARSER.in_text(b"X-Referer: identifier=a\n", complete=False) == Identifiers({"a": None})


def test_in_a_url_an_ampersand_ends_the_password() -> None:
    assert PARSER.in_target(b"/?identifier=5:a&mail=x@y") == Identifiers({"a": "5"})
    assert PARSER.in_target(b"/?identifier=me:p@me_a&x=y") == Identifiers({"me_a": None}, {}, Credentials("me", "p"))


@pytest.mark.parametrize("word", ["identifier", "id", "x.y", "rpl_1"])
def test_the_word_is_an_option(word: str) -> None:
    parser = IdentifierParser(word)
    assert parser.in_data(b"a=b&" + word.encode() + b"=5:a") == Identifiers({"a": "5"})
    assert parser.in_data(b"idx=a xxy=b other=c") is None


class TestLimits:
    def test_ids(self) -> None:
        parser = IdentifierParser(max_ids=3)
        assert parser.in_data(b"identifier=a,b,*c,a,b") == Identifiers({"a": None, "b": None}, {"c": None})
        with pytest.raises(TooLarge, match="more than 3 channels in one list"):
            parser.in_data(b"identifier=a,b,*c,d")

    def test_length_of_an_id(self) -> None:
        parser = IdentifierParser(id_max=4)
        assert parser.in_data(b"identifier=abcd") == Identifiers({"abcd": None})
        with pytest.raises(BadRequest, match="a channel id is longer than 4 characters"):
            parser.in_data(b"identifier=abcde")


@pytest.mark.parametrize(
    ("data", "cursors"),
    [
        (b"identifier=abc,*ghi", {"abc": None, "ghi": None}),
        (b"identifier=5:a,*4:a", {"a": "4"}),
        (b"identifier=a,*4:a", {"a": "4"}),
        (b"identifier=*6:a,5:a", {"a": "5"}),
    ],
)
def test_on_wait_a_star_changes_nothing(data: bytes, cursors: dict[str, str | None]) -> None:
    found = PARSER.in_data(data)
    assert found is not None
    assert listened_to(found) == cursors
