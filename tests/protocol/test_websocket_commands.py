"""What is said over a WebSocket: commands, right and wrong, and the texts and closes that answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.errors import (
    BadRequest,
    Ending,
    Forbidden,
    HeadTooLarge,
    Refusal,
    TooLarge,
    TooManyRequests,
    Unavailable,
)
from rplx.protocol.websocket import REASON_MAX
from rplx.protocol.websocket_commands import Command, CommandParser, at, close_of, gap, opened

PARSER = CommandParser(max_ids=3, id_max=8)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"listen":{"news":null}}', Command({"news": None})),
        ('{"listen":{"news":null,"chat_7":"1795494981.1"}}', Command({"news": None, "chat_7": "1795494981.1"})),
        ('{"listen":{"a.b-c":"20"},"grant":"eyJ"}', Command({"a.b-c": "20"}, grant="eyJ")),
        (' {"stop" : ["news", "b"] }\n', Command(stop=("news", "b"))),
        ('{"grant":"eyJ"}', Command(grant="eyJ")),
        ('{"grant":null,"stop":["a"]}', Command(stop=("a",))),
        ('{"listen":{"a":null},"stop":["b"]}', Command({"a": None}, ("b",))),
        ('{"listen":{}}', Command()),
        ('{"listen":{"12345678":"0"}}', Command({"12345678": "0"})),
        ('{"listen":{"a":"%s"}}' % ("9" * 64), Command({"a": "9" * 64})),
    ],
)
def test_commands(text: str, command: Command) -> None:
    assert PARSER.parse(text) == command


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("listen", "not JSON"),
        ('{"listen":{"a":NaN}}', "not JSON"),
        ("[" * 60000, "not JSON"),
        ("9" * 60000, "not JSON"),
        ("[]", "looks like"),
        ("{}", "looks like"),
        ("null", "looks like"),
        ('"listen"', "looks like"),
        ('{"lsten":{}}', '"lsten" is no command'),
        ('{"\\ud800\\n":{}}', '"\\ud800\\n" is no command'),
        ('{"listen":["a"]}', '"listen" is not'),
        ('{"listen":null}', '"listen" is not'),
        ('{"stop":{"a":1}}', '"stop" is not'),
        ('{"stop":"a"}', '"stop" is not'),
        ('{"grant":1}', '"grant" is not'),
        ('{"listen":{"a b":null}}', '"a b" is no channel id'),
        ('{"listen":{"":null}}', '"" is no channel id'),
        ('{"listen":{".a":null}}', '".a" is no channel id'),
        ('{"listen":{"a\\n":null}}', '"a\\n" is no channel id'),
        ('{"listen":{"\\ud800":null}}', '"\\ud800" is no channel id'),
        ('{"stop":[1]}', "1 is no channel id"),
        ('{"stop":[["a"]]}', "is no channel id"),
        ('{"listen":{"123456789":null}}', "longer than 8"),
        ('{"listen":{"a":1795494981.1}}', 'cursor of "a"'),
        ('{"listen":{"a":""}}', 'cursor of "a"'),
        ('{"listen":{"a":"1."}}', 'cursor of "a"'),
        ('{"listen":{"a":"-1"}}', 'cursor of "a"'),
        ('{"listen":{"a":"1e5"}}', 'cursor of "a"'),
        ('{"listen":{"a":"1\\n"}}', 'cursor of "a"'),
        ('{"listen":{"a":"١"}}', 'cursor of "a"'),
        ('{"listen":{"a":"%s"}}' % ("9" * 65), 'cursor of "a"'),
    ],
)
def test_wrong_commands(text: str, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        PARSER.parse(text)
    assert said in caught.value.text
    close_of(caught.value)[1].encode()


def test_too_many_channels() -> None:
    for text in ('{"listen":{"a":null,"b":null,"c":null,"d":null}}', '{"stop":["a","a","a","a"]}'):
        with pytest.raises(TooLarge, match="more than 3 channels"):
            PARSER.parse(text)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["listen", "stop", "grant", "a"]), inner),
    )
)
def test_whatever_comes_is_a_command_or_refused(value: object) -> None:
    try:
        command = PARSER.parse(json.dumps(value))
    except (BadRequest, TooLarge):
        return
    assert len(command.listen) <= 3


def test_what_is_sent() -> None:
    assert opened("1795494981.000000", []) == b'{"open":"1795494981.000000","gaps":[]}'
    assert opened("1.5", ["a", "b"]) == b'{"open":"1.5","gaps":["a","b"]}'
    assert gap(["news"]) == b'{"gap":["news"]}'
    assert at("1795494999.000000:*,5:a") == b'{"at":"1795494999.000000:*,5:a"}'


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (BadRequest("no"), 4000, {"code": "bad_request", "text": "no"}),
        (Forbidden("no"), 4003, {"code": "forbidden", "text": "no"}),
        (TooLarge("much"), 4013, {"code": "too_large", "text": "much"}),
        (HeadTooLarge("much"), 4031, {"code": "head_too_large", "text": "much"}),
        (TooManyRequests("later"), 4129, {"retry": 7, "code": "too_many_requests", "text": "later"}),
        (Unavailable("later"), 4103, {"retry": 7, "code": "unavailable", "text": "later"}),
        (Ending(), 4200, {"retry": 7, "code": "ending"}),
    ],
)
def test_closes(error: Refusal, code: int, reason: dict[str, object]) -> None:
    found, text = close_of(error, 7)
    assert (found, json.loads(text)) == (code, reason)


@given(st.text(max_size=300))
def test_a_reason_is_whole_json_whatever_it_says(text: str) -> None:
    for error in (BadRequest(text), Unavailable(text)):
        reason = close_of(error, 300)[1]
        assert len(reason.encode()) <= REASON_MAX
        assert text.startswith(json.loads(reason)["text"])
