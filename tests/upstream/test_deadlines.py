"""Deadlines: one timer for all, and nobody is late or early by it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.deadlines import Deadlines


class Loop:
    """Time that is moved from timer to timer."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        """The seconds of now."""
        return self.now

    def call_at(self, when: float, callback: Any) -> "Timer":
        """Note a timer."""
        timer = Timer(when, callback)
        self.timers.append(timer)
        return timer

    def move(self, until: float) -> None:
        """Let time pass; what is due happens on the way, in order."""
        while due := [timer for timer in self.pending if timer.at <= until]:
            timer = min(due, key=lambda each: each.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.callback()
        self.now = until

    @property
    def pending(self) -> list["Timer"]:
        """Timers that were not cancelled."""
        return [timer for timer in self.timers if not timer.cancelled]


class Timer:
    """One of them."""

    def __init__(self, at: float, callback: Any) -> None:
        self.at = at
        self.callback = callback
        self.cancelled = False

    def when(self) -> float:
        """When it is due."""
        return self.at

    def cancel(self) -> None:
        """Let it not happen."""
        self.cancelled = True


class Call:
    """Says when it gave up."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.gave_up: list[float] = []

    def give_up(self) -> None:
        """Note it."""
        self.gave_up.append(self.loop.now)


TIMES = st.floats(0.001, 100)


@given(st.lists(st.tuples(TIMES, st.none() | TIMES), max_size=20))
def test_everybody_gives_up_at_their_own_deadline_unless_it_was_lifted(plans: list[tuple[float, float | None]]) -> None:
    """At that very moment, once; there is never more than one timer, and none is left at the end."""
    loop: Any = Loop()
    deadlines = Deadlines(loop)
    calls = [Call(loop) for _ in plans]
    for call, (deadline, _) in zip(calls, plans, strict=True):
        deadlines.set(call, deadline)
        assert len(loop.pending) == 1
    lifts = sorted((over, index) for index, (_, over) in enumerate(plans) if over is not None)
    for over, index in lifts:
        loop.move(over)
        deadlines.lift(calls[index])
        assert len(loop.pending) <= 1
    loop.move(1000)

    for call, (deadline, end) in zip(calls, plans, strict=True):
        assert call.gave_up == ([deadline] if end is None or end >= deadline else [])
    assert loop.pending == []


def test_nothing_happens_once_they_are_closed() -> None:
    """The process ends, and with it what it waited for."""
    loop: Any = Loop()
    deadlines, call = Deadlines(loop), Call(loop)
    deadlines.set(call, 1.0)
    deadlines.close()
    loop.move(2.0)

    assert (call.gave_up, loop.pending) == ([], [])
