"""Password hashes that only the system's crypt(3) makes: yescrypt and others, by libxcrypt (crypt(5)).

Blocking CPU work. ctypes releases the interpreter lock during a call, so that a thread which hashes holds up nobody.
"""

from __future__ import annotations

import ctypes
import functools
import hmac
import re

PASSWORD_MAX = 511  # bytes of a password that the library takes

FORMS = r"""
      \$(y|gy|sm3y)\$[./0-9A-Za-z]+\$[./0-9A-Za-z]{0,86}\$[./0-9A-Za-z]{43}
    | \$7\$[./0-9A-Za-z]{11,97}\$[./0-9A-Za-z]{43}
    | \$2x\$(0[4-9]|[12]\d|3[01])\$[./0-9A-Za-z]{53}
    | \$sm3\$(rounds=\d{4,9}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{43}
    | \$md5(,rounds=[1-9]\d{0,8})?\$[./0-9A-Za-z]{8}\${1,2}[./0-9A-Za-z]{22}
    | \$3\$\$[0-9a-f]{32}
"""
"""The hashes that are checked here, as a verbose regular expression."""

_WHOLE = re.compile(FORMS, re.VERBOSE | re.ASCII)
_NAMES = ("libcrypt.so.2", "libcrypt.so.1")  # the second is its name where old programs have to find it, too
_DATA_SIZE = 1 << 18  # bytes, more than any version's `struct crypt_data` has
_METHOD_INVALID, _METHOD_DISABLED = 1, 2  # what crypt_checksalt returns for a hash that cannot be checked


def is_its(password_hash: str) -> bool:
    """Returns whether a hash has a form that is checked here."""
    return bool(_WHOLE.fullmatch(password_hash))


def takes(password_hash: str) -> bool:
    """Returns whether the system's library can check such a hash; False if there is none. Nothing is hashed."""
    library = _library()
    if library is None:
        return False
    return library.crypt_checksalt(password_hash.encode()) not in (_METHOD_INVALID, _METHOD_DISABLED)


def matches(secret: bytes, password_hash: str) -> bool:
    """Returns whether the password has this hash; one with NUL or over PASSWORD_MAX bytes has none.

    The comparison takes constant time.
    """
    library = _library()
    if library is None or b"\0" in secret or len(secret) > PASSWORD_MAX:
        return False
    data = ctypes.create_string_buffer(_DATA_SIZE)  # zeroed, and a new one for each call, as threads may call at once
    found = library.crypt_r(secret, password_hash.encode(), data)
    return hmac.compare_digest(found or b"", password_hash.encode())


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Returns libxcrypt; None on musl, macOS, and with the C library's own crypt, which make no such hashes."""
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
            library.crypt_checksalt.argtypes = [ctypes.c_char_p]
            library.crypt_checksalt.restype = ctypes.c_int
            library.crypt_r.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
            library.crypt_r.restype = ctypes.c_char_p
        except (OSError, AttributeError):
            continue
        return library
    return None
