"""Many sends on one connection without waiting for each answer: HTTP pipelining with a bounded window."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rplx.client.commands import Command, Receipt
from rplx.client.connection import Answer, Connection, Deadline
from rplx.client.errors import ConnectionLost, RealplexorError, SendManyError

WINDOW = 64  # messages written and not yet answered; their answers fit in any socket buffer, so nobody blocks for ever
GROUP_MAX = 65_536  # bytes of requests that are gathered before they are written

Prepare = Callable[[tuple[Any, ...]], Command[Receipt]]


class _Pending(NamedTuple):
    number: int
    request: bytes
    receipt: Callable[[Answer], Receipt]


class Batch:
    """One run of `send_many`."""

    def __init__(
        self,
        take: Callable[[Deadline], tuple[Connection, bool]],
        give_back: Callable[[Connection, Answer], None],
        deadline: Callable[[], Deadline],
    ) -> None:
        """`take` and `give_back` lend a connection of the client's; `deadline` returns one that begins now."""
        self._take, self._give_back, self._deadline = take, give_back, deadline
        self._connection: Connection | None = None
        self._last_answer: Answer | None = None
        self._pending: deque[_Pending] = deque()
        self._written = 0  # of the pending ones, from the left
        self._gathered = 0  # bytes of the pending ones that are not written
        self._receipts: dict[int, Receipt] = {}
        self._failed: dict[int, RealplexorError] = {}

    def run(self, messages: Iterable[tuple[Any, ...]], prepare: Prepare) -> list[Receipt]:
        """Sends all `messages`; returns their receipts in order. `prepare` makes a message's command.

        Raises SendManyError for the first message that fails, after it has read all answers under way.
        """
        cause: RealplexorError | None = None
        try:
            self._feed(messages, prepare)
            self._exchange(down_to=0)
        except RealplexorError as error:
            cause = error
        except Exception:
            # The iterable's own error: closing the connection at once would cut off what is under way.
            with contextlib.suppress(RealplexorError):
                self._exchange(down_to=0)
            raise
        finally:
            self._end()
        cause = cause or next(iter(self._failed.values()), None)
        if cause is not None:
            unsure = [item.number for item in list(self._pending)[: self._written]]
            raise SendManyError(cause, self._receipts, self._failed, unsure) from cause
        return list(self._receipts.values())

    def _feed(self, messages: Iterable[tuple[Any, ...]], prepare: Prepare) -> None:
        """Gathers requests and has them written; stops at the first message that fails."""
        for number, message in enumerate(messages):
            try:
                command = prepare(message)
            except RealplexorError as error:
                self._failed[number] = error
                return
            request = command.request.written()
            self._pending.append(_Pending(number, request, command.read))
            self._gathered += len(request)
            if len(self._pending) >= WINDOW or self._gathered >= GROUP_MAX:
                self._exchange(down_to=WINDOW // 2)
            if self._failed:
                return

    def _exchange(self, down_to: int) -> None:
        """Writes what is gathered, and reads answers until at most `down_to` are still to come."""
        self._write()
        while len(self._pending) > down_to:
            self._write()
            assert self._connection is not None
            answer = self._connection.read_answer(self._deadline())
            item = self._pending.popleft()
            self._written -= 1
            self._last_answer = answer
            try:
                self._receipts[item.number] = item.receipt(answer)
            except RealplexorError as error:
                self._failed[item.number] = error
            if answer.closes:
                # The server has not looked at what stands behind this request (RFC 9112, section 9.6).
                self._end()
                self._written = 0
                if self._failed:
                    self._pending.clear()

    def _write(self) -> None:
        """Writes the requests that are not written yet, on a connection that it takes if there is none."""
        if self._written == len(self._pending):
            return
        deadline = self._deadline()
        if self._connection is None:
            self._connection, _ = self._take(deadline)
        data = b"".join(item.request for item in list(self._pending)[self._written :])
        self._written = len(self._pending)
        self._gathered = 0
        # A server that refused one of them reads no further, and says why in an answer, which is read next.
        with contextlib.suppress(ConnectionLost):
            self._connection.write(data, deadline)

    def _end(self) -> None:
        """Gives the connection back, or closes it if answers may still come on it."""
        if self._connection is None:
            return
        if self._written or self._last_answer is None:
            self._connection.close()
        else:
            self._give_back(self._connection, self._last_answer)
        self._connection = self._last_answer = None
