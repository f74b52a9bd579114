"""Waiting for things to come true, with a bound; never for time to pass."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Let the loop turn until the condition holds.

    Raises:
        TimeoutError: it did not come to hold.
    """
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
