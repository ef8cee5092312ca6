"""Commands carried out for somebody who is no connection of the IN line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from rplx.assembly import Assembly
from rplx.errors import AccessDenied, BadRequest, GuestRefused, TooLarge
from rplx.in_line.commands import Executor
from rplx.log import Log
from rplx.messages import Credentials, Identifiers, Online, Send, Stats, Watch
from rplx.options.table import Config, InOptions, UsersOptions

ME = Credentials("me", "pw")
HASH = "{SHA}GpHWL3ymc5liWkNopqtdSjuqYHM="  # of pw


@dataclass(frozen=True)
class Caller:
    """Who asks: an address, and what the log calls it."""

    host: str = "192.0.2.1"
    line: str = "API"
    peer: str = "192.0.2.1:1"


def send(ids: dict[str, str | None], data: bytes = b"1", credentials: Credentials | None = None) -> Send:
    return Send(Identifiers(ids, credentials=credentials), data)


@pytest.fixture
def assembly(tmp_path: Path) -> Assembly:
    users = tmp_path / "users"
    users.write_text(f"me:{HASH}\n")
    return Assembly(Config(users=UsersOptions(file=str(users)), in_=InOptions(max_online=1)), Log(0))


@pytest.fixture
def executor(assembly: Assembly) -> Executor:
    return assembly.executor


def test_a_send(executor: Executor) -> None:
    asked = send({"me_a": "5", "you_a": "6"}, b"\xef\xbb\xbf1", ME)
    assert executor.execute(Caller(), asked) == b"me_a 5\n"
    assert asked == send({"me_a": "5", "you_a": "6"}, b"\xef\xbb\xbf1", ME), "what is asked for is not changed"
    assert executor.execute(Caller(), send({"you_a": "6"}, b"1", ME)) == b""


def test_credentials_are_asked_for(executor: Executor) -> None:
    with pytest.raises(GuestRefused):
        executor.execute(Caller(), send({"me_a": "5"}))
    with pytest.raises(AccessDenied):
        executor.execute(Caller(), Stats(Credentials("me", "wrong")))


def test_who_has_been_admitted_elsewhere_gets_the_receipt_itself(executor: Executor) -> None:
    assert executor.send(Caller(), send({"a": "5", "b": "6"})) == {"a": "5", "b": "6"}
    with pytest.raises(BadRequest, match="is not JSON"):
        executor.send(Caller(), send({"a": None}, b"{"))


def test_questions(executor: Executor) -> None:
    assert executor.execute(Caller(), Online(credentials=ME)) == b""
    assert executor.execute(Caller(), Watch(credentials=ME)) == b"FAKE 10:FAKE\n"
    assert executor.execute(Caller(), Stats(ME)) == b""


def test_more_ids_than_one_answer_has(assembly: Assembly) -> None:
    for id in ("me_a", "me_b"):
        assembly.engine.join((id,))
    assert assembly.executor.online(Caller(), ("me_a",)) == {"me_a": 1}
    with pytest.raises(TooLarge, match="more than 1 ids are online"):
        assembly.executor.online(Caller())
