"""Answers that wait for clients who read slowly: how many bytes they are in all, and who has waited longest."""

from __future__ import annotations

from typing import Any

Piece = bytes | memoryview


class Unsent:
    """The answers of connections that are WRITING. An answer that many get is one object, and counts once."""

    def __init__(self) -> None:
        self.size = 0  # bytes, of all
        self._answers: dict[Any, bytes] = {}  # by connection, in the order in which they began to wait
        self._shared: dict[int, int] = {}  # by the answer's identity: how many wait for it

    def add(self, connection: Any, answer: bytes) -> None:
        """Adds a connection that begins to wait until its socket takes the rest of `answer`."""
        self._answers[connection] = answer
        waiting = self._shared.get(id(answer), 0)
        self._shared[id(answer)] = waiting + 1
        if not waiting:
            self.size += len(answer)

    def remove(self, connection: Any) -> None:
        """Removes a connection that has its answer, or is gone. Does nothing if it does not wait."""
        answer = self._answers.pop(connection, None)
        if answer is None:
            return
        self._shared[id(answer)] -= 1
        if not self._shared[id(answer)]:
            del self._shared[id(answer)]
            self.size -= len(answer)

    def longest(self) -> Any:
        """Returns the connection that has waited longest."""
        return next(iter(self._answers))


def left_of(pieces: tuple[bytes, ...], sent: int) -> list[Piece]:
    """Returns what is left of an answer's pieces when `sent` bytes have been sent. Nothing is copied."""
    left: list[Piece] = []
    for piece in pieces:
        if sent < len(piece):
            left.append(memoryview(piece)[sent:] if sent else piece)
        sent = max(sent - len(piece), 0)
    return left
