"""Sends on their way to the disk: what has come while the last transaction ended goes into the next one.

A batch is written, then its messages are kept in memory and delivered, in the order in which they came. So nobody has
seen a message that a crash can take back, and cursors reach listeners in the order in which they were drawn.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent import get_hub
from gevent.hub import Waiter

from rplx.engine.history import weight
from rplx.engine.observing import Observed
from rplx.engine.sqlite.behind import Behind
from rplx.engine.sqlite.records import Changes, Failure, Kept, Row
from rplx.engine.sqlite.schema import channels_text
from rplx.engine.sqlite.staging import StagedMemory
from rplx.engine.sqlite.trouble import STUCK, Refuse, Troubles
from rplx.engine.sqlite.writer import Job, Writer
from rplx.errors import Unavailable
from rplx.messages import Send

LOOK_EVERY = 0.1  # seconds between two looks at whether the disk is stuck
LOOKS_MAX = 15
"""Looks after which a send is refused that is not stored: less than two seconds, with all around it. Looks are counted
and not seconds, as a machine that stands still for some is no stuck disk."""
WAITING_MAX = 64 << 20  # bytes of memory of sends that wait for the transaction before theirs; more are refused
BEHIND_STEP = 1000  # changes of each kind that are written behind at once
CLOSE_STEP = 0.002  # seconds between two looks at whether all is written, at the end
CLOSE_TIMEOUT = 1.0  # seconds that closing the file may take
GATHER_SECONDS = 0.001  # after which a batch is handed over although the loop still has other work
DROPS_FROM = 500  # sends whose dropped messages are written with the next batch; fewer wait for the sweep


class Pending:
    """Implements Appended for a message of a batch."""

    __slots__ = ("_batch", "is_settled", "message", "refuse", "stored")

    def __init__(self, batch: Batch, message: Kept, stored: Callable[[], None] | None) -> None:
        self._batch = batch
        self.message = message
        self.stored = stored
        self.is_settled = False
        self.refuse: Refuse | None = None

    def receipt(self) -> dict[str, str]:
        if not self.is_settled:
            self._batch.wait()
        if self.refuse is not None:
            raise self.refuse()
        return self.message.cursors


class Batch:
    """Sends that share a transaction. Their cursors are greater than `mark`, in microseconds since the epoch.

    `looks`: how often it was looked at while it waited or was being written.
    """

    __slots__ = ("_waiters", "changes", "is_settled", "looks", "mark", "pendings", "rows", "size")

    def __init__(self) -> None:
        self.pendings: list[Pending] = []
        self.rows: list[Row] = []
        self.size = 0  # bytes of memory of its messages
        self.mark = 0
        self.looks = 0
        self.changes: Changes | None = None
        self.is_settled = False  # whether all have their answer
        self._waiters: list[Waiter[None]] = []

    def wait(self) -> None:
        """Returns when all have their answer. Not to be called in the loop itself."""
        if not self.is_settled:
            waiter: Waiter[None] = Waiter()
            self._waiters.append(waiter)
            waiter.get()

    def settle(self, refuse: Refuse | None) -> None:
        """Answers those that have no answer yet."""
        for pending in self.pendings:
            if not pending.is_settled:
                pending.refuse = refuse
                pending.is_settled = True
        self.is_settled = True

    def release(self) -> None:
        """In the loop: has those go on that wait."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.switch(None)


