"""The operator's hook that may hide a message from a listener (protocol page, part 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rplx.log import Log
from rplx.messages import Due

Visibility = Callable[[str, Sequence[str], str, bytes], bool]
"""Channel id, the listener's ids, the message's cursor there, its bytes -> whether the listener may see it."""


def visible_part(hook: Visibility, log: Log, due: Due, names: Sequence[str]) -> Due | None:
    """Returns `due` with the ids by which a listener of `names` may see the message; None if there are none."""
    ids = {}
    for id, cursor in due.ids.items():
        try:
            if hook(id, names, cursor, due.message.data):
                ids[id] = cursor
        except Exception as error:  # the operator's code must not keep a message from the other listeners
            log.error(f"hooks.check_visibility: {type(error).__name__}: {error}; the message stays hidden")
    return Due.of(due.message, ids) if ids else None
