"""One caller's turn: a place in one queue, or in several at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.deadlines import Deadlines
from gateway.errors import QUEUE_TIMEOUT, Refusal
from gateway.limiter import Limiter, Permit
from gateway.turn import Turn
from tests.doubles import LoopTime

TOO_LONG = Refusal(QUEUE_TIMEOUT, "too long")


def too_long() -> Refusal:
    """What is raised when the time is up."""
    return TOO_LONG


def deadlines() -> Deadlines:
    """Those of one turn."""
    return Deadlines(asyncio.get_running_loop())


def full_limiter() -> tuple[Limiter, Permit]:
    """A limiter of one permit, and that permit."""
    limiter = Limiter(capacity=1, max_waiting=10)
    permit = limiter.acquire_nowait()
    assert permit is not None
    return limiter, permit


def stand_in(*limiters: Limiter, route: str = "route") -> Turn[Permit]:
    """A turn with a place in each of these queues."""
    turn: Turn[Permit] = Turn(limiters, route)
    for limiter in limiters:
        if not turn.over:
            limiter.enqueue(turn)
    return turn


def join(*limiters: Limiter, seconds: float = 10) -> asyncio.Task[Permit]:
    """Somebody who waits."""
    return asyncio.create_task(stand_in(*limiters).wait(seconds, too_long, deadlines()))


def state(*limiters: Limiter) -> list[tuple[int, int]]:
    """How many run and wait at each."""
    return [(limiter.statistics().running, limiter.statistics().waiting) for limiter in limiters]


async def test_a_granted_turn_gets_the_permit() -> None:
    """The permit that was given back is the one that the waiter gets, in the same turn of the loop."""
    limiter, permit = full_limiter()
    waiting = join(limiter)
    await asyncio.sleep(0)

    permit.release()

    assert limiter.statistics().running == 1
    (await waiting).release()
    assert limiter.statistics().running == 0


async def test_a_turn_ends_when_its_time_is_up() -> None:
    """The refusal comes while the permit is still held by another."""
    limiter, _permit = full_limiter()

    with pytest.raises(Refusal) as refused:
        await join(limiter, seconds=0.01)

    assert refused.value is TOO_LONG
    assert limiter.statistics().waiting == 0


async def test_the_refusal_is_made_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a moment before, so that it can tell the state of then; and once, by when all queues have been left."""
    time = LoopTime(monkeypatch)
    limiters = [full_limiter()[0] for _ in range(3)]
    made = []

    def make() -> Refusal:
        made.append(time.now)
        return TOO_LONG

    waiting = asyncio.create_task(stand_in(*limiters).wait(30, make, deadlines()))
    await time.pass_by(29.5)
    assert (made, waiting.done()) == ([], False)
    await time.pass_by(0.5)

    assert (made, waiting.exception()) == ([time.now], TOO_LONG)
    assert state(*limiters) == [(1, 0)] * 3


