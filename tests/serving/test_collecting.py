"""When a serving process collects garbage: the collections are counted, the times are made up."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from rplx.serving import collecting
from rplx.serving.collecting import FEW, FULL_EVERY, TRIM_FROM, WORTH_IT, Collector


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """A line for each collection that has begun, with whether what was set aside is looked at again."""
    lines: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            lines.append("new objects" if gc.get_freeze_count() else "all objects")

    was_enabled = gc.isenabled()
    gc.callbacks.append(note)
    yield lines
    gc.callbacks.remove(note)
    gc.unfreeze()
    if was_enabled:
        gc.enable()


def make_objects(count: int = WORTH_IT + 1) -> list[list[None]]:
    return [[] for _ in range(count)]


def test_pythons_own_collector_is_off(collections: list[str]) -> None:
    Collector(0.0)
    assert not gc.isenabled()
    del collections[:]
    kept = make_objects(100_000)
    assert collections == []
    del kept


@pytest.mark.parametrize(
    ("connections", "busy", "objects", "expected"),
    [
        (0, False, WORTH_IT + 1, ["new objects"]),
        (FEW - 1, False, WORTH_IT + 1, ["new objects"]),
        (FEW, False, WORTH_IT + 1, []),
        (0, True, WORTH_IT + 1, []),
        (0, False, WORTH_IT // 2, []),
    ],
)
def test_new_objects(connections: int, busy: bool, objects: int, expected: list[str], collections: list[str]) -> None:
    collector = Collector(0.0)
    del collections[:]
    kept = make_objects(objects)
    collector.look(1.0, connections, busy=busy)
    assert collections == expected
    del kept


def test_all_objects_now_and_then_however_many_connections_there_are(collections: list[str]) -> None:
    collector = Collector(100.0)
    del collections[:]
    collector.look(100.0 + FULL_EVERY, 50_000, busy=True)
    assert collections == []
    collector.look(101.0 + FULL_EVERY, 50_000, busy=True)
    assert collections == ["all objects"]
    collector.look(102.0 + FULL_EVERY, 50_000, busy=True)
    assert collections == ["all objects"]


def test_memory_is_given_back_when_half_of_a_crowd_has_left(
    collections: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(collecting, "trim_memory", lambda: trimmed.append(count))
    collector = Collector(0.0)
    for count in (TRIM_FROM, 0, 10_000, 6_000, 5_000, 4_999, 4_000, 2_500, 2_400, 0):
        collector.look(1.0, count, busy=False)
    assert trimmed == [4_999, 2_400, 0]
