"""The instances of one endpoint: which of them gets a call."""

import asyncio
import random
from collections.abc import Sequence

from gateway.emulator.container import Invocation
from gateway.emulator.counters import Call
from gateway.emulator.instance import Instance, Outcome
from gateway.emulator.settings import Routing


class Fleet:
    """Instances and a routing strategy (API: ProductionVariantRoutingConfig).

    Among instances with equally few outstanding calls the one after the last chosen is taken, so that a quiet
    endpoint uses all of its instances.
    """

    def __init__(self, instances: Sequence[Instance], *, routing: Routing, chance: random.Random) -> None:
        self._instances = tuple(instances)
        self._routing = routing
        self._chance = chance
        self._last = -1

    def submit(self, call: Call, invocation: Invocation) -> asyncio.Future[Outcome]:
        """Give a call to an instance; the future is its outcome."""
        if self._routing == "RANDOM":
            instance = self._chance.choice(self._instances)
        else:
            instance = self._instances[self._least_outstanding()]
        return instance.submit(call, invocation)

    async def close(self) -> None:
        """Drop all calls: the emulator stops."""
        await asyncio.gather(*(instance.close() for instance in self._instances))

    def _least_outstanding(self) -> int:
        size = len(self._instances)
        order = ((self._last + 1 + step) % size for step in range(size))
        self._last = min(order, key=lambda index: self._instances[index].outstanding)
        return self._last