async def test_nobody_makes_a_refusal_for_who_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer has gone with the waiting."""
    time = LoopTime(monkeypatch)
    limiter, permit = full_limiter()
    made: list[Refusal] = []

    def make() -> Refusal:
        made.append(TOO_LONG)
        return TOO_LONG

    waiting = asyncio.create_task(stand_in(limiter).wait(30, make, deadlines()))
    await time.settle()

    permit.release()
    await time.pass_by(100)

    assert (waiting.done(), waiting.exception(), made) == (True, None, [])


async def test_leaving_in_the_turn_of_the_grant_loses_no_permit() -> None:
    """Granted and cancelled before it could look: the permit goes on to the next."""
    limiter, permit = full_limiter()
    first, second = join(limiter), join(limiter)
    await asyncio.sleep(0)

    permit.release()
    first.cancel()
    (await second).release()

    assert first.cancelled()
    assert (limiter.statistics().running, limiter.statistics().waiting) == (0, 0)


async def test_a_grant_in_the_turn_of_leaving_is_declined() -> None:
    """Cancelled and then offered a permit before it could leave: the next in the queue gets it at once."""
    limiter, permit = full_limiter()
    first, second = join(limiter), join(limiter)
    await asyncio.sleep(0)

    first.cancel()
    permit.release()

    assert (limiter.statistics().running, limiter.statistics().waiting) == (1, 0)
    (await second).release()
    assert limiter.statistics().running == 0


async def test_a_refused_turn_that_is_left_holds_nothing() -> None:
    """Refused and cancelled in one turn: no permit is taken, nothing is raised elsewhere."""
    limiter, permit = full_limiter()
    turn = stand_in(limiter)
    waiting = asyncio.create_task(turn.wait(10, too_long, deadlines()))
    await asyncio.sleep(0)

    turn.refuse(TOO_LONG)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    permit.release()

    assert (limiter.statistics().running, limiter.statistics().waiting) == (0, 0)


@pytest.mark.parametrize("granting", [0, 1, 2])
async def test_the_first_that_grants_ends_the_waiting_in_all(granting: int) -> None:
    """From then on, in the same turn of the loop, nobody stands in the other queues: their permits go elsewhere."""
    limiters, permits = zip(*(full_limiter() for _ in range(3)), strict=True)
    turn = stand_in(*limiters)
    waiting = asyncio.create_task(turn.wait(10, too_long, deadlines()))
    await asyncio.sleep(0)
    assert (turn.over, state(*limiters)) == (False, [(1, 1)] * 3)

    permits[granting].release()

    assert (turn.over, state(*limiters)) == (True, [(1, 0)] * 3)
    for permit in permits[:granting] + permits[granting + 1 :]:
        permit.release()
    granted = await waiting
    assert granted.limiter is limiters[granting]
    granted.release()
    assert state(*limiters) == [(0, 0)] * 3


async def test_two_grants_in_one_turn_of_the_loop_are_one_and_the_next_ones() -> None:
    """Both limiters give a permit back before the caller could look: the second goes to whoever is next there."""
    (one, permit), (other, other_permit) = full_limiter(), full_limiter()
    both, behind = join(one, other), join(other)
    await asyncio.sleep(0)

    permit.release()
    other_permit.release()

    assert ((await both).limiter, (await behind).limiter) == (one, other)
    assert state(one, other) == [(1, 0), (1, 0)]


@pytest.mark.parametrize("granting", [0, 1])
async def test_a_permit_that_came_too_late_returns_to_its_own_limiter(granting: int) -> None:
    """Granted and cancelled in one turn: the next of the queue that it came from gets it, nobody in the other does."""
    limiters, permits = zip(*(full_limiter() for _ in range(2)), strict=True)
    leaving = join(*limiters)
    behind = [join(limiter) for limiter in limiters]
    await asyncio.sleep(0)

    permits[granting].release()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)

    assert leaving.cancelled()
    assert (await behind[granting]).limiter is limiters[granting]
    assert not behind[1 - granting].done()
    assert limiters[1 - granting].waiting == 1
    permits[1 - granting].release()
    assert (await behind[1 - granting]).limiter is limiters[1 - granting]


async def test_a_turn_that_is_left_stands_in_no_queue() -> None:
    """Cancelled while it waits in three: a permit of any of them is nobody's."""
    limiters, permits = zip(*(full_limiter() for _ in range(3)), strict=True)
    waiting = join(*limiters)
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert state(*limiters) == [(1, 0)] * 3
    for permit in permits:
        permit.release()
    assert state(*limiters) == [(0, 0)] * 3


async def test_a_turn_ends_once() -> None:
    """A refusal after the grant takes nothing back; a grant after a refusal is declined; the first refusal counts."""
    limiter, permit = full_limiter()
    granted, refused = stand_in(limiter), stand_in(limiter)
    permit.release()
    granted.refuse(TOO_LONG)
    refused.refuse(TOO_LONG)
    refused.refuse(RuntimeError("another"))

    held = await granted.wait(10, too_long, deadlines())
    assert refused.grant(held) is False
    with pytest.raises(Refusal, match="too long"):
        await refused.wait(10, too_long, deadlines())
    assert state(limiter) == [(1, 0)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "cancel", "refuse", "release", "resize", "restrict", "turn"]), st.integers(0, 99)
    ),
    max_size=80,
)


