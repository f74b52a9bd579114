"""How many instances an endpoint has and should have, and how it gets there while calls are running."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal

from gateway.emulator.container import Container
from gateway.emulator.endpoint import Endpoint
from gateway.emulator.errors import StartError
from gateway.emulator.instance import Instance
from gateway.emulator.launch import Launcher
from gateway.emulator.ledger import Ledger
from gateway.emulator.settings import EndpointSettings

Status = Literal["InService", "Updating"]


class Deployment:
    """One endpoint as the control plane sees it. What is shown may lag behind what is the case, as it does at AWS.

    Attributes:
        settings: How it was deployed.
        endpoint: What takes its calls.
        desired: How many instances it should have.
        current: How many instances DescribeEndpoint shows.
        modified_at: When it was last told to change, in seconds since 1970.
        describe_throttled: Whether describing it is refused with ThrottlingException.
        describe_denied: Whether describing it is refused with AccessDeniedException.
    """

    def __init__(
        self,
        name: str,
        settings: EndpointSettings,
        endpoint: Endpoint,
        *,
        launcher: Launcher,
        ledger: Ledger,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self.settings = settings
        self.desired = self.current = settings.instances
        self.modified_at = wall_clock().timestamp()
        self.describe_throttled = settings.describe_throttled
        self.describe_denied = settings.describe_denied
        self._name = name
        self.endpoint = endpoint
        self._launcher = launcher
        self._ledger = ledger
        self._wall_clock = wall_clock
        self._changes = 0
        self._one_by_one = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = logging.getLogger(__name__)

    @property
    def status(self) -> Status:
        """The EndpointStatus."""
        return "Updating" if self._changes else "InService"

    async def scale(self, instances: int, *, describe_delay_seconds: float = 0) -> None:
        """Start instances, or take some out of service; return when that is done and shown.

        An added instance gets calls as soon as it is up. A removed one gets no more, finishes what it was given, and is
        stopped. Changes are made one after the other.

        Args:
            instances: How many there should be.
            describe_delay_seconds: How much later than it happens a change is shown by DescribeEndpoint.

        Raises:
            StartError: An instance did not come up; those that did stay.
        """
        self.desired = instances
        self.modified_at = self._wall_clock().timestamp()
        self._changes += 1
        try:
            async with self._one_by_one:
                first = self._ledger.instances
                missing = instances - self.endpoint.fleet.size
                steps: list[Awaitable[None]] = [
                    self._add(first + number, describe_delay_seconds) for number in range(missing)
                ]
                leaving = self.endpoint.fleet.remove(max(0, -missing))
                if leaving:
                    self._ledger.left(len(leaving))
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
        task = asyncio.create_task(self._scale_or_log(instances, describe_delay_seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave changes unfinished: the emulator stops."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _scale_or_log(self, instances: int, describe_delay_seconds: float) -> None:
        try:
            await self.scale(instances, describe_delay_seconds=describe_delay_seconds)
        except StartError as error:
            self._log.error("%s", error)

    async def _add(self, number: int, describe_delay_seconds: float) -> None:
        container = await self._launcher.start_one(self._name, number, self.settings)
        self.endpoint.fleet.add(instance_of(self.settings, self._ledger.joined(), container, self._ledger))
        self.endpoint.backlog.pump()
        await asyncio.sleep(describe_delay_seconds)
        self.current += 1

    async def _retire(self, instance: Instance, describe_delay_seconds: float) -> None:
        await instance.drained()
        self.endpoint.fleet.forget(instance)
        await self._launcher.stop_one(instance.container)
        await asyncio.sleep(describe_delay_seconds)
        self.current -= 1


def instance_of(settings: EndpointSettings, index: int, container: Container, ledger: Ledger) -> Instance:
    """An instance of an endpoint, known to its ledger by a number."""
    return Instance(index, container, concurrency=settings.concurrency_per_instance, ledger=ledger)
