"""What it costs to join, to be granted, to leave and to resize while a queue stands, short or long."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import cycle
from time import thread_time_ns
from typing import Any

from gateway.limiter import Limiter, Permit

from .figures import Aim, Result, Table, interleave, ratio

LENGTHS = (1, 100, 10_000)
MOST = 2.0
"""The aim: 10,000 waiters cost what 1 costs, but for the caches of the processor."""


async def measure(*, rounds: int, steps: int) -> Result:
    """Each operation at each length of the queue, in interleaved rounds.

    Args:
        rounds: how many.
        steps: how often each operation is done in each.
    """
    loop = asyncio.get_running_loop()
    subjects: dict[tuple[str, int], Callable[[], float]] = {}
    for length in LENGTHS:
        subjects["hand over", length] = partial(_hand_over, loop, length, steps)
        subjects["hand over, semaphore", length] = partial(_semaphore_hand_over, length, steps)
        subjects["leave", length] = partial(_leave, loop, length, steps)
        subjects["leave, semaphore", length] = partial(_semaphore_leave, length, steps)
        subjects["resize", length] = partial(_resize, loop, length, steps)
    figures = dict(zip(subjects, interleave(rounds, tuple(subjects.values())), strict=True))
    rows, aims = [], []
    for operation, text in (
        ("hand over", "Limiter: join the end, release one, grant to the first"),
        ("hand over, semaphore", "Semaphore: the same"),
        ("leave", "Limiter: leave from the middle, join the end"),
        ("leave, semaphore", "Semaphore: the same"),
        ("resize", "Limiter: one more, grant to the first, one less, join the end"),
    ):
        growth = ratio(figures[operation, LENGTHS[-1]], figures[operation, LENGTHS[0]])
        rows.append((text, *(figures[operation, n].text() for n in LENGTHS), growth.text(".2f", "×")))  # noqa: RUF001
        if "semaphore" not in operation:
            aims.append(Aim(f"{operation}: {LENGTHS[-1]:,} waiters beside 1", growth, MOST))
    table = Table(
        title="Queue: ns per operation, by the number of waiters that stand in it",
        columns=("", *(f"{n:,}" for n in LENGTHS), f"{LENGTHS[-1]:,} beside {LENGTHS[0]}"),
        rows=rows,
        note=f"{rounds} interleaved rounds of {steps:,} steps, CPU time. Every waiter is a future, made anew for each "
        "joining, as in the data path; a semaphore cannot be resized.",
    )
    return Result((table,), tuple(aims))


class _Waiter:
    """Somebody in the queue, as the data path has them."""

    __slots__ = ("future",)

    route = "route"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Permit] = loop.create_future()

    def grant(self, permit: Permit) -> bool:
        if self.future.done():
            return False
        self.future.set_result(permit)
        return True


def _standing(loop: asyncio.AbstractEventLoop, length: int) -> tuple[Limiter, Permit, deque[_Waiter]]:
    """A limiter with its only permit taken and a queue, the permit, and the waiters in order."""
    limiter = Limiter(capacity=1, max_waiting=length + 1)
    permit = limiter.acquire_nowait()
    if permit is None:
        raise AssertionError("a new limiter gave no permit")
    line = deque(_Waiter(loop) for _ in range(length))
    for waiter in line:
        limiter.enqueue(waiter)
    return limiter, permit, line


def _check(limiter: Limiter, length: int) -> None:
    if (limiter.waiting, limiter.statistics().running) != (length, 1):
        raise AssertionError(f"the queue is not as it was: {limiter.statistics()}")


def _hand_over(loop: asyncio.AbstractEventLoop, length: int, steps: int) -> float:
    limiter, permit, line = _standing(loop, length)
    started = thread_time_ns()
    for _ in range(steps):
        waiter = _Waiter(loop)
        limiter.enqueue(waiter)
        line.append(waiter)
        permit.release()
        permit = line.popleft().future.result()
    nanoseconds = thread_time_ns() - started
    _check(limiter, length)
    return nanoseconds / steps


def _leave(loop: asyncio.AbstractEventLoop, length: int, steps: int) -> float:
    limiter, _, line = _standing(loop, length)
    order = list(line)
    # Whoever stands in the middle goes to the end, so that the back half of the line moves up in a circle.
    circle = cycle(range(length // 2, length))
    started = thread_time_ns()
    for _ in range(steps):
        index = next(circle)
        limiter.leave(order[index])
        waiter = order[index] = _Waiter(loop)
        limiter.enqueue(waiter)
    nanoseconds = thread_time_ns() - started
    _check(limiter, length)
    return nanoseconds / steps


def _resize(loop: asyncio.AbstractEventLoop, length: int, steps: int) -> float:
    limiter, permit, line = _standing(loop, length)
    started = thread_time_ns()
    for _ in range(steps):
        limiter.resize(2)
        granted = line.popleft().future.result()
        limiter.resize(1)
        permit.release()
        permit = granted
        waiter = _Waiter(loop)
        limiter.enqueue(waiter)
        line.append(waiter)
    nanoseconds = thread_time_ns() - started
    _check(limiter, length)
    return nanoseconds / steps


_Acquiring = Coroutine[Any, Any, bool]


def _join(semaphore: asyncio.Semaphore) -> tuple[_Acquiring, "asyncio.Future[bool]"]:
    """Somebody who waits for the semaphore, driven by hand: no task, no turn of the loop is in the figure."""
    waiter = semaphore.acquire()
    return waiter, waiter.send(None)


def _finish(waiter: _Acquiring) -> None:
    try:
        waiter.send(None)
    except StopIteration:
        return
    raise AssertionError("the semaphore did not wake its first waiter")


def _semaphore_hand_over(length: int, steps: int) -> float:
    semaphore = asyncio.Semaphore(0)
    line = deque(_join(semaphore)[0] for _ in range(length))
    started = thread_time_ns()
    for _ in range(steps):
        line.append(_join(semaphore)[0])
        semaphore.release()
        _finish(line.popleft())
    nanoseconds = thread_time_ns() - started
    for waiter in line:
        waiter.close()
    return nanoseconds / steps


def _semaphore_leave(length: int, steps: int) -> float:
    semaphore = asyncio.Semaphore(0)
    order = [_join(semaphore) for _ in range(length)]
    circle = cycle(range(length // 2, length))
    started = thread_time_ns()
    for _ in range(steps):
        index = next(circle)
        waiter, future = order[index]
        future.cancel()
        try:
            waiter.throw(asyncio.CancelledError())
        except asyncio.CancelledError:
            order[index] = _join(semaphore)
    nanoseconds = thread_time_ns() - started
    for waiter, _ in order[: length // 2]:
        waiter.close()
    for _ in order[length // 2 :]:
        order[next(circle)][0].close()
    return nanoseconds / steps
