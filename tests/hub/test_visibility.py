"""The operator's hook (protocol page, part 2)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rplx.hub.visibility import visible_part
from rplx.log import Log
from rplx.messages import Due, Message


def test_what_is_due_stays_as_it_is() -> None:
    """One Due may be asked about for several sets of listeners, who may see it by different ids."""

    def hook(id: str, names: Sequence[str], cursor: str, data: bytes) -> bool:
        return id in names and id != "hidden"

    message = Message(b"1", {"a": "5", "b": "6", "hidden": "4"})
    due = Due.of(message, message.cursors)
    shown = visible_part(hook, Log(0), due, ["a", "hidden"])
    assert shown == Due(message, {"a": "5"}, Decimal(5))
    assert visible_part(hook, Log(0), due, ["b"]) == Due(message, {"b": "6"}, Decimal(6))
    assert visible_part(hook, Log(0), due, ["hidden"]) is None
    assert due == Due(message, {"a": "5", "b": "6", "hidden": "4"}, Decimal(4))


def test_a_hook_that_fails_hides_the_message_by_that_id_alone() -> None:
    def hook(id: str, names: Sequence[str], cursor: str, data: bytes) -> bool:
        if id == "a":
            raise RuntimeError("no")
        return True

    message = Message(b"1", {"a": "5", "b": "6"})
    assert visible_part(hook, Log(0), Due.of(message, message.cursors), ["a", "b"]) == Due(
        message, {"b": "6"}, Decimal(6)
    )
