"""Which grants hold (protocol page, part 12): a table of bad ones, and keys that are none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from rplx.access.grant_keys import read_keys
from rplx.access.grants import verify
from rplx.access.listening import Listening
from rplx.errors import ConfigError, InvalidGrant
from rplx.options.rows import replace
from rplx.options.table import ChannelRule, Config

NOW = 1_795_494_981.0
SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
GOOD = {"sub": "42", "exp": NOW + 600, "iat": NOW, "channels": ["news", "user_42_*"]}
PRIVATE = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "ed": ed25519.Ed25519PrivateKey.generate(),
}
PUBLIC = {
    name: key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for name, key in PRIVATE.items()
}  # fmt: skip


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", SECRET)
    for name, pem in PUBLIC.items():
        monkeypatch.setenv(f"PEM_{name}", pem.decode())


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(head: str, claims: str, secret: bytes = SECRET.encode()) -> str:
    """A token of these very texts, whose signature is right."""
    text = f"{part(head.encode())}.{part(claims.encode())}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def token(head: Any = None, **claims: Any) -> str:
    said = {name: value for name, value in {**GOOD, **claims}.items() if value is not ...}
    return signed(json.dumps({"alg": "HS256", "kid": "a", **(head or {})}), json.dumps(said))


HEAD = '{"alg":"HS256","kid":"a"}'
TEXT = json.dumps(GOOD)
first, second, third = token().split(".")
BAD = {
    "nothing": "",
    "no JWT": "opaque",
    "two parts": f"{first}.{second}",
    "five parts": f"{first}.{second}.{third}.a.b",
    "alg none, unsigned": f"{part(b'{}')}.{second}.",
    "alg none": signed('{"alg":"none","kid":"a"}', TEXT),
    "alg None": signed('{"alg":"None","kid":"a"}', TEXT),
    "no alg": signed('{"kid":"a"}', TEXT),
    "alg is a list": signed('{"alg":["HS256"],"kid":"a"}', TEXT),
    "HS512 by the same key": jwt.encode(GOOD, SECRET * 2, "HS512", {"kid": "a"}),
    "HS384 named": token({"alg": "HS384"}),
    "HS256 by the PEM": signed('{"alg":"HS256","kid":"rsa"}', TEXT, PUBLIC["rsa"].rstrip()),
    "HS256 by the PEM of Ed25519": signed('{"alg":"HS256","kid":"ed"}', TEXT, PUBLIC["ed"].rstrip()),
    "RS256 in its head": token({"alg": "RS256"}),
    "RS512 by the right key": jwt.encode(GOOD, PRIVATE["rsa"], "RS512", {"kid": "rsa"}),
    "ES256 by a strange key": jwt.encode(GOOD, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "ec"}),
    "EdDSA by a strange key": jwt.encode(GOOD, ed25519.Ed25519PrivateKey.generate(), "EdDSA", {"kid": "ed"}),
    "the kid of another key": token({"kid": "rsa"}),
    "an unknown kid": token({"kid": "b"}),
    "a path as kid": token({"kid": "../../dev/null"}),
    "a number as kid": token({"kid": 1}),
    "null as kid": token({"kid": None}),
    "no kid, where there are several": signed('{"alg":"HS256"}', TEXT),
    "another secret": signed(HEAD, TEXT, OTHER.encode()),
    "no signature": f"{first}.{second}.",
    "half a signature": f"{first}.{second}.{third[:20]}",
    "a longer signature": f"{first}.{second}.{third}AAAA",
    "other claims": f"{first}.{part(TEXT.replace('42', '43').encode())}.{third}",
    "padding": f"{first}.{second}.{third}=",
    "padding in its head": f"{first}==.{second}.{third}",
    "stray bits": f"{first}.{second}.{third[:-1]}{chr(ord(third[-1]) + 1)}",
    "white space": f" {token()}",
    "a line end": f"{token()}\n",
    "not base64url": f"{first}.{second}.+/{third[2:]}",
    "letters beyond ASCII": f"{first}.ä{second}.{third}",
    "crit": token({"crit": ["exp"]}),
    "typ of another kind": token({"typ": "secevent+jwt"}),
    "typ is a number": token({"typ": 5}),
    "encrypted": token({"enc": "A128GCM", "alg": "dir"}),
    "the head is a list": signed("[]", TEXT),
    "the claims are a list": signed(HEAD, "[]"),
    "the claims are no JSON": signed(HEAD, "{"),
    "NaN as exp": signed(HEAD, '{"exp":NaN,"channels":[]}'),
    "endless exp": signed(HEAD, '{"exp":1e999,"channels":[]}'),
    "exp in 60 digits": token(exp=10**60),
    "exp twice": signed(HEAD, f'{{"exp":1,"exp":{NOW + 60},"channels":["news"]}}'),
    "alg twice": signed('{"alg":"none","alg":"HS256","kid":"a"}', TEXT),
    "channels twice": signed(HEAD, f'{{"exp":{NOW + 60},"channels":[],"channels":["*"]}}'),
    "a name twice further in": signed(HEAD, TEXT[:-1] + ',"info":{"a":1,"a":2}}'),
    "not UTF-8": f"{first}.{part(bytes([255]))}.{third}",
    "nested deeply": signed(HEAD, '{"a":' * 5000 + "1" + "}" * 5000),
    "no exp": token(exp=...),
    "null as exp": token(exp=None),
    "exp as text": token(exp=str(NOW + 60)),
    "true as exp": token(exp=True),
    "a negative exp": token(exp=-1),
    "exp over": token(exp=NOW - 5),
    "nbf in the future": token(nbf=NOW + 6),
    "nbf as text": token(nbf="0"),
    "iat in the future": token(iat=NOW + 6),
    "iat as text": token(iat="now"),
    "sub is a number": token(sub=42),
    "no channels": token(channels=...),
    "channels as text": token(channels="news"),
    "channels as an object": token(channels={"news": 1}),
    "a number among them": token(channels=["news", 5]),
    "a list among them": token(channels=[["news"]]),
    "null among them": token(channels=[None]),
    "an empty one among them": token(channels=[""]),
    "a star in the middle": token(channels=["a*b"]),
    "no id among them": token(channels=["a b"]),
    "1001 of them": token(channels=["a"] * 1001),
    "20 KB": token(info="x" * 20_000),
}  # fmt: skip


def listening(**options: Any) -> Listening:
    named = ["a=env:A_KEY", *[f"{name}=env:PEM_{name}" for name in PUBLIC]]
    config = replace(Config(channels=(ChannelRule("user_", "grant"),)), {"grants.keys": tuple(named), **options})
    return Listening(config, read_keys(config.grants.keys))


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_grant_is_refused_and_shown_nowhere(bad: str) -> None:
    with pytest.raises(InvalidGrant) as caught:
        listening().access(bad, NOW)
    assert len(bad) < 20 or bad[:20] not in caught.value.text


def test_the_claims_that_say_when() -> None:
    access = listening().access(token(), NOW)
    assert access.closed(["user_42_1", "user_43", "news", "else"]) == ["user_43"]
    assert access.ends == NOW + 600
    for good in (token(exp=NOW - 4), token(nbf=NOW + 4), token(iat=NOW + 4), token({"typ": "JWT"}), token(sub=...)):
        listening().access(good, NOW)


@pytest.mark.parametrize(("name", "algorithm"), [("rsa", "RS256"), ("ec", "ES256"), ("ed", "EdDSA")])
def test_keys_in_pairs(name: str, algorithm: str) -> None:
    made = jwt.encode(GOOD, PRIVATE[name], algorithm, {"kid": name})
    assert listening().access(made, NOW).closed(["user_42_1"]) == []


def test_a_grant_without_a_kid_is_for_the_only_key() -> None:
    keys = read_keys(["a=env:A_KEY"])
    assert verify(signed('{"alg":"HS256"}', TEXT), keys, NOW).user == "42"


def test_what_was_verified_is_remembered_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = listening(**{"grants.max_remembered": 2})
    for number in range(3):
        rules.access(token(jti=number), NOW)
    assert len(rules._remembered) == 2
    monkeypatch.setattr("rplx.access.listening.verify", None)  # nothing is looked at again
    rules.access(token(jti=2), NOW + 604)
    with pytest.raises(InvalidGrant, match="has ended"):
        rules.access(token(jti=2), NOW + 605)


def test_a_key_that_is_taken_away_counts_no_longer() -> None:
    rules = listening()
    rules.access(token(), NOW)
    rules.configure(Config(channels=(ChannelRule("user_", "grant"),)), {})
    with pytest.raises(InvalidGrant, match="no key of its name"):
        rules.access(token(), NOW)


def test_the_longest_prefix_counts() -> None:
    rules = (ChannelRule("", "grant"), ChannelRule("user_", "public"), ChannelRule("user_4", "grant"))
    access = Listening(Config(channels=rules), {}).access(None, NOW)
    assert access.closed(["a", "user", "user_", "user_5", "user_4", "user_42"]) == ["a", "user", "user_4", "user_42"]


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("b=env:NO_SUCH", "is in a variable that is not set"),
        ("b=file:/no/such", "cannot be read: No such file or directory"),
        ("b=env:SHORT", "has 31 bytes, and needs 32 at least"),
        ("b=env:PRIVATE", "is a private key"),
        ("b=env:BROKEN", "is no public key in PEM"),
        ("b=env:SMALL", "is an RSA key of 1024 bits"),
        ("b=env:CURVE", "is neither RSA nor Ed25519 nor on the curve P-256"),
        ("a=env:A_KEY", "is named twice"),
    ],
)
def test_a_key_that_is_none_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch, key: str, problem: str) -> None:
    monkeypatch.setenv("SHORT", SECRET[1:])
    monkeypatch.setenv("BROKEN", "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----")
    pem, public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    small, curve = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP384R1())
    monkeypatch.setenv("SMALL", small.public_key().public_bytes(pem, public).decode())
    monkeypatch.setenv("CURVE", curve.public_key().public_bytes(pem, public).decode())
    private = PRIVATE["ed"].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    monkeypatch.setenv("PRIVATE", private.decode())
    with pytest.raises(ConfigError, match=problem):
        read_keys(["a=env:A_KEY", key])


def test_a_key_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET + "\n")
    assert verify(signed('{"alg":"HS256"}', TEXT), read_keys([f"a=file:{tmp_path}/key"]), NOW).opens("news")
