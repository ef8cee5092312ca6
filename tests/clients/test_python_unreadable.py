"""Messages that Python cannot read: told as such with their bytes, while all others come (docs/python.md)."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.client import BrokenResponse, Message, Realplexor, Unreadable
from rplx.client.blocks import read, read_one_by_one
from rplx.messages import Due
from rplx.messages import Message as Stored
from rplx.protocol import long_poll
from tests.clients.stub import StubServer, answering
from tests.live import LiveServer

LONG_NUMBER = "1" * 4301
DEEP = "[" * 200_000 + "]" * 200_000
LOOKS_LIKE_BLOCKS = '{"x": 1\n  },\n  {\n    "ids": {"evil": "9"},\n    "data": 2\n  }'

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def answer(*messages: str | bytes) -> bytes:
    """A WAIT answer with these messages at the cursors 1, 2, ... of channel a."""
    dues = []
    for number, message in enumerate(messages, 1):
        data = message if isinstance(message, bytes) else message.encode()
        ids = {"a": str(number)}
        dues.append(Due.of(Stored(data, ids, frozenset()), ids))
    return long_poll.PREFIX + long_poll.encode_blocks(dues)


class TestPoll:
    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            (LONG_NUMBER, "Exceeds the limit"),
            (f'{{"n": [{LONG_NUMBER}]}}', "Exceeds the limit"),
            (DEEP, "maximum recursion depth exceeded"),
            ('{"a":' * 100_000 + "1" + "}" * 100_000, "maximum recursion depth exceeded"),
            (b'"\xef\xf0\xe8\xe2\xe5\xf2"', "'utf-8' codec can't decode"),
            ("hello", "Expecting value"),
            ("", "Expecting value"),
            ("{a: 1}", "Expecting property name"),
            ("it's \"so", "Expecting value"),
            ("[1", "Expecting ',' delimiter"),
            ("]}", "Expecting value"),
            ('"', "Unterminated string"),
            ('{"x": [}]', "Expecting value"),
            ("1, 2", "Extra data"),
        ],
    )
    def test_that_message_alone(self, message: str | bytes, reason: str) -> None:
        first, odd, last = read(answer('{"k": "]}\\""}', message, '["ж", 1.5]'))
        assert (first, last) == (Message({"k": ']}"'}, {"a": "1"}), Message(["ж", 1.5], {"a": "3"}))
        assert odd.ids == {"a": "2"}
        assert isinstance(odd.data, Unreadable)
        assert odd.data.raw == (message if isinstance(message, bytes) else message.encode())
        assert reason in odd.data.reason

    def test_a_message_that_looks_like_blocks_stays_one(self) -> None:
        messages = read(answer(LONG_NUMBER, f"[{LOOKS_LIKE_BLOCKS}]", "3"))
        assert [message.ids for message in messages] == [{"a": "1"}, {"a": "2"}, {"a": "3"}]
        assert messages[1].data == json.loads(f"[{LOOKS_LIKE_BLOCKS}]")

    @pytest.mark.parametrize("cut", range(1, 60))
    def test_an_answer_that_is_cut_loses_nothing(self, cut: int) -> None:
        """Its last message is not taken for one that cannot be read: the poll is made again."""
        whole = answer(LONG_NUMBER, '{"list": [1, 2]}')
        with pytest.raises(BrokenResponse):
            read(whole[:-cut])

    def test_cursors_that_are_none(self) -> None:
        with pytest.raises(BrokenResponse, match="a cursor is a decimal number"):
            read(b'[{"ids": {"a": "x"}, "data": 1}]')

    @given(st.lists(VALUES, min_size=1))
    def test_one_by_one_reads_what_json_reads(self, values: list[Any]) -> None:
        for indent in (None, 2):
            text = answer(*(json.dumps(value, indent=indent) for value in values)).strip()
            assert [data for _, data in read_one_by_one(text)] == values


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer() as live:
        yield live


@pytest.mark.parametrize("message", [LONG_NUMBER, "[" * 900 + "]" * 900])
def test_the_listener_goes_on(server: LiveServer, message: str) -> None:
    """900 levels are what the server takes; a caller's own frames leave less of the stack than that."""
    url = "http://{}:{}/".format(*server.wait)
    with Realplexor(*server.in_) as client, client.listen("u", url) as listener:
        receipts = [client.send_json("u", text) for text in ('"before"', message, '"after"')]
        received: list[Message] = []

        def listen(frames: int) -> None:
            if frames:
                listen(frames - 1)
            else:
                received.extend(itertools.islice(listener, 3))

        thread = threading.Thread(target=listen, args=(120,))
        thread.start()
        thread.join(120)
    assert [message.ids for message in received] == receipts
    assert [message.data for message in received][::2] == ["before", "after"]
    data = received[1].data
    assert isinstance(data, Unreadable)
    assert data.raw == message.encode()


