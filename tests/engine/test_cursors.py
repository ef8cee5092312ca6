"""Cursors that the server draws only grow (protocol page, part 1)."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.engine.cursors import CursorClock, behind
from tests.engine.clock import START, Clock, Engine


def test_their_form() -> None:
    assert CursorClock().draw(1_795_346_940.5718) == "1795346940.571800"
    assert re.fullmatch(r"\d{10}\.\d{6}", CursorClock().draw(START))


@given(st.lists(st.floats(1e9, 4e9) | st.sampled_from([START, START - 3600])))
def test_a_later_draw_is_always_the_greater_one(readings: list[float]) -> None:
    clock = CursorClock()
    drawn = [Decimal(clock.draw(now)) for now in readings]
    assert drawn == sorted(set(drawn))


def test_clock_set_back_an_hour(clock: Clock, engine: Engine) -> None:
    before = engine.send("1", a=None)["a"]
    clock.set_back(3600)
    drawn = [engine.draw() for _ in range(3)]
    after = engine.send("2", a=None)["a"]
    assert Decimal(before) < Decimal(drawn[0]) < Decimal(drawn[1]) < Decimal(drawn[2]) < Decimal(after)
    assert engine.texts(a=before) == ["2"]
    assert engine.texts(a=drawn[2]) == ["2"]
    clock.pass_(7200)
    assert Decimal(engine.draw()) > Decimal(after)


def test_drawn_once_a_list(engine: Engine) -> None:
    receipt = engine.send("1", a=None, b="5", c=None)
    assert receipt["a"] == receipt["c"]
    assert receipt["b"] == "5"
    assert Decimal(engine.send("2", a=None)["a"]) > Decimal(receipt["a"])


@pytest.mark.parametrize(
    "ahead", ["9999999999", "9999999999.9", "9999999999.00000000000000001", "10" * 30, "9" * 40 + ".9999999"]
)
def test_a_channel_ahead_of_the_clock_goes_on_from_there(engine: Engine, ahead: str) -> None:
    """A back-end gave a cursor of the future: the next message without one is still newer, so it is not lost."""
    engine.send("1", a=ahead)
    following = engine.send("2", a=None)["a"]
    assert Decimal(following) > Decimal(ahead)
    assert re.fullmatch(r"\d+\.\d{6}", following)
    assert engine.texts(a=ahead) == ["2"]
    again = engine.send("3", a=None)["a"]
    assert Decimal(again) > Decimal(following)


@given(st.from_regex(r"[0-9]{1,60}(\.[0-9]{1,40})?", fullmatch=True))
def test_behind_is_greater(cursor: str) -> None:
    following = behind(Decimal(cursor))
    assert Decimal(following) > Decimal(cursor)
    assert re.fullmatch(r"\d+\.\d{6}", following)
