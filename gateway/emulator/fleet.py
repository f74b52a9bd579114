"""The instances of one fleet: which of them gets a call."""

import asyncio
import random
import sys
from collections.abc import Iterable

from gateway.emulator.instance import Instance
from gateway.emulator.ledger import Call
from gateway.emulator.settings import Routing
from gateway.emulator.work import Work


class NoCapacityError(Exception):
    """There is no instance that could take a call."""


class Fleet:
    """Instances and a routing strategy (API: ProductionVariantRoutingConfig).

    Among instances with equally few outstanding calls the one after the last chosen is taken, so that a quiet fleet
    uses all of its instances.
    """

    def __init__(self, instances: Iterable[Instance], *, routing: Routing, chance: random.Random) -> None:
        self._instances = list(instances)
        self._leaving: set[Instance] = set()
        self._routing = routing
        self._chance = chance
        self._last = -1

    @property
    def size(self) -> int:
        """How many instances get calls."""
        return len(self._instances)

    @property
    def capacity(self) -> int:
        """How many calls they run at a time."""
        return sum(instance.concurrency for instance in self._instances)

    @property
    def outstanding(self) -> int:
        """How many calls they were given and have not finished."""
        return sum(instance.outstanding for instance in self._instances)

    def add(self, instance: Instance) -> None:
        """From now on this one gets calls too."""
        self._instances.append(instance)

    def remove(self, count: int) -> list[Instance]:
        """From now on the newest get no more calls; what they were given they finish."""
        kept = max(0, len(self._instances) - count)
        leaving, self._instances[kept:] = self._instances[kept:], []
        self._leaving.update(leaving)
        return leaving

    def forget(self, instance: Instance) -> None:
        """This one has finished what it was given."""
        self._leaving.discard(instance)

    def __contains__(self, instance: Instance) -> bool:
        return instance in self._instances

    def submit(self, call: Call, work: Work) -> Instance:
        """Give a call to an instance, and tell which it is.

        Raises:
            NoCapacityError: There is none.
        """
        if not self._instances:
            raise NoCapacityError
        if self._routing == "RANDOM":
            instance = self._chance.choice(self._instances)
        else:
            instance = self._instances[self._least_outstanding()]
        instance.submit(call, work)
        return instance

    async def close(self) -> None:
        """Drop all calls: the emulator stops."""
        await asyncio.gather(*(instance.close() for instance in (*self._instances, *self._leaving)))

    def _least_outstanding(self) -> int:
        size, least = len(self._instances), sys.maxsize
        after = self._last + 1
        for step in range(size):
            index = (after + step) % size
            outstanding = self._instances[index].outstanding
            if outstanding < least:
                least, self._last = outstanding, index
                if not outstanding:
                    break
        return self._last
