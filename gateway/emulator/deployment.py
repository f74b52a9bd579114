"""One fleet behind a name: how many instances it has and should have, and how it gets there while calls are running."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any, Literal

from gateway.emulator.backlog import Backlog
from gateway.emulator.container import Container
from gateway.emulator.errors import StartError
from gateway.emulator.fleet import Fleet, NoCapacityError
from gateway.emulator.instance import Instance
from gateway.emulator.launch import Launcher
from gateway.emulator.ledger import Call, Ledger
from gateway.emulator.plan import FleetPlan
from gateway.emulator.work import Work

Status = Literal["InService", "Updating"]


class Deployment:
    """A production variant or inference component. What is shown may lag behind what is the case, as it does at AWS.

    Attributes:
        plan: What was asked for.
        ledger: Counts what happens here.
        fleet: The instances.
        backlog: Asynchronous calls that wait for one.
        desired: How many instances it should have.
        current: How many instances the control plane shows.
        modified_at: When it was last told to change, in seconds since 1970.
    """

    def __init__(
        self,
        plan: FleetPlan,
        containers: Iterable[Container],
        *,
        launcher: Launcher,
        ledger: Ledger,
        chance: random.Random,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self.plan = plan
        self.ledger = ledger
        instances = [self._instance(index, container) for index, container in enumerate(containers)]
        self.fleet = Fleet(instances, routing=plan.settings.routing, chance=chance)
        self.backlog = Backlog(capacity=lambda: self.fleet.capacity, submit=self.fleet.submit, ledger=ledger)
        self.desired = self.current = plan.size
        self.modified_at = wall_clock().timestamp()
        self._launcher = launcher
        self._wall_clock = wall_clock
        self._changes = 0
        self._one_by_one = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waking = False
        self._log = logging.getLogger(__name__)

    @property
    def status(self) -> Status:
        """The EndpointStatus or InferenceComponentStatus."""
        return "Updating" if self._changes else "InService"

    @property
    def is_full(self) -> bool:
        """Whether it is serverless and takes no more calls now."""
        if self.plan.serverless is None:
            return False
        # A call is open before an instance has it, and an instance still has it when its caller has left.
        return max(self.ledger.open, self.fleet.outstanding) >= self.fleet.capacity

    def submit(self, call: Call, work: Work) -> Instance:
        """Give a call to an instance, and tell which it is.

        Raises:
            NoCapacityError: There is none; one is started later if the settings say so.
        """
        try:
            return self.fleet.submit(call, work)
        except NoCapacityError:
            if self.plan.settings.wake_after_seconds is not None and not self._waking:
                self._waking = True
                self._begin(self._wake(self.plan.settings.wake_after_seconds))
            raise

    async def scale(self, instances: int, *, describe_delay_seconds: float = 0) -> None:
        """Start instances, or take some out of service; return when that is done and shown.

        An added instance gets calls as soon as it is up. A removed one gets no more, finishes what it was given, and is
        stopped. Changes are made one after the other.

        Args:
            instances: How many there should be.
            describe_delay_seconds: How much later than it happens a change is shown by the control plane.

        Raises:
            StartError: An instance did not come up; those that did stay.
        """
        self.desired = instances
        self.modified_at = self._wall_clock().timestamp()
        self._changes += 1
        try:
            async with self._one_by_one:
                first = self.ledger.instances
                missing = instances - self.fleet.size
                steps: list[Awaitable[None]] = [
                    self._add(first + number, describe_delay_seconds) for number in range(missing)
                ]
                leaving = self.fleet.remove(max(0, -missing))
                if leaving:
                    self.ledger.left(len(leaving))
                steps += [self._retire(instance, describe_delay_seconds) for instance in leaving]
                results = await asyncio.gather(*steps, return_exceptions=True)
        finally:
            self._changes -= 1
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            self.desired = self.current
            raise failures[0]

    def begin_scaling(self, instances: int, *, describe_delay_seconds: float) -> None:
        """The same in the background; a failure is logged."""
        self._begin(self._scale_or_log(instances, describe_delay_seconds))

    async def close(self) -> None:
        """Leave changes unfinished and drop all work: the emulator stops."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.backlog.close()
        await self.fleet.close()

    def _begin(self, change: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(change)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._waking = False
        if self.desired == 0:
            await self._scale_or_log(1, 0)

    async def _scale_or_log(self, instances: int, describe_delay_seconds: float) -> None:
        try:
            await self.scale(instances, describe_delay_seconds=describe_delay_seconds)
        except StartError as error:
            self._log.error("%s", error)

    async def _add(self, number: int, describe_delay_seconds: float) -> None:
        container = await self._launcher.start_one(self.plan, number)
        self.fleet.add(self._instance(self.ledger.joined(), container))
        self.backlog.pump()
        await asyncio.sleep(describe_delay_seconds)
        self.current += 1

    async def _retire(self, instance: Instance, describe_delay_seconds: float) -> None:
        await instance.drained()
        self.fleet.forget(instance)
        await self._launcher.stop_one(instance.container)
        await asyncio.sleep(describe_delay_seconds)
        self.current -= 1

    def _instance(self, index: int, container: Container) -> Instance:
        """An instance, known to the ledger by a number."""
        return Instance(index, container, concurrency=self.plan.concurrency, ledger=self.ledger)
