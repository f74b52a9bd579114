"""One caller's turn in a queue."""

import asyncio

import pytest

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
