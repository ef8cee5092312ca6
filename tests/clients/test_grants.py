"""What makes grants (protocol page, part 12): its tokens are those that the JWT libraries of others verify."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest

import rplx
from rplx.client import InvalidArgument
from rplx.client.grants import contents
from tests.clients.node import JS, needs_node

KEY = "0123456789abcdef0123456789abcdef"
CHANNELS = ["news", "chat_7", "user_42_*"]
INFO = {"name": "Änn", "url": "a/b?c"}
PHP = Path(__file__).resolve().parents[2] / "php"

BY_PHP = """
require $argv[1] . '/src/autoload.php';
[$user, $channels, $seconds, $options] = json_decode($argv[2], true);
echo Rplx\\Grant::make($user, $channels, $seconds, $options);
"""
BY_JOSE = """
import { jwtVerify } from 'jose';
const { payload, protectedHeader } = await jwtVerify(process.argv[1], new TextEncoder().encode(process.argv[2]),
  { algorithms: ['HS256'], requiredClaims: ['exp', 'iat', 'sub'] });
console.log(JSON.stringify([protectedHeader, payload]));
"""


def by_python() -> str:
    return rplx.grant("42", CHANNELS, seconds=60, key=KEY, kid="2026a", info=INFO)


def by_php() -> str:
    if not shutil.which("php"):
        pytest.skip("needs php")
    arguments = json.dumps(["42", CHANNELS, 60, {"key": KEY, "kid": "2026a", "info": INFO}])
    return subprocess.run(
        ["php", "-r", BY_PHP, "--", PHP, arguments], capture_output=True, text=True, check=True
    ).stdout


def by_pyjwt(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, KEY, ["HS256"], {"require": ["exp", "iat", "sub"]})


def by_jose(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    command = ["node", "--input-type=module", "-e", BY_JOSE, token, KEY]
    done = subprocess.run(command, cwd=JS, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    head, claims = json.loads(done.stdout)
    return head, claims


@pytest.mark.parametrize("verify", [by_pyjwt, pytest.param(by_jose, marks=needs_node)])
@pytest.mark.parametrize("make", [by_python, by_php])
def test_a_grant_is_verified_by_others(make: Callable[[], str], verify: Callable[..., Any]) -> None:
    token = make()
    head, claims = verify(token)
    assert head == {"alg": "HS256", "typ": "JWT", "kid": "2026a"}
    made = claims["iat"]
    assert claims == {"sub": "42", "exp": made + 60, "iat": made, "channels": CHANNELS, "info": INFO}
    assert abs(time.time() - made) < 600
    assert contents(token) == (head, claims)


def test_a_grant_of_another_key_is_not() -> None:
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(by_python(), KEY[::-1], ["HS256"])


@pytest.mark.parametrize("key", [KEY, KEY.encode(), "env:ELSEWHERE", "file:{tmp_path}/key", None])
def test_where_the_key_is(key: str | bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE", KEY)
    monkeypatch.setenv("RPLX_GRANT_KEY", KEY)
    monkeypatch.setenv("RPLX_GRANT_KID", "2026a")
    (tmp_path / "key").write_text(KEY + "\n")
    token = rplx.grant(7, "a", key=key.format(tmp_path=tmp_path) if isinstance(key, str) else key)
    assert jwt.decode(token, KEY, ["HS256"])["sub"] == "7"
    # The id that the environment gives belongs to its key alone.
    assert jwt.get_unverified_header(token).get("kid") == ("2026a" if key is None else None)


@pytest.mark.parametrize(
    ("channels", "held"),
    [("news", ["news"]), (7, ["7"]), (["a", "b", "a"], ["a", "b"]), ({"a.b-c": None}, ["a.b-c"]), ("*", ["*"])],
)
def test_channels(channels: Any, held: list[str]) -> None:
    assert contents(rplx.grant(None, channels, key=KEY))[1]["channels"] == held


def test_nobody_and_the_usual_time() -> None:
    head, claims = contents(rplx.grant(None, "a", key=KEY))
    assert (head, claims["exp"] - claims["iat"]) == ({"alg": "HS256", "typ": "JWT"}, 600)
    assert claims.keys() == {"exp", "iat", "channels"}
    assert contents(rplx.grant("a", "a", key=KEY, seconds=0.5))[1]["exp"] > claims["iat"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"channels": []}, "No channel given"),
        ({"channels": range(1001)}, "A grant has 1000 channels at most, 1001 given; a prefix stands for many"),
        ({"channels": ""}, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "" given'),
        ({"channels": ["a*b"]}, 'A channel may have "*" at its end alone, "a*b" given'),
        ({"channels": "a**"}, 'A channel may have "*" at its end alone, "a**" given'),
        ({"channels": "a b*"}, 'Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, "a b" given'),
        ({"channels": "-*"}, "Identifier must match"),
        ({"channels": b"news"}, "Channels must be a list of ids, not bytes"),
        ({"channels": None}, "Channels must be a list of ids, not NoneType"),
        ({"channels": [True]}, "Identifier must match"),
        ({"seconds": 0}, 'Seconds must be a number above 0, up to 31622400, "0" given'),
        ({"seconds": -5}, 'above 0, up to 31622400, "-5" given'),
        ({"seconds": float("nan")}, '"nan" given'),
        ({"seconds": 1e12}, '"1000000000000.0" given'),
        ({"seconds": "600"}, 'Seconds must be a number above 0, up to 31622400, "600" given'),
        ({"seconds": True}, '"True" given'),
        ({"user": ""}, 'User must be a text or a whole number, "" given; None means nobody'),
        ({"user": 4.2}, '"4.2" given'),
        ({"key": "short"}, "Key must have 32 bytes at least, it has 5"),
        ({"key": "env:NONE"}, "There is no key: the variable NONE is not set"),
        ({"key": "env:SHORT"}, "Key must have 32 bytes at least, the variable SHORT has 6"),
        ({"key": "file:/none/here"}, "Key cannot be read: /none/here: No such file or directory"),
        ({"key": "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA=="}, "it is a PEM: sign with a JWT library"),
        ({"key": 5}, "Key must be text or bytes, not int"),
        ({"kid": "a b"}, 'A key\'s id must match [A-Za-z0-9_.-]+, "a b" given'),
        ({"info": Decimal(1)}, "data has no JSON form"),
        ({"info": "\ud800"}, "data has no JSON form"),
    ],
)
def test_what_is_wrong(arguments: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "hidden")
    with pytest.raises(InvalidArgument) as caught:
        rplx.grant(**({"user": "a", "channels": "a", "key": KEY} | arguments))
    assert text in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RPLX_GRANT_KEY", raising=False)
    with pytest.raises(InvalidArgument, match="There is no key: the variable RPLX_GRANT_KEY is not set; it holds what"):
        rplx.grant("a", "a")


@pytest.mark.parametrize(
    "token", ["", "a", "a.b.c", "e30.e30", "W10.e30.", "e30.MQ.", "é.e30.", "e30.e30.x.y", "e30.bnVs."]
)
def test_what_is_no_grant(token: str) -> None:
    with pytest.raises(InvalidArgument, match="not a grant"):
        contents(token)
