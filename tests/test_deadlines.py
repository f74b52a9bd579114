"""Deadlines: one timer for all, and nobody is late or early by it."""

from typing import Any
from weakref import ref

from hypothesis import given
from hypothesis import strategies as st

from gateway.deadlines import SPARE, Deadlines
from tests.doubles import TimerLoop


class Call:
    """Says when it gave up."""

    def __init__(self, loop: TimerLoop) -> None:
        self.loop = loop
        self.gave_up: list[float] = []

    def give_up(self) -> None:
        """Note it."""
        self.gave_up.append(self.loop.now)


TIMES = st.floats(0.001, 100)


@given(st.lists(st.tuples(TIMES, st.none() | TIMES), max_size=20))
def test_everybody_gives_up_at_their_own_deadline_unless_it_was_lifted(plans: list[tuple[float, float | None]]) -> None:
    """At that very moment, once; there is never more than one timer, and none is left at the end."""
    loop: Any = TimerLoop()
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


def test_who_is_over_is_not_held() -> None:
    """Whoever was in time is kept with a few others at most, be it a minute before their deadline."""
    loop: Any = TimerLoop()
    deadlines, there = Deadlines(loop), [Call(loop) for _ in range(10)]
    for call in there:
        deadlines.set(call, 60.0)
    gone = []
    for number in range(1000):
        call = Call(loop)
        deadlines.set(call, 30.0 + number)
        deadlines.lift(call)
        gone.append(ref(call))
    del call

    assert sum(each() is not None for each in gone) <= SPARE + len(there)
    loop.move(60.0)
    assert [call.gave_up for call in there] == [[60.0]] * 10
    assert loop.pending == []


def test_who_is_given_more_time_gives_up_once() -> None:
    """At the deadline that was set last, be it earlier or later."""
    loop: Any = TimerLoop()
    deadlines, calls = Deadlines(loop), [Call(loop), Call(loop)]
    for call, times in zip(calls, [(1.0, 2.0), (4.0, 3.0)], strict=True):
        for deadline in times:
            deadlines.set(call, deadline)
    loop.move(100.0)

    assert [call.gave_up for call in calls] == [[2.0], [3.0]]


def test_nothing_happens_once_they_are_closed() -> None:
    """The process ends, and with it what it waited for."""
    loop: Any = TimerLoop()
    deadlines, call = Deadlines(loop), Call(loop)
    deadlines.set(call, 1.0)
    deadlines.close()
    loop.move(2.0)

    assert (call.gave_up, loop.pending) == ([], [])