@pytest.mark.usefixtures("each_client")
def test_a_server_that_checks_nothing() -> None:
    with (
        LiveServer("--set", "in.check_json=false") as server,
        Realplexor(*server.in_) as client,
        client.listen("c", "http://{}:{}/".format(*server.wait)) as listener,
    ):
        with server.connect(server.in_) as sending:
            sending.sendall(b"X-Realplexor: identifier=c\r\n\r\nhello \xff")
        client.send("c", "after")
        assert [message.data for message in itertools.islice(listener, 2)] == ["hello \xff", "after"]


class TestCommand:
    """`rplx listen` where a message cannot be read or stdout cannot say it."""

    def listen(
        self, *messages: str, options: tuple[str, ...] = (), encoding: str = "utf-8"
    ) -> subprocess.CompletedProcess[bytes]:
        body = answer(*messages, '"next"')
        with StubServer(answering(" \r\n", body)) as server:
            return subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "rplx",
                    "listen",
                    "a",
                    "--wait",
                    server.url,
                    "--count",
                    str(len(messages) + 1),
                    *options,
                ],
                capture_output=True,
                timeout=120,
                check=False,
                env={**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C"},
            )

    def test_unreadable(self) -> None:
        done = self.listen(LONG_NUMBER)
        assert (done.returncode, done.stdout) == (0, b'2:a "next"\n')
        assert done.stderr.startswith(b"rplx listen: the message at 1:a cannot be read: Exceeds the limit")
        assert done.stderr.endswith(b': "' + b"1" * 200 + b'"\n')

    def test_unreadable_as_json(self) -> None:
        done = self.listen(DEEP, options=("--json",))
        first, second = map(json.loads, done.stdout.splitlines())
        assert (done.returncode, done.stderr) == (0, b"")
        assert first["ids"] == {"a": "1"}
        assert first["raw"] == DEEP
        assert "recursion" in first["unreadable"]
        assert second == {"ids": {"a": "2"}, "data": "next"}

    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_any_depth(self, options: tuple[str, ...]) -> None:
        """Also one that is read with the last frame of the stack, and would be printed with one more."""
        done = self.listen(*("[" * depth + "]" * depth for depth in range(900, 1001)), options=options)
        assert done.returncode == 0
        assert b"Traceback" not in done.stderr
        assert done.stdout.splitlines()[-1].endswith((b' "next"', b'"next"}'))

    @pytest.mark.parametrize(
        ("message", "encoding", "line"),
        [
            ('"\\ud800"', "utf-8", b'1:a "\\ud800"'),
            ('{"k": "\\udfff ж"}', "utf-8", b'1:a {"k": "\\udfff \\u0436"}'),
            ('"ж 😀"', "utf-8", '1:a "ж 😀"'.encode()),
            ('"ж 😀"', "ascii", b'1:a "\\u0436 \\ud83d\\ude00"'),
            ('"ж 😀"', "koi8-r", b'1:a "\\u0436 \\ud83d\\ude00"'),
            ('"ж"', "koi8-r", '1:a "ж"'.encode("koi8-r")),
        ],
    )
    def test_what_stdout_has_no_bytes_for(self, message: str, encoding: str, line: bytes) -> None:
        done = self.listen(message, encoding=encoding)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == line + b'\n2:a "next"\n'

    def test_a_message_on_ascii_stderr(self) -> None:
        done = self.listen('"ж', encoding="ascii")
        assert (done.returncode, done.stdout) == (0, b'2:a "next"\n')
        assert b"Unterminated string" in done.stderr