@given(steps=STEPS)
def test_no_order_of_events_loses_a_permit_or_a_caller(steps: list[tuple[str, int]]) -> None:
    """Joining some of three queues, hanging up, being refused, permits coming and going, several in one loop turn."""
    asyncio.run(_play(steps))


class _Schedule:
    """Three limiters, and whoever waits at some of them."""

    def __init__(self) -> None:
        self.limiters = [Limiter(capacity=2, max_waiting=100) for _ in range(3)]
        self.most: dict[Limiter, int | None] = dict.fromkeys(self.limiters)
        self.turns: list[tuple[Turn[Permit], Sequence[Limiter]]] = []
        self.callers: list[tuple[asyncio.Task[Permit], Sequence[Limiter]]] = []
        self.held: list[Permit] = []
        for limiter in self.limiters:
            while (permit := limiter.acquire_nowait()) is not None:
                self.held.append(permit)

    def join(self, number: int) -> None:
        """Somebody waits at one, two or all three, by one of two routes."""
        there = [limiter for bit, limiter in enumerate(self.limiters) if (number % 7 + 1) >> bit & 1]
        self.turns.append((stand_in(*there, route=f"route {number % 2}"), there))
        self.callers.append((asyncio.create_task(self.turns[-1][0].wait(60, too_long, deadlines())), there))

    async def cancel(self, number: int) -> None:
        """Somebody hangs up."""
        await asyncio.sleep(0)  # a task that never began to wait is not in a turn
        if self.callers:
            self.callers[number % len(self.callers)][0].cancel()

    async def settle(self) -> None:
        """Let everybody look; then no turn that is over has a place, and nobody waits where there is room."""
        for _ in range(3):
            await asyncio.sleep(0)
        for caller, there in [place for place in self.callers if place[0].done()]:
            self.callers.remove((caller, there))
            if not caller.cancelled() and caller.exception() is None:
                self.held.append(caller.result())
                assert self.held[-1].limiter in there
        for limiter in self.limiters:
            waiting = sum(limiter in there for turn, there in self.turns if not turn.over)
            out = sum(permit.limiter is limiter for permit in self.held)
            assert state(limiter) == [(out, waiting)]
            most, capacity = self.most[limiter], limiter.statistics().capacity
            assert not waiting or out >= (capacity if most is None else min(capacity, most))

    async def step(self, step: str, number: int) -> None:
        """One event."""
        limiter = self.limiters[number % 3]
        before = [each.statistics().running for each in self.limiters]
        if step == "join":
            self.join(number)
        elif step == "cancel":
            await self.cancel(number)
        elif step == "refuse" and self.turns:
            self.turns[number % len(self.turns)][0].refuse(TOO_LONG)
        elif step == "release" and self.held:
            self.held.pop(number % len(self.held)).release()
        elif step == "resize":
            limiter.resize(number % 4)
        elif step == "restrict":
            self.most[limiter] = (None, 0, 1)[number % 7 % 3]
            limiter.restrict(self.most[limiter])
        elif step == "turn":
            await self.settle()
        for each, running in zip(self.limiters, before, strict=True):
            assert each.statistics().running <= max(running, each.statistics().capacity)


async def _play(steps: list[tuple[str, int]]) -> None:
    schedule = _Schedule()
    for step, number in steps:
        await schedule.step(step, number)
    await asyncio.sleep(0)
    for caller, _ in schedule.callers:
        caller.cancel()
    await schedule.settle()
    for permit in schedule.held:
        permit.release()

    assert (state(*schedule.limiters), schedule.callers) == ([(0, 0)] * 3, [])


async def test_turns_have_one_timer_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute of timers, one for each who has waited, would be a leak."""
    loop, shared = asyncio.get_running_loop(), deadlines()
    timers: list[asyncio.TimerHandle] = []
    call_at = loop.call_at

    def note(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(call_at(*arguments, **options))
        return timers[-1]

    monkeypatch.setattr(loop, "call_at", note)
    for _ in range(100):
        limiter, permit = full_limiter()
        waiting = asyncio.create_task(stand_in(limiter).wait(30, too_long, shared))
        await asyncio.sleep(0)
        permit.release()
        await waiting
    shared.close()

    assert [timer.cancelled() for timer in timers] == [True]
