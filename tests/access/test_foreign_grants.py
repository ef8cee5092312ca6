"""Grants that the JWT libraries of other languages make hold here (protocol page, part 12)."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import jwt
import pytest

import rplx
from rplx.access.grant_keys import read_keys
from rplx.access.grants import verify
from tests.clients.node import JS, needs_node

KEY = "0123456789abcdef0123456789abcdef"
CHANNELS = ["news", "user_42_*"]
BY_JOSE = """
import { SignJWT } from 'jose';
console.log(await new SignJWT({ channels: ['news', 'user_42_*'] }).setProtectedHeader({ alg: 'HS256', kid: 'a' })
  .setSubject('42').setIssuedAt().setExpirationTime('10m').sign(new TextEncoder().encode(process.argv[1])));
"""
BY_PHP = """
require $argv[1];
$claims = ['sub' => '42', 'exp' => time() + 600, 'iat' => time(), 'channels' => ['news', 'user_42_*']];
echo Firebase\\JWT\\JWT::encode($claims, $argv[2], 'HS256', 'a');
"""


def by_pyjwt() -> str:
    claims = {"sub": "42", "exp": int(time.time()) + 600, "iat": int(time.time()), "channels": CHANNELS}
    return jwt.encode(claims, KEY, "HS256", {"kid": "a"})


def by_ours() -> str:
    return rplx.grant("42", CHANNELS, key=KEY, kid="a")


def by_jose() -> str:
    return output(["node", "--input-type=module", "-e", BY_JOSE, KEY], JS)


def by_firebase() -> str:
    """Where RPLX_TEST_FIREBASE_JWT names the autoload.php of a project that has firebase/php-jwt."""
    autoload = os.environ.get("RPLX_TEST_FIREBASE_JWT")
    if not autoload or not shutil.which("php"):
        pytest.skip("needs php and firebase/php-jwt")
    return output(["php", "-r", BY_PHP, "--", autoload, KEY], JS)


def output(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("make", [by_ours, by_pyjwt, pytest.param(by_jose, marks=needs_node), by_firebase])
def test_a_grant_of_others_holds(monkeypatch: pytest.MonkeyPatch, make) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("A_KEY", KEY)
    found = verify(make(), read_keys(["a=env:A_KEY"]), time.time())
    assert found.user == "42"
    assert [found.opens(id) for id in ("news", "user_42_7", "user_43")] == [True, True, False]
