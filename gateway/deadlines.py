"""Who has to be over when: one timer for all of them, since nearly all are over long before."""

import asyncio
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

SPARE = 64
_WHO = 2


class Late(Protocol):
    """What may be late."""

    def give_up(self) -> None:
        """Take that the time is up."""


class Deadlines:
    """Deadlines. A timer of the loop for each would take five times the memory, and the time.

    Args:
        loop: whose time counts.
        spare: so many that are over may be kept beside as many as are not, before these are sorted out.
    """

    __slots__ = ("_due", "_heap", "_loop", "_number", "_spare", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, spare: int = SPARE) -> None:
        self._loop = loop
        self._spare = spare
        # A heap of deadline, number, and who is late; None for who is not, and is held no longer.
        self._heap: list[list[Any]] = []
        self._due: dict[Late, list[Any]] = {}
        self._number = 0  # so that two of one moment are never compared
        self._timer: asyncio.TimerHandle | None = None

    def set(self, late: Late, deadline: float) -> None:
        """Have somebody who has no deadline give up at a moment, in seconds of the loop, unless it is lifted before."""
        self._number = number = self._number + 1
        self._due[late] = entry = [deadline, number, late]
        heappush(self._heap, entry)
        if self._timer is None:
            self._arm()
        elif deadline < self._timer.when():
            self._timer.cancel()
            self._arm()

    def lift(self, late: Late) -> None:
        """Say that it is over, be it in time or not."""
        entry = self._due.pop(late, None)
        if entry is not None:
            entry[_WHO] = None
        if len(self._heap) > 2 * len(self._due) + self._spare:
            self._heap = [each for each in self._heap if each[_WHO] is not None]
            heapify(self._heap)

    def close(self) -> None:
        """Let nothing more happen."""
        self._due.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        due = self._heap[0][0]
        self._timer = self._loop.call_at(due, self._look, due)

    def _look(self, due: float) -> None:
        """The timer is that of the earliest deadline, or of an earlier one that was lifted."""
        now = max(self._loop.time(), due)  # uvloop's come up to a millisecond early
        try:
            while self._heap and (self._heap[0][0] <= now or self._heap[0][_WHO] is None):
                late = heappop(self._heap)[_WHO]
                if late is not None:
                    del self._due[late]
                    late.give_up()
        finally:  # whatever happens to one of them, the others are not forgotten
            self._timer = None
            if self._heap:
                self._arm()
