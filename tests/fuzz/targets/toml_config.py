"""Our own configuration file and --set: a Config, or ConfigError in which every problem has its place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rplx.errors import ConfigError
from rplx.options import reading
from rplx.options.writing import render_example
from tests.fuzz.inputs import plain, repeated
from tests.fuzz.targets.perl_config import write

SIZE = 2048
SLOWEST = 0.5  # its writer is the operator, and nobody waits for it
PLACE = re.compile(r"--set |/proc/self/fd/\d+:")
SOME = [
    b'wait.listen = ["0.0.0.0:8088", "[::1]:0"]\n[in]\nmaxlen = 1_000\n[log]\nverbosity = 0x1\n',
    b'[wait]\ntimeout = 1e3\nallowed_origins = ["https://x.example:8443", \'*\']\n"charset" = """\nutf-8"""\n',
    b'in = { maxlen = 5, timeout = inf }\nserver."workers" = 2\n',
    b"[[wait]]\n[wait.x]\n[engine]\nurl = 'redis://h:1/0?prefix=a'\n",
    b"wait.timeout=1979-05-27T07:32:00Z",
    b"wait.timeout.x = 3\n",
    b"wait.timeout = " + b"[" * 2000,
    b"wait = " + b"{a=" * 600,
    b"wait.timeout = " + b"9" * 1900,
    b".".join([b"a"] * 1000) + b" = 1",
]


def seeds() -> Iterator[bytes]:
    for text in SOME:
        yield plain(b"wait.timeout=5\0" + text)
    yield plain(b"wait.timeout=" + b"[" * 2000 + b"\0")
    yield plain(b"wait.listen=['a:1']\0" + render_example().encode()[:3000])
    for text in (b"a=[", b"[", b"{", b"a.", b"'''", b'"\\', b"[a]\n", b"x=1\n", b"wait.x=1\n", b"[wait]\n"):
        yield repeated(b"x=\0" + text if text == b"'''" else text)


def check(data: bytes) -> None:
    flag, zero, rest = data.partition(b"\0")
    name, _, text = flag.decode(errors="replace").partition("=")
    problems = None
    try:
        reading.load(write(rest if zero else data), {}, [(name, text)] if zero else [])
    except ConfigError as error:
        problems = error.problems
    assert problems is None or problems
    assert all(PLACE.match(problem) for problem in problems or []), problems
