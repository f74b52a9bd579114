"""Routing: which instance gets a call."""

import asyncio

from gateway.emulator import Emulator
from gateway.emulator.settings import EmulatorSettings

from .support import http, unsigned

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def fleet(routing: str) -> EmulatorSettings:
    """Four instances behind one endpoint."""
    return unsigned(seed={"instances": 4, "routing": routing})


async def shares(emulator: Emulator, calls: int, *, at_once: bool, seconds: float = 0) -> list[int]:
    """How many of some calls each instance got."""
    async with http() as session:

        async def call() -> None:
            url = f"{emulator.url}/endpoints/seed/invocations"
            async with session.post(url, data=b"", headers={ATTRIBUTES: f"seconds={seconds}"}) as reply:
                assert reply.status == 200

        if at_once:
            await asyncio.gather(*(call() for _ in range(calls)))
        else:
            for _ in range(calls):
                await call()
    return [instance.calls for instance in emulator.counters("seed").instances]


async def test_least_outstanding_requests_fills_the_fleet_evenly() -> None:
    """Calls at once are spread evenly; calls one by one take turns."""
    async with Emulator(fleet("LEAST_OUTSTANDING_REQUESTS")) as emulator:
        assert await shares(emulator, 8, at_once=True, seconds=0.3) == [2, 2, 2, 2]
        assert max(instance.peak_work for instance in emulator.counters("seed").instances) == 2
        emulator.reset()
        assert await shares(emulator, 4, at_once=False) == [1, 1, 1, 1]


async def test_random_routing_is_uneven_and_repeatable() -> None:
    """RANDOM piles calls up on some instances while others have none to do; a seed makes it the same every time."""
    async with Emulator(fleet("RANDOM"), seed=7) as one:
        first = await shares(one, 40, at_once=True)
    async with Emulator(fleet("RANDOM"), seed=7) as two:
        assert await shares(two, 40, at_once=True) == first
    assert sum(first) == 40
    assert min(first) < 10 < max(first)
