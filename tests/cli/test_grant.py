"""`rplx grant`: what it prints, and what it refuses to sign."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_what_a_grant_holds(capsys: Capture) -> None:
    token = jwt.encode({"sub": "7", "exp": 1795498581, "channels": ["news"]}, KEY, "HS256")
    shown = json.loads(made(capsys, "--show", token))
    assert shown["claims"] == {"sub": "7", "exp": 1795498581, "channels": ["news"]}
    assert shown["head"]["alg"] == "HS256"
    assert shown["ends"] == "2026-11-24T05:36:21+00:00"
    assert json.loads(made(capsys, "--show", jwt.encode({}, KEY, "HS256")))["ends"] == "never, so no server takes it"


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
