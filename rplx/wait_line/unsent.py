"""Answers that wait for listeners who read slowly: how many bytes they are in all, and who waits longest."""

from __future__ import annotations

from typing import Any

Piece = bytes | memoryview


class Unsent:
    """The answers of connections that are being written. One that many get is one, and counts once."""

    def __init__(self) -> None:
        self.size = 0  # bytes, of all
        self._answers: dict[Any, bytes] = {}  # by connection, in the order in which they began to wait
        self._shared: dict[int, int] = {}  # by the answer's identity: how many wait for it

    def add(self, connection: Any, answer: bytes) -> None:
        """The connection's answer begins to wait for it."""
        self._answers[connection] = answer
        waiting = self._shared.get(id(answer), 0)
        self._shared[id(answer)] = waiting + 1
        if not waiting:
            self.size += len(answer)

    def remove(self, connection: Any) -> None:
        """It is out, or the connection is gone. Does nothing if nothing waits."""
        answer = self._answers.pop(connection, None)
        if answer is None:
            return
        self._shared[id(answer)] -= 1
        if not self._shared[id(answer)]:
            del self._shared[id(answer)]
            self.size -= len(answer)

    def longest(self) -> Any:
        """The connection whose answer has waited longest."""
        return next(iter(self._answers))


def left_of(pieces: tuple[bytes, ...], sent: int) -> list[Piece]:
    """What is left of an answer's pieces when `sent` bytes are out; nothing is copied."""
    left: list[Piece] = []
    for piece in pieces:
        if sent < len(piece):
            left.append(memoryview(piece)[sent:] if sent else piece)
        sent = max(sent - len(piece), 0)
    return left
