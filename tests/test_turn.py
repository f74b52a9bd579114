"""One caller's turn in a queue."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import QUEUE_TIMEOUT, Refusal
from gateway.limiter import Limiter, Permit
from gateway.turn import Turn

TOO_LONG = Refusal(QUEUE_TIMEOUT, "too long")


def full_limiter() -> tuple[Limiter, Permit]:
    """A limiter of one permit, and that permit."""
    limiter = Limiter(capacity=1, max_waiting=10)
    permit = limiter.acquire_nowait()
    assert permit is not None
    return limiter, permit


def join(limiter: Limiter, seconds: float = 10) -> asyncio.Task[Permit]:
    """Somebody who waits."""
    turn: Turn[Permit] = Turn(limiter.leave)
    limiter.enqueue(turn)
    return asyncio.create_task(turn.wait(seconds, TOO_LONG))


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
    turn: Turn[Permit] = Turn(limiter.leave)
    limiter.enqueue(turn)
    waiting = asyncio.create_task(turn.wait(10, TOO_LONG))
    await asyncio.sleep(0)

    turn.refuse(TOO_LONG)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    permit.release()

    assert (limiter.statistics().running, limiter.statistics().waiting) == (0, 0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["join", "cancel", "refuse", "release", "turn"]), st.integers(0, 9)), max_size=60
)


@given(steps=STEPS)
def test_no_order_of_events_loses_a_permit_or_a_caller(steps: list[tuple[str, int]]) -> None:
    """Joining, hanging up, being refused and permits coming back, in any order, several in one turn of the loop."""
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, int]]) -> None:  # noqa: C901 - one branch for each kind of event
    limiter = Limiter(capacity=2, max_waiting=100)
    turns: list[Turn[Permit]] = []
    callers: list[asyncio.Task[Permit]] = []
    held: list[Permit] = []
    while (permit := limiter.acquire_nowait()) is not None:
        held.append(permit)

    async def settle() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        for caller in [caller for caller in callers if caller.done()]:
            callers.remove(caller)
            if not caller.cancelled() and caller.exception() is None:
                held.append(caller.result())

    for step, number in steps:
        if step == "join":
            turns.append(Turn(limiter.leave))
            limiter.enqueue(turns[-1])
            callers.append(asyncio.create_task(turns[-1].wait(60, TOO_LONG)))
        elif step == "cancel" and callers:
            await asyncio.sleep(0)  # a task that never began to wait is not in a turn
            callers[number % len(callers)].cancel()
        elif step == "refuse" and turns:
            turns[number % len(turns)].refuse(TOO_LONG)
        elif step == "release" and held:
            held.pop(number % len(held)).release()
        elif step == "turn":
            await settle()
        assert limiter.statistics().running <= 2
    for caller in callers:
        await asyncio.sleep(0)
        caller.cancel()
    await settle()
    for permit in held:
        permit.release()

    assert (limiter.statistics().running, limiter.statistics().waiting, callers) == (0, 0, [])


async def test_a_turn_leaves_no_timer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute of timers, one for each who has waited, would be a leak."""
    limiter, permit = full_limiter()
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def note(*arguments: Any) -> asyncio.TimerHandle:
        timers.append(call_later(*arguments))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", note)
    waiting = join(limiter)
    await asyncio.sleep(0)

    permit.release()
    await waiting

    assert [timer.cancelled() for timer in timers] == [True]
