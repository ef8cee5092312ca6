"""The users file: who may send (protocol page, part 3, "Users"). Blocking CPU work, no gevent: call it in a thread."""

from __future__ import annotations

import hmac
import re
import secrets
from pathlib import Path

from passlib.context import CryptContext  # type: ignore[import-untyped]

from rplx.access import system_crypt
from rplx.errors import AccessDenied, ConfigError

LOGIN = re.compile(r"[A-Za-z0-9]+", re.ASCII)
GUESTS = ":"

# All that Apache's htpasswd writes but plain text, and those of crypt(3) that the library knows; the system's library
# checks the others. DES crypt and its longer variants come last, since nothing marks their hashes.
_HASHES = CryptContext(
    schemes=[
        "apr_md5_crypt",
        "bcrypt",
        "ldap_sha1",
        "sha256_crypt",
        "sha512_crypt",
        "md5_crypt",
        "sha1_crypt",
        "bsdi_crypt",
        "des_crypt",
        "bigcrypt",
    ],
)
_WHOLE_HASH = re.compile(
    rf"""
      \$(apr)?1\$[./0-9A-Za-z]{{1,8}}\$[./0-9A-Za-z]{{22}}
    | \$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./0-9A-Za-z]{{53}}
    | \{{SHA\}}[+/0-9A-Za-z]{{27}}=
    | \$5\$(rounds=\d{{4,9}}\$)?[./0-9A-Za-z]{{1,16}}\$[./0-9A-Za-z]{{43}}
    | \$6\$(rounds=\d{{4,9}}\$)?[./0-9A-Za-z]{{1,16}}\$[./0-9A-Za-z]{{86}}
    | \$sha1\$[1-9]\d{{0,8}}\$[./0-9A-Za-z]{{1,64}}\$[./0-9A-Za-z]{{28}}
    | _[./0-9A-Za-z]{{19}}
    | [./0-9A-Za-z]{{2}}([./0-9A-Za-z]{{11}}){{1,16}}
    | {system_crypt.FORMS}
    """,
    re.VERBOSE | re.ASCII,
)
_COST = re.compile(
    r"""
      \$2[abxy]\$\d\d
    | \{SHA\}
    | \$([56]|sm3)(\$rounds=\d+)?\$
    | \$sha1\$\d+
    | \$md5(,rounds=\d+)?
    | \$(y|gy|sm3y)\$[^$]+
    | \$7\$.{11}
    | \$\w+
    | _.{4}
    """,
    re.VERBOSE | re.ASCII,
)
_BCRYPT_MAX = 72  # bytes of a password that bcrypt looks at; htpasswd cuts it there too


