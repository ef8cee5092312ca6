"""Old configuration files: read or refused with ConfigError, and migrated to a file that means the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rplx.errors import ConfigError
from rplx.legacy import old_config
from rplx.legacy.perl.config import parse
from rplx.options import reading
from tests.fuzz.inputs import plain, repeated

SIZE = 2048
SLOWEST = 0.5  # its writer is the operator, and nobody waits for it
FIXTURES = Path(__file__).parents[2] / "fixtures"
SOME = [
    b'%CONFIG = (WAIT_ADDR => ["0.0.0.0:8088"], IN_MAXLEN => 1024 * 200, CHARSET => "utf-8", SU_USER => undef,);',
    b"$CONFIG{IN_TIMEOUT} = 20.5 + 1 / 3; $CONFIG{IDENTIFIER} = 'i' . \"d\\x41\\n\"; return 1;",
    b"use POSIX;\n$CONFIG{USERS_FILE} = dirname(abs_path(__FILE__)) . '/users';\n=pod\n=cut\n__END__\n1",
    b"$CONFIG{JS_DEBUG} = (1 - 0x1F) * -0b11 . 07 . 1e3;",
    b"$CONFIG{JS_DEBUG} = " + b"9" * 400 + b" * 1.5; $CONFIG{IN_MAXLEN} = " + b"9" * 400 + b" / 7;",
    b"$CONFIG{CHARSET} = 'a' . " + b"9" * 900 + b" * 1" + b" * 0x" + b"F" * 900 + b" * 1000000000" * 90 + b";",
    b"$CONFIG{CHARSET} = " + b"0b" + b"1" * 1900 + b" . 'a';$CONFIG{IN_TIMEOUT}=1e999*0",
    b"$CONFIG{USERS_FILE} = abs_path('a\0b'); $CONFIG{USERS_FILE} = dirname(\"\\0\");",
    b"$CONFIG{A}=" + b"(" * 2000,
    b"$CONFIG{A}=" + b"[" * 2000,
    b"$CONFIG{A}=" + b"-" * 2000,
    b"$CONFIG{A}=" + b"dirname " * 240,
]


def seeds() -> Iterator[bytes]:
    for text in SOME:
        yield plain(text)
    for path in FIXTURES.glob("*.conf"):
        yield plain(path.read_bytes()[:SIZE])
    for text in (b"$CONFIG{A}=(", b"(", b"[", b"-", b"'", b'"\\', b"1*9**", b"$CONFIG{A}=1;", b"dirname ", b"\n=a"):
        yield repeated(text)


# A file in memory: what reads it takes a path.
_file = os.memfd_create("fuzz")
_path = f"/proc/self/fd/{_file}"


def write(data: bytes) -> str:
    os.ftruncate(_file, 0)
    os.pwrite(_file, data, 0)
    return _path


def check(data: bytes) -> None:
    read = parse(data.decode(errors="surrogateescape"), "old.conf")
    lines = data.count(b"\n") + 1
    assert all(1 <= assignment.line <= lines for assignment in read.assignments)
    assert all(1 <= line <= lines for line, _ in read.problems)
    path = write(data)
    try:
        values, _ = old_config.read_old_config(path)
        old = old_config.to_config(values)
        migrated = old_config.migrate_config(path)
    except ConfigError:
        return
    try:
        new = reading.load(write(migrated.encode(errors="surrogateescape")), {}, [])
    except ConfigError as error:
        # Two options may be wrong together; the old server did not look, so its file is taken.
        if all("must differ" in problem for problem in error.problems):
            return
        raise
    assert new == old
