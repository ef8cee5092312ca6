"""The users file: a line is a login, a comment or a warning."""

from __future__ import annotations

from collections.abc import Iterator

from rplx.access.users import LOGIN, Users
from tests.fuzz.inputs import plain, repeated

SIZE = 2048
SLOWEST = 0.5  # its writer is the operator, and nobody waits for it
SOME = [
    b"# users\n:\nme:$apr1$abc$0123456789012345678901 # x\n",
    b"a:$2y$05$abcdefghijklmnopqrstuvabcdefghijklmnopqrstuvabcdefghijklmno\nb:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=\n",
    b"c:$5$rounds=1000$abcdefgh$0123456789012345678901234567890123456789012\nd:rl0uE1yQpmeyc\n",
    b"e:$y$j9T$5cMdrvL7lAKOMBmPMynTz0$WBW7IAtcYIlusqMNvmrAmNZVbOq/1VFDkPsOdR9aKq.\nf:_J9..5gpu/Ybhm2smvEE\n",
    b"g:$sha1$99$ziXZ1556$cihl2qYm6aqLpicQIXEN10Gk4TPM\nh:$3$$556d9c9801b88ced9dabbec318a63eb5\n",
    b"me me:x\nnocolon\n\xff:\xfe\nme:rl0uE1yQpmeyc\nme:rl0uE1yQpmeyc\r\n",
]


def seeds() -> Iterator[bytes]:
    for text in SOME:
        yield plain(text)
    for text in (b"a:rl0uE1yQpmeyc\n", b"\n", b"x", b":", b"#"):
        yield repeated(text)


def check(data: bytes) -> None:
    users = Users.parse(data.decode("utf-8-sig", errors="replace"), "users")
    lines = data.count(b"\n") + 1
    *of_lines, last = users.warnings or [""]
    if not last.startswith("users: there is no login in it "):  # it is of the whole file
        of_lines = users.warnings
    for warning in of_lines:
        file, number, text = warning.split(":", 2)
        assert (file, 1 <= int(number) <= lines, bool(text)) == ("users", True, True)
    assert all(LOGIN.fullmatch(login) for login in users._hashes)
    assert not users.remembers("me", "")