class Users:
    """Logins with their password hashes.

    `has_file`: they come from a file, and then `guests_allowed` says whether it lets in requests without credentials.
    `warnings` has a line, with file and line number, for each line of the file that was skipped.
    """

    def __init__(
        self, hashes: dict[str, str], *, has_file: bool, guests_allowed: bool, warnings: list[str] | None = None
    ) -> None:
        self.has_file = has_file
        self.guests_allowed = guests_allowed
        self.warnings = warnings or []
        self._hashes = hashes
        self._decoys = {_cost(password_hash): password_hash for password_hash in hashes.values()}
        # The last good password of each login, as an HMAC under a key of this process: a back-end sends the same pair
        # with every message, and its hash is slow by design. There is one entry for each login at most.
        self._key = secrets.token_bytes(32)
        self._good: dict[str, bytes] = {}
        self._nothing = secrets.token_bytes(32)  # compared with where there is none, so that both take the same time

    @classmethod
    def load(cls, path: str) -> Users:
        """Returns the users of the file at `path`; for "" there is no file, and nobody has a login.

        Raises ConfigError that names the option if the file cannot be read.
        """
        if not path:
            return cls({}, has_file=False, guests_allowed=False)
        try:
            text = Path(path).read_bytes().decode("utf-8-sig", errors="replace")
        except OSError as error:
            raise ConfigError([f"users.file: cannot read {path}: {error.strerror}"]) from None
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, path: str) -> Users:
        """Returns the users of a users file's text. `path` stands in the warnings.

        If a login has two lines, the last one counts.
        """
        hashes: dict[str, str] = {}
        warnings: list[str] = []
        guests_allowed = False
        for number, line in enumerate(text.split("\n"), 1):
            entry = line.partition("#")[0].strip()
            if entry == GUESTS:
                guests_allowed = True
            elif entry:
                login, colon, password_hash = entry.partition(":")
                if problem := _problem(login, colon, password_hash):
                    warnings.append(f"{path}:{number}: {problem}, line skipped")
                    continue
                if login in hashes:
                    warnings.append(f"{path}:{number}: login {login} is there twice, this line counts")
                hashes[login] = password_hash
        if not hashes and not guests_allowed:
            warnings.append(f"{path}: there is no login in it and no line {GUESTS} for guests, so nobody may send")
        return cls(hashes, has_file=True, guests_allowed=guests_allowed, warnings=warnings)

    def verify(self, login: str, password: str) -> None:
        """Returns if the password is right.

        Raises AccessDenied with the text that the wire has, without its newline. A refusal takes the same time whether
        the login is known or not, and whatever form its hash has: one hash of every form in the file is computed.
        """
        if self.remembers(login, password):
            return
        known = self._hashes.get(login)
        if self._try(_bytes(password), known):
            self._good[login] = self._seal(_bytes(password))
            return
        if known is None:
            raise AccessDenied(f"unknown login: {login}")
        raise AccessDenied(f"invalid password for login: {login}")

    def _try(self, secret: bytes, known: str | None) -> bool:
        """Returns whether the password has the hash `known`. The work and its order are the same for every hash, and
        for None."""
        own = None if known is None else _cost(known)
        found = False
        for cost, decoy in self._decoys.items():
            if cost == own and known is not None:
                found = _matches(secret, known)
            else:
                _matches(secret, decoy)
        return found

    def warm_up(self) -> None:
        """Checks an empty password, so that the hash library loads what it needs."""
        self._try(b"", None)

    def remembers(self, login: str, password: str) -> bool:
        """Returns whether `verify` found this very pair right before. It is fast, so it needs no thread."""
        return hmac.compare_digest(self._good.get(login, self._nothing), self._seal(_bytes(password)))

    def _seal(self, secret: bytes) -> bytes:
        return hmac.digest(self._key, secret, "sha256")

    def knows(self, login: str) -> bool:
        """Returns whether the login has a password here."""
        return login in self._hashes

    def inherit(self, old: Users) -> None:
        """Takes over, after a reload, the good passwords that `old` remembers of logins whose hash is the same."""
        self._key = old._key
        self._good = {login: seal for login, seal in old._good.items() if self._hashes.get(login) == old._hashes[login]}

    def owns(self, login: str, id: str) -> bool:
        """Returns whether the login may send to this id, or ask about this prefix: it has to begin with `LOGIN_`."""
        return id.startswith(f"{login}_")


def _bytes(password: str) -> bytes:
    return password.encode(errors="surrogateescape")


def _problem(login: str, colon: str, password_hash: str) -> str:
    """Returns what is wrong with a line, "" if nothing is. The hash is left out: it may be a password in plain text."""
    if not colon:
        return "not of the form login:hash"
    if not LOGIN.fullmatch(login):
        return f'login "{login}" must be letters and digits'
    if not _WHOLE_HASH.fullmatch(password_hash):
        return f"login {login} has no hash as htpasswd or crypt(3) writes them"
    if system_crypt.is_its(password_hash) and not system_crypt.takes(password_hash):
        form = password_hash[: password_hash.index("$", 1) + 1]
        return f"login {login} has a hash {form}... that needs the system's libcrypt (libxcrypt), which takes none here"
    return ""


def _matches(secret: bytes, password_hash: str) -> bool:
    """Returns whether the password has this hash; a password that no hash can take (with NUL, over 4 KiB) has none.

    The libraries compare in constant time.
    """
    if system_crypt.is_its(password_hash):
        return system_crypt.matches(secret, password_hash)
    if password_hash.startswith("$2"):
        secret = secret[:_BCRYPT_MAX]
    try:
        return bool(_HASHES.verify(secret, password_hash))
    except ValueError:
        return False


def _cost(password_hash: str) -> str:
    """Returns what decides how long a hash takes: its form, and its rounds where it has them, as in `$2y$05`."""
    start = _COST.match(password_hash)
    return start[0] if start else f"DES, {len(password_hash)} characters"
