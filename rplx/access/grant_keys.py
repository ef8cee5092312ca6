"""The keys that sign grants, read from where options say; the algorithm belongs to the key (protocol page, part 12)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from typing import Any

from rplx.errors import ConfigError

KEY_MIN = 32  # bytes of a shared secret: as many as the hash has (RFC 7518, 3.2)
_PEM = b"-----BEGIN "
_RSA_MIN = 2048  # bits (RFC 7518, 3.3)

Verify = Callable[[bytes, bytes], bool]
"""Returns whether a signature, the second one, is that of a text."""


class GrantKey:
    """One key: `algorithm` is what a token's head has to name, `verify` looks at a signature."""

    def __init__(self, algorithm: str, verify: Verify) -> None:
        self.algorithm = algorithm
        self.verify = verify


def read_keys(named: Iterable[str]) -> dict[str, GrantKey]:
    """Returns the keys of `grants.keys`, each KID=env:VARIABLE or KID=file:/PATH, by KID.

    Raises ConfigError that names each wrong one, and shows none.
    """
    keys: dict[str, GrantKey] = {}
    problems = []
    for text in named:
        kid, _, source = text.partition("=")
        kid, source = kid.strip(), source.strip()
        try:
            if kid in keys:
                raise ValueError("is named twice")
            keys[kid] = _key(_secret(source))
        except ValueError as error:
            problems.append(f'grants.keys: the key "{kid}" ({source}) {error}')
    if problems:
        raise ConfigError(problems)
    return keys


def _secret(source: str) -> bytes:
    """Raises ValueError."""
    kind, _, place = source.partition(":")
    if kind == "env":
        if place not in os.environ:
            raise ValueError("is in a variable that is not set")
        return os.environ[place].encode(errors="surrogateescape")
    try:
        with open(place, "rb") as file:
            return file.read().rstrip(b"\r\n")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def _key(secret: bytes) -> GrantKey:
    """Raises ValueError."""
    if not secret.startswith(_PEM):
        if len(secret) < KEY_MIN:
            raise ValueError(f"has {len(secret)} bytes, and needs {KEY_MIN} at least")
        return _of("HS256", secret)
    if b"PRIVATE KEY" in secret:
        raise ValueError("is a private key: only who makes grants needs that; give the public one")
    try:
        pem = importlib.import_module("cryptography.hazmat.primitives.serialization").load_pem_public_key(secret)
    except ImportError:
        raise ValueError("is a PEM, which needs cryptography: pip install 'rplx[grants]'") from None
    except Exception:  # whatever the library says may show the key
        raise ValueError("is no public key in PEM") from None
    return _of(_algorithm(pem), pem)


def _algorithm(pem: Any) -> str:
    """Returns the one algorithm for a public key. Raises ValueError."""
    kind = type(pem).__name__
    if "RSA" in kind:
        if pem.key_size < _RSA_MIN:
            raise ValueError(f"is an RSA key of {pem.key_size} bits, and needs {_RSA_MIN} at least")
        return "RS256"
    if "Ed25519" in kind:
        return "EdDSA"
    if getattr(getattr(pem, "curve", None), "name", "") == "secp256r1":
        return "ES256"
    raise ValueError("is neither RSA nor Ed25519 nor on the curve P-256")


def _of(algorithm: str, secret: Any) -> GrantKey:
    try:
        made = importlib.import_module("jwt").get_algorithm_by_name(algorithm)
        prepared = made.prepare_key(secret)
    except ImportError:
        raise ValueError("needs PyJWT: pip install 'rplx[grants]'") from None
    return GrantKey(algorithm, lambda text, signature: bool(made.verify(text, prepared, signature)))
