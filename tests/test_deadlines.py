"""Deadlines: one timer for all, and nobody is late or early by it."""

import tracemalloc
from typing import Any
from weakref import ref

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.deadlines import Deadlines
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


@example(plans=[(1, 0.3), (5, None), (2, None), (6, 0.1), (7, 0.2)], spare=0)  # the earliest that are left: 5, 2
@given(plans=st.lists(st.tuples(TIMES, st.none() | TIMES), max_size=20), spare=st.integers(0, 5))
def test_everybody_gives_up_at_their_own_deadline_unless_it_was_lifted(
    plans: list[tuple[float, float | None]], spare: int
) -> None:
    """At that very moment, once; there is never more than one timer, and none is left at the end."""
    loop: Any = TimerLoop()
    deadlines = Deadlines(loop, spare=spare)
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
    """Be it in time, long before the deadline, or not; and what is kept of them does not grow."""
    loop: Any = TimerLoop()
    deadlines, late = Deadlines(loop), Call(loop)
    deadlines.set(late, 60.0)
    gone = []
    tracemalloc.start()
    try:
        for number in range(10_000):
            call = Call(loop)
            deadlines.set(call, 30.0 + number)
            deadlines.lift(call)
            gone.append(ref(call))
        del call
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    loop.move(60.0)

    assert (late.gave_up, loop.pending) == ([60.0], [])
    gone.append(ref(late))
    del late
    assert {each() for each in gone} == {None}
    assert held < 10_000 * 150  # a reference to each


def test_a_timer_that_comes_early_is_taken_for_what_it_was_set_for() -> None:
    """Uvloop's come up to a millisecond early: to look at the clock again and again would take all that time."""
    loop: Any = TimerLoop(early=0.0005)
    deadlines, calls = Deadlines(loop), [Call(loop) for _ in range(100)]
    for number, call in enumerate(calls):
        deadlines.set(call, 1.0 + number / 100)
    loop.move(10.0)

    assert loop.fired == 100
    assert all(abs(call.gave_up[0] - 1.0 - number / 100) < 0.001 for number, call in enumerate(calls))


def test_one_that_fails_does_not_keep_the_others() -> None:
    """A bug in what becomes of one of them is nobody else's."""

    class Broken:
        def give_up(self) -> None:
            raise RuntimeError("a bug")

    loop: Any = TimerLoop()
    deadlines, call = Deadlines(loop), Call(loop)
    deadlines.set(Broken(), 1.0)
    deadlines.set(call, 1.0)
    with pytest.raises(RuntimeError, match="a bug"):
        loop.move(2.0)
    loop.move(3.0)

    assert len(call.gave_up) == 1


def test_who_gives_up_may_set_another() -> None:
    """Later than all, or at once: there is one timer, and it is the right one."""
    loop: Any = TimerLoop()
    deadlines, last, then = Deadlines(loop), Call(loop), Call(loop)

    class Again(Call):
        def give_up(self) -> None:
            super().give_up()
            deadlines.set(last, 50.0)
            deadlines.set(then, self.loop.now)

    first, second = Again(loop), Call(loop)
    deadlines.set(first, 1.0)
    deadlines.set(second, 2.0)
    loop.move(100.0)

    assert [call.gave_up for call in (first, then, second, last)] == [[1.0], [1.0], [2.0], [50.0]]
    assert loop.pending == []


def test_nothing_happens_once_they_are_closed() -> None:
    """The process ends, and with it what it waited for."""
    loop: Any = TimerLoop()
    deadlines, call = Deadlines(loop), Call(loop)
    deadlines.set(call, 1.0)
    deadlines.close()
    loop.move(2.0)

    assert (call.gave_up, loop.pending) == ([], [])