class Store:
    """What is stored and what is on its way. `seq` and `position` are the greatest of those that were found stored."""

    def __init__(
        self,
        writer: Callable[[Callable[[Failure | None], None]], Writer],
        memory: StagedMemory,
        behind: Behind,
        observer: Observed,
        troubles: Troubles,
        *,
        seq: int,
        position: int,
    ) -> None:
        self.position = position  # of the newest event that is stored
        self._memory = memory
        self._behind = behind
        self._observer = observer
        self._troubles = troubles
        self._seq = seq
        self._writer = writer(self._written)
        self._current = Batch()
        self._in_flight: Batch | None = None
        self._ended: deque[tuple[Batch, Refuse | None]] = deque()  # stored or refused, not settled yet
        self._under_way: deque[Batch] = deque()  # all that hold messages, in their order
        self._failed: Changes | None = None  # what could not be written, and comes first the next time
        self._is_due = False  # whether the next hand-over is on its way
        self._settler: Waiter[None] | None = None  # of the greenlet that settles batches, while it has nothing to do
        self._drains = False  # whether all that is behind is to be written now
        self._shrinks = False
        self._loop: Any = get_hub().loop
        self._idle: Any = self._loop.idle()  # called once the loop has nothing else to do: all that has come goes along
        self._latest: Any = self._loop.timer(GATHER_SECONDS, GATHER_SECONDS)
        self._watch: Any = self._loop.timer(LOOK_EVERY, repeat=LOOK_EVERY)
        gevent.spawn(self._settle_forever)

    # -- sends

    def add(self, send: Send) -> Pending:
        """Begins to store a message. Raises InsufficientStorage where history is full, Unavailable."""
        batch = self._current
        if self._troubles.is_stuck:
            raise self._troubles.refusal()
        if batch.size > WAITING_MAX:
            raise Unavailable("more is sent than the disk takes; try again", closes=False)
        memory = self._memory
        given, limiters = send.identifiers.cursors, send.identifiers.limiters
        message = Kept(send.data, {}, frozenset(limiters))
        mark = memory.drawn
        memory.admit(message, given)
        self._seq += 1
        message.seq, message.left = self._seq, len(given)
        drawn = memory.drawn
        channels = channels_text(message.cursors, memory.drawn_text)
        if not batch.pendings:
            batch.mark = mark
            self._under_way.append(batch)
            self.hand_over_soon()
        pending = Pending(batch, message, send.stored)
        batch.pendings.append(pending)
        batch.rows.append((self._seq, drawn, channels, send.data, ",".join(limiters) if limiters else None))
        batch.size += weight(message)
        return pending

    def mark(self) -> int | None:
        """Returns a cursor that all on their way are greater than, in microseconds; None if none is under way."""
        return self._under_way[0].mark if self._under_way else None

    # -- what is written behind

    def hand_over_soon(self) -> None:
        """Has what is there written, with all that comes in this turn of the loop."""
        if not self._is_due:
            self._is_due = True
            if self._in_flight is None:
                self._start_gathering()

    def drain(self, *, shrinks: bool) -> None:
        """Has all written that is behind, in steps; `shrinks`: then makes the file smaller if it has space to spare."""
        self._drains = True
        self._shrinks = self._shrinks or shrinks
        self.hand_over_soon()

    def wait_for_presence(self, seconds: float) -> None:
        """Returns when the events of now are stored, after `seconds` at most, or at once if the disk is in trouble."""
        position = self._memory.position()
        deadline = time.monotonic() + seconds
        while self.position < position and not self._troubles and time.monotonic() < deadline:
            self.hand_over_soon()
            (self._in_flight or self._current).wait()  # LOOKS_MAX at most

    def close(self) -> bool:
        """Writes all that is left and closes the file; returns whether that was done in time."""
        while (self._in_flight or self._under_way or self._has_behind()) and not self._troubles:
            self.drain(shrinks=False)
            gevent.sleep(CLOSE_STEP)
        return self._writer.close(CLOSE_TIMEOUT)

    def _has_behind(self) -> bool:
        return bool(self._behind) or self._failed is not None

    # -- batches

    def _start_gathering(self) -> None:
        self._idle.start(self._hand_over)
        self._latest.again(self._hand_over)  # start() would go on where it was stopped

    def _hand_over(self) -> None:
        """In the loop: gives the next batch to the writer, if there is anything to write and nothing being written."""
        self._idle.stop()
        self._latest.stop()
        self._is_due = False
        batch = self._current
        if self._in_flight is not None or not (batch.rows or self._has_behind()):
            return
        batch.changes = self._take_changes()
        self._current = Batch()
        self._in_flight = batch
        if not self._watch.active:
            self._watch.start(self._look)
        shrinks, self._shrinks = self._shrinks and not self._has_behind(), False
        self._writer.put(Job(batch.rows, batch.changes, shrinks=shrinks))

    def _take_changes(self) -> Changes | None:
        if self._failed is not None:
            failed, self._failed = self._failed, None
            return failed
        behind = self._behind
        if not behind:
            self._drains = False
            return None
        step = max(BEHIND_STEP, 2 * len(self._current.rows))
        drops = self._drains or behind.drops >= DROPS_FROM
        changes = behind.take(step, self._memory.oldest_event, drops=drops)
        if not behind:
            self._drains = False
        return changes

    def _written(self, failure: Failure | None) -> None:
        """In the loop: the transaction of the batch in flight has ended."""
        batch = self._in_flight
        assert batch is not None
        self._in_flight = None
        if failure is None:
            self._troubles.over()
            if batch.changes is not None and batch.changes.events:
                self.position = batch.changes.events[-1].position
        else:
            self._failed = batch.changes
        if self._current.rows or (failure is None and (self._is_due or self._drains)):
            self._is_due = True
            self._start_gathering()
        else:
            self._is_due = False
        self._end(batch, None if failure is None else self._troubles.failed(failure))

    def _end(self, batch: Batch, refuse: Refuse | None) -> None:
        """In the loop: has a batch settled that is stored, or is not and will not be."""
        self._ended.append((batch, refuse))
        if self._settler is not None:
            self._settler.switch(None)

    def _settle_forever(self) -> None:
        """Keeps and delivers messages that are stored, gives up the others, and answers them, in their order."""
        while True:
            while self._ended:
                batch, refuse = self._ended.popleft()
                finish = self._keep if refuse is None else self._abandon
                try:
                    finish(batch)
                except Exception:  # those behind it must not wait for ever
                    get_hub().handle_error(finish, *sys.exc_info())
                if batch.rows:
                    self._under_way.remove(batch)
                batch.settle(refuse)
                batch.pendings = []  # each knows its batch: a cycle, which would stay until the next full collection
                self._loop.run_callback(batch.release)
            self._settler = Waiter()
            self._settler.get()
            self._settler = None

    def _keep(self, batch: Batch) -> None:
        memory, observer = self._memory, self._observer
        wake, rest = observer.wake, observer.rest
        for pending in batch.pendings:
            message = pending.message
            memory.keep(message)
            if pending.stored is not None:
                pending.stored()
            pending.is_settled = True
            wake(message)
            rest()

    def _abandon(self, batch: Batch) -> None:
        for pending in batch.pendings:
            self._memory.abandon(pending.message)
            self._observer.rest()

    def _look(self) -> None:
        """In the loop: refuses what has waited for long. What is being written may yet be stored and delivered."""
        batch = self._in_flight
        if batch is None:
            self._watch.stop()
            return
        batch.looks += 1
        self._current.looks += bool(self._current.rows)
        if batch.looks < LOOKS_MAX:
            return
        refuse = self._troubles.met(STUCK)
        if not batch.is_settled:
            batch.settle(refuse)
            batch.release()
        if self._current.rows:
            current, self._current = self._current, Batch()
            self._end(current, refuse)
