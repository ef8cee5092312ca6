"""What the Python client reads of a server's answers: values, or BrokenResponse."""

from __future__ import annotations

from collections.abc import Iterator

from rplx.client import answers, blocks
from rplx.client.errors import BrokenResponse
from tests.fuzz.inputs import plain, repeated

SIZE = 8192  # five readers look at each input
SOME = [
    b"abc 1795494981.476271\ndef 5\n",
    b"abc 12\ndef 0\n",
    b"online 11:a\noffline 12:b\nFAKE 10:FAKE\n",
    b"[data_to_send]\na => [5: 3b], [6: 4b, limited by (x, y)]\n\n[online_timers]\na => assigned\n",
    b' \r\n[\n  {\n    "ids": { "a": "20" },\n    "data": {"a": 1}\n  }\n]',
    b'[{"ids":[["a","b"]],"data":0}]',
    b'[{"ids":{"a":[5]},"data":0}]',
    b"abc " + b"9" * 5000,
    b'[{"ids":{"a":"5"},"data":' + b"9" * 5000 + b"}]",
]


def seeds() -> Iterator[bytes]:
    for text in SOME:
        yield plain(text)
    for text in (b"a 1\n", b"1", b"[", b"a => b\n", b'{"ids":', b"\xff", b"online 1:a\n"):
        yield repeated(text)


def check(data: bytes) -> None:
    for read in (answers.receipt, answers.online, answers.watch, blocks.read):
        try:
            found = read(data)
        except BrokenResponse:
            continue
        if read is blocks.read:
            for message in found:
                assert all(isinstance(text, str) for pair in message.ids.items() for text in pair)
    try:
        answers.stats(data.decode("utf-8", "replace"))
    except BrokenResponse:
        pass
