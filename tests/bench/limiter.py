"""What a permit costs while nobody waits, beside `asyncio.Semaphore`."""

import asyncio
from collections.abc import Coroutine
from time import thread_time_ns
from typing import Any

from gateway.limiter import Limiter

from .figures import Aim, Result, Table, interleave, ratio

MOST = 2.0
"""The aim: a permit, which is a fair and observable one, costs at most twice as much as the plainest there is."""


def measure(*, rounds: int, pairs: int) -> Result:
    """Take and give back, many times over, in interleaved rounds.

    Args:
        rounds: how many.
        pairs: how often a permit is taken and given back in each.
    """
    ours, theirs = interleave(rounds, (lambda: _limiter(pairs), lambda: _finish(_semaphore(pairs))))
    compared = ratio(ours, theirs)
    table = Table(
        title="Permit: take and give back, nobody waits",
        columns=("", "gateway.limiter.Limiter", "asyncio.Semaphore", "ratio"),
        rows=(("ns per pair", ours.text(), theirs.text(), compared.text(".2f", "×")),),  # noqa: RUF001
        note=f"{rounds} interleaved rounds of {pairs:,} pairs; medians, least and most in brackets.",
    )
    return Result((table,), (Aim("a permit beside a semaphore", compared, MOST),))


def _limiter(pairs: int) -> float:
    limiter = Limiter(capacity=1, max_waiting=0)
    started = thread_time_ns()
    for _ in range(pairs):
        permit = limiter.acquire_nowait()
        if permit is not None:
            permit.release()
    nanoseconds = thread_time_ns() - started
    if limiter.statistics().running or permit is None:
        raise AssertionError("the limiter lost a permit: nothing was measured")
    return nanoseconds / pairs


async def _semaphore(pairs: int) -> float:
    semaphore = asyncio.Semaphore(1)
    started = thread_time_ns()
    for _ in range(pairs):
        await semaphore.acquire()
        semaphore.release()
    return (thread_time_ns() - started) / pairs


def _finish(main: Coroutine[Any, Any, float]) -> float:
    """Run a coroutine that never has to wait; a loop would add nothing but its own start."""
    try:
        main.send(None)
    except StopIteration as end:
        return float(end.value)
    main.close()
    raise AssertionError("the semaphore made its only user wait: nothing was measured")
