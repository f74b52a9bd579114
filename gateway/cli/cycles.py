"""Looks for reference cycles when there is reason to, and not while a crowd comes in.

CPython looks whenever ten thousand more objects are there than before (`gc.set_threshold`), which is just what a queue
that fills looks like, and each look holds the loop for milliseconds: with 4,000 callers it took a fifth of the CPU, and
left instances idle for up to 60 ms at a time. Requests that go well leave no cycles, so few looks are needed.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from gateway.cli.loop import beside

OBJECTS = 10_000
"""How many new objects are no reason to look."""

OBJECTS_PER_CONNECTION = 100
"""How many a connection and its request explain; a caller who waits has some fifty."""

AT_LEAST_EVERY_SECONDS = 60.0
"""Cycles may be few and hold much, such as bodies: so long do they stay at the most."""

TICK_SECONDS = 1.0


class Collector:
    """Decides when to look.

    Args:
        connections: how many are open now.
        clock: seconds that only grow.
    """

    def __init__(self, connections: Callable[[], int], *, clock: Callable[[], float] = monotonic) -> None:
        self._connections = connections
        self._clock = clock
        self._last = clock()

    def tick(self) -> None:
        """Look for cycles, if more objects are new than the connections explain, or the last look is long ago."""
        explained = OBJECTS + OBJECTS_PER_CONNECTION * self._connections()
        now = self._clock()
        if gc.get_count()[0] > explained or now - self._last >= AT_LEAST_EVERY_SECONDS:
            gc.collect()
            self._last = now


@asynccontextmanager
async def collecting(connections: Callable[[], int]) -> AsyncIterator[None]:
    """Have cycles looked for by us until the end; what is there at the beginning, such as modules, is never looked at.

    Not even now: a look would hold the start up, for some thousand objects that it could free.

    Args:
        connections: how many are open now.
    """
    gc.freeze()
    gc.disable()
    collector = Collector(connections)

    async def tick_on_and_on() -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            collector.tick()

    try:
        async with beside(tick_on_and_on(), "look for reference cycles"):
            yield
    finally:
        gc.enable()
        gc.unfreeze()
