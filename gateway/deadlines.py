"""Until when somebody may take: one timer for all of them, since nearly all are over long before."""

import asyncio
from heapq import heapify, heappop, heappush
from typing import Protocol

SPARE = 64
"""So many that are over may be kept beside as many as are not, before these are sorted out."""


class Late(Protocol):
    """What may be late."""

    def give_up(self) -> None:
        """Take that the time is up."""


class Deadlines:
    """Who has to be over when. A timer of the loop for each would take five times the memory, and the time.

    Args:
        loop: whose time counts.
    """

    __slots__ = ("_due", "_heap", "_loop", "_number", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[Late, int] = {}  # by which number it is found in the heap; what has no such number is over
        self._heap: list[tuple[float, int, Late]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    def set(self, late: Late, deadline: float) -> None:
        """Have somebody give up at a moment, in seconds of the loop, unless it is lifted before."""
        self._number = number = self._number + 1
        self._due[late] = number
        heappush(self._heap, (deadline, number, late))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look)
        elif deadline < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._look)

    def lift(self, late: Late) -> None:
        """Say that it is over, be it in time or not."""
        self._due.pop(late, None)
        if len(self._heap) > 2 * len(self._due) + SPARE:
            self._heap = [each for each in self._heap if self._is_due(each)]
            heapify(self._heap)

    def close(self) -> None:
        """Let nothing more happen."""
        self._due.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_due(self, entry: tuple[float, int, Late]) -> bool:
        _, number, late = entry
        return self._due.get(late) == number

    def _look(self) -> None:
        """The timer is that of the earliest deadline, or of an earlier one that was lifted."""
        now, self._timer = self._loop.time(), None
        while self._heap and (self._heap[0][0] <= now or not self._is_due(self._heap[0])):
            entry = heappop(self._heap)
            if self._is_due(entry):
                late = entry[2]
                del self._due[late]
                late.give_up()
        if self._heap and self._timer is None:
            self._timer = self._loop.call_at(self._heap[0][0], self._look)
