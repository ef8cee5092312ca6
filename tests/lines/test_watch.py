"""WATCH (protocol page, part 3): who came and who went, from a position on."""

from __future__ import annotations

import re

import pytest

from tests.lines.wire import Wire, settings
from tests.live import LiveServer
from tests.waiting import eventually

OPTIONS = settings(
    "presence.offline_timeout=1",
)


def newest(wire: Wire) -> int:
    match = re.fullmatch(r"FAKE (\d+):FAKE\n", wire.command("WATCH\n\n"))
    assert match
    return int(match[1])


def changes(wire: Wire, position: int, prefix: str) -> list[str]:
    """The events' lines with the prefix taken off the ids."""
    return wire.command(f"WATCH {position} {prefix}\n\n").replace(prefix, "").splitlines()


def test_positions_from_the_start() -> None:
    with LiveServer("--set", "presence.offline_timeout=0.01") as server:
        wire = Wire(server)
        assert wire.command("WATCH\n\n") == "FAKE 10:FAKE\n"
        assert wire.command("WATCH 10") == ""
        listener = wire.listen("a,b")
        assert wire.command("WATCH 10") == "online 11:a\nonline 12:b\n"
        assert wire.command("WATCH 11") == "online 12:b\n"
        assert wire.command("WATCH 12") == ""
        assert wire.command("WATCH") == "FAKE 12:FAKE\n"
        listener.close()
        eventually(lambda: wire.command("WATCH 12"), "offline 13:a\noffline 14:b\n")
        assert wire.command("WATCH 10") == "offline 13:a\noffline 14:b\n"
        assert wire.command("WATCH 13") == "offline 14:b\n"


@pytest.mark.parametrize(
    "argument", ["", " ", " 0", " 00", " x", " -1", " 1.5", " 99999999", " 9" * 1 + "9" * 40, " 0 a b", " x a b"]
)
def test_where_to_start_watching(wire: Wire, argument: str) -> None:
    """Without a position, with 0, with no number, or with one of before a restart."""
    wire.listen(f"{wire.prefix()}a").close()
    before, after = -1, newest(wire)
    while before != after:  # those who have left go offline meanwhile
        before = after
        found = wire.command(f"watch{argument}\n\n"), wire.command(f"WATCH{argument}")
        after = newest(wire)
    assert found == (f"FAKE {after}:FAKE\n", f"FAKE {after}:FAKE\n")


def test_of_several_changes_of_one_id_only_the_latest(wire: Wire, prefix: str) -> None:
    start = newest(wire)
    first = wire.listen(f"{prefix}a")
    second = wire.listen(f"{prefix}b")
    third = wire.listen(f"{prefix}a")
    assert [line.split(" ")[0] + line[-1] for line in changes(wire, start, prefix)] == ["onlinea", "onlineb"]
    first.close()
    eventually(lambda: wire.online(f"{prefix}a"), f"{prefix}a 1\n")
    assert len(changes(wire, start, prefix)) == 2  # while one stays, the other's leaving changes nothing
    third.close()
    eventually(
        lambda: [re.sub(r"\d+", "N", line) for line in changes(wire, start, prefix)], ["online N:b", "offline N:a"]
    )
    again = wire.listen(f"{prefix}a")
    eventually(
        lambda: [re.sub(r"\d+", "N", line) for line in changes(wire, start, prefix)], ["online N:b", "online N:a"]
    )
    for listener in (second, again):
        listener.close()


def test_prefixes(wire: Wire, prefix: str) -> None:
    start = newest(wire)
    listener = wire.listen(f"{prefix}a1,{prefix}a2,{prefix}b")
    assert len(changes(wire, start, prefix)) == 3
    assert wire.command(f"WATCH {start} {prefix}a\n\n").count("\n") == 2
    assert wire.command(f"WATCH {start} {prefix}b {prefix}a2\n\n").count("\n") == 2
    assert wire.command(f"WATCH {start} {prefix}c\n\n") == ""
    listener.close()


def test_memory_is_bounded(prefix: str) -> None:
    """The newest three blocks of EVENT_CHAIN_LEN + 1 events are kept."""
    with LiveServer("--set", "presence.event_chain_len=1") as server:
        wire = Wire(server)
        listener = wire.listen(",".join(f"i{number}" for number in range(7)))
        expected = "".join(f"online {11 + number}:i{number}\n" for number in range(2, 7))
        assert wire.command("WATCH 12") == expected
        assert wire.command("WATCH 10") == "FAKE 12:FAKE\n" + expected
        listener.close()


def test_who_missed_changes_is_told() -> None:
    with LiveServer(*settings("presence.event_chain_len=2", "presence.offline_timeout=60")) as server:
        wire = Wire(server)
        listener = wire.listen(",".join(f"id{number}" for number in range(10)))
        found = wire.command("WATCH 10 id9\n\n")
        assert found == "FAKE 13:FAKE\nonline 20:id9\n"
        assert wire.command("WATCH 13").startswith("online 14:id3\n")
        assert wire.command("WATCH 1").startswith("FAKE 13:FAKE\nonline 14:id3\n")
        listener.close()
