"""`rplx grant`: what it prints, and what it refuses to sign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest

from rplx.cli.command import main

KEY = "0123456789abcdef0123456789abcdef"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPLX_GRANT_KEY", KEY)
    monkeypatch.setenv("RPLX_GRANT_KID", "2026a")


def made(capture: Capture, *arguments: str) -> str:
    assert main(["grant", *arguments]) == 0
    return capture.readouterr().out.removesuffix("\n")


def test_a_grant(capsys: Capture) -> None:
    token = made(capsys, "--channels", "news,user_7_*", "--seconds", "90", "--user", "7", "--info", '{"name":"Ann"}')
    claims = jwt.decode(token, KEY, ["HS256"])
    assert (claims["sub"], claims["channels"]) == ("7", ["news", "user_7_*"])
    assert (claims["exp"] - claims["iat"], claims["info"]) == (90, {"name": "Ann"})
    assert jwt.get_unverified_header(token)["kid"] == "2026a"


def test_another_key(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY[::-1])
    token = made(capsys, "--channels", "news", "--key", f"file:{file}", "--kid", "old")
    assert jwt.decode(token, KEY[::-1], ["HS256"])["channels"] == ["news"]
    assert jwt.get_unverified_header(token)["kid"] == "old"


KEYS = ("--set", "grants.keys=2026a=env:RPLX_GRANT_KEY")


def shown(capture: Capture, token: str, *options: str) -> tuple[int, dict[str, Any]]:
    status = main(["grant", "--show", token, *options])
    return status, json.loads(capture.readouterr().out)


def test_what_a_grant_holds(capsys: Capture) -> None:
    token = jwt.encode({"sub": "7", "exp": 1795498581, "channels": ["news"]}, KEY, "HS256")
    _, told = shown(capsys, token)
    assert told["claims"] == {"sub": "7", "exp": 1795498581, "channels": ["news"]}
    assert told["head"]["alg"] == "HS256"
    assert told["ends"] == "2026-11-24T05:36:21+00:00"
    assert shown(capsys, jwt.encode({}, KEY, "HS256"))[1]["ends"] == "never, so no server takes it"


def test_whether_a_grant_is_taken(capsys: Capture) -> None:
    token = made(capsys, "--channels", "news")
    status, told = shown(capsys, token, *KEYS)
    assert (status, told["refused"]) == (0, None)
    for given, options, why in [
        (token, (), "there is no key in grants.keys of this configuration"),
        (token[:-4] + "AAAA", KEYS, "its signature is wrong"),
        (token, ("--set", "grants.keys=2026b=env:RPLX_GRANT_KEY"), "no key of its name"),
        (jwt.encode({"exp": 5, "channels": []}, KEY, "HS256"), KEYS, "it has ended"),
        (token, (*KEYS, "--set", "grants.max_bytes=10"), "it is longer than 10 bytes"),
    ]:
        status, told = shown(capsys, given, *options)
        assert status == 1
        assert why in told["refused"]
    assert main(["grant", "--show", token, "--set", "grants.keys=a=env:NONE"]) == 2
    assert "is in a variable that is not set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--channels", ""], 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "" given'),
        (["--channels", "a*b"], 'A channel may have "*" at its end alone, "a*b" given'),
        (["--channels", "a", "--seconds", "0"], '"0" is not a number of seconds'),
        (["--channels", "a", "--seconds", "1e8"], "Seconds must be a number above 0, up to 31622400"),
        (["--channels", "a", "--info", "{"], "--info is no JSON"),
        (["--channels", "a", "--key", KEY], "--key names where the key is, env:NAME or file:PATH"),
        (["--channels", "a", "--key", "env:NONE"], "There is no key: the variable NONE is not set"),
        (["--show", "eyJ"], "not a grant, which has three parts"),
        ([], "one of the arguments --channels --show is required"),
    ],
)
def test_what_is_wrong(arguments: list[str], text: str, capsys: Capture) -> None:
    assert main(["grant", *arguments]) == 2
    told = capsys.readouterr()
    assert text in told.err
    assert told.out == ""
    assert KEY not in told.err
