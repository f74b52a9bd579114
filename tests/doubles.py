"""What stands in for time and callers where a test is to say what they do."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gateway.limiter import Permit


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """What is taken for now."""
        return self.now


class Time:
    """Time that passes when it is told to, for those who read it and sleep in it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[float] = []
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def clock(self) -> float:
        """The seconds of now."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked.append(seconds)
        self._sleepers.append((self.now + seconds, future))
        await future

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += seconds
        for due, future in self._sleepers:
            if due <= self.now and not future.done():
                future.set_result(None)


class LoopTime:
    """The time of the running loop, which stands still until it is moved.

    Whoever awaits anything but a turn of the loop waits for ever: ask a task for its result once it is done.
    """

    TURNS = 8
    """More turns of the loop than anything here takes to come to rest."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", self.clock)

    def clock(self) -> float:
        """The seconds of now."""
        return self.now

    async def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass, and what was due then be done."""
        await self.settle()
        self.now += seconds
        await self.settle()

    async def settle(self) -> None:
        """Let all that can happen now happen."""
        for _ in range(self.TURNS):
            await asyncio.sleep(0)


class TimerLoop:
    """As much of an event loop as has timers, in a time that is moved from one to the next.

    Attributes:
        early: so many seconds before their time its timers come, as uvloop's do, which counts milliseconds.
        fired: how many timers have come.
    """

    def __init__(self, *, early: float = 0.0) -> None:
        self.now = 0.0
        self.early = early
        self.fired = 0
        self.timers: list[Timer] = []

    def time(self) -> float:
        """The seconds of now."""
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> "Timer":
        """Note a timer."""
        timer = Timer(when, partial(callback, *arguments))
        self.timers.append(timer)
        return timer

    def move(self, until: float) -> None:
        """Let time pass; what is due happens on the way, in order."""
        while due := [timer for timer in self.pending if timer.due <= until]:
            timer = min(due, key=lambda each: each.due)
            self.timers.remove(timer)
            self.now = max(self.now, timer.due - self.early)
            self.fired += 1
            timer.action()
        self.now = until

    @property
    def pending(self) -> list["Timer"]:
        """Timers that were not cancelled."""
        return [timer for timer in self.timers if not timer.cancelled]


class Timer:
    """One thing that is going to happen."""

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action = action
        self.cancelled = False

    def when(self) -> float:
        """When it is due."""
        return self.due

    def cancel(self) -> None:
        """Let it not happen."""
        self.cancelled = True


class Timers:
    """What is going to happen, in a time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[float] = []
        """After how many seconds each thing was to happen."""
        self._timers: list[Timer] = []

    @property
    def pending(self) -> int:
        """How many things are still to happen."""
        self._timers = [timer for timer in self._timers if not timer.cancelled]
        return len(self._timers)

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Have something happen so many seconds later."""
        timer = Timer(self.now + seconds, action)
        self.asked.append(seconds)
        self._timers.append(timer)
        return timer

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass, and what was due then happen."""
        self.now += seconds
        for timer in [timer for timer in self._timers if timer.due <= self.now]:
            self._timers.remove(timer)
            if not timer.cancelled:
                timer.action()


class Caller:
    """Somebody who waits, and who remembers what they were given."""

    def __init__(self, route: str = "route") -> None:
        self.route = route
        self.permit: Permit | None = None
        self.gone = False
        self.hasty = False
        self.asked = 0

    def grant(self, permit: Permit) -> bool:
        """Take the permit, unless one has gone; who is hasty is done with it at once."""
        self.asked += 1
        if self.gone:
            return False
        self.permit = permit
        if self.hasty:
            permit.release()
        return True
