"""How large a limiter is where the fleet decides: read it now and then, and let the permits follow."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import pi, sqrt
from time import monotonic
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from gateway.jitter import jittered

REFRESH_SECONDS = 30.0
"""How often a fleet is read. AWS's own waiters take as long, and its canaries were throttled at 5."""

RETRY_SECONDS = 2.0
"""How long to wait for the second try where the fleet was never read; it doubles up to the usual time."""

JITTER = 0.1
"""How much of the time between two readings is left to chance, so that gateways do not ask in step."""

NUDGE_FRACTION = 3
"""Of the usual time, one part in so many has to pass before somebody may have the fleet read early."""

AT_ONCE = 5
"""How many fleets are read at once when the gateway starts."""


class Fleet(Protocol):
    """What serves the calls of an endpoint."""

    @property
    def instances(self) -> int:
        """How many instances there are now; where it is serverless, how many calls it takes at once."""

    @property
    def serverless(self) -> bool:
        """Whether the number of calls is a setting at SageMaker, not a matter of instances."""

    @property
    def status(self) -> str:
        """SageMaker's word for its state."""

    @property
    def serving(self) -> bool:
        """Whether it takes calls in this state."""

    @property
    def stable(self) -> bool:
        """Whether it is not about to change."""

    @property
    def routing(self) -> tuple[str, ...]:
        """The strategies by which calls are spread over the instances."""

    @property
    def variants(self) -> int:
        """How many variants share the calls, by their weights."""


class Resizable(Protocol):
    """What sees to the permits."""

    def resize(self, capacity: int) -> None:
        """Say how many calls there is room for; with none, or where it is not known, one call at a time may try."""


@dataclass(frozen=True, slots=True)
class FleetStatistics:
    """What is known of one fleet at one moment.

    Attributes:
        fleet: the last reading that succeeded; None until there is one.
        age_seconds: how old it is; None likewise.
        capacity: how many calls the fleet has room for; 0 until known.
        probing: whether it has none, or is not known: then one call at a time tries.
        routing_warning: why permits do not keep calls apart, and the remedy; None where they do.
        problem: why the last reading failed; None where it did not. What was known before still counts.
        failures: readings that failed, since the start.
    """

    fleet: Fleet | None
    age_seconds: float | None
    capacity: int
    probing: bool
    routing_warning: str | None
    problem: str | None
    failures: int

    @property
    def instances(self) -> int:
        """How many instances take calls; of a serverless endpoint, how many calls it takes at once. 0 until known."""
        return self.fleet.instances if self.fleet and self.fleet.serving else 0


class FleetUnknownError(Exception):
    """A fleet cannot be followed, and another try would not mend it; one line for each."""


def capacity_of(fleet: Fleet, concurrency_per_instance: int) -> int:
    """How many calls a fleet has room for: what is there now, never what was asked for."""
    if not fleet.serving:
        return 0
    return fleet.instances if fleet.serverless else fleet.instances * concurrency_per_instance


def routing_warning(fleet: Fleet, concurrency_per_instance: int) -> str | None:
    """Why as many permits as the fleet has room for do not keep calls apart on it, and the remedy; None if they do."""
    found = []
    if fleet.variants > 1:
        found.append(
            f"calls are dealt to {fleet.variants} variants by weight, not by room: give each variant an endpoint of "
            "the config and a target of the route"
        )
    if fleet.instances > 1 and not fleet.serverless:
        if "RANDOM" in fleet.routing:
            share = misplaced(fleet.instances, concurrency_per_instance)
            found.append(
                f"RANDOM routing over {fleet.instances} instances: with all permits in use, about {share:.0%} of the "
                "calls wait at a busy instance while another is idle; set RoutingConfig.RoutingStrategy to "
                "LEAST_OUTSTANDING_REQUESTS in the endpoint config"
            )
        if "PREFIX_AWARE" in fleet.routing:
            found.append(
                "PREFIX_AWARE routing sends calls with the same prefix to one instance: a few may meet there while "
                "another is idle; keep ConcurrencyThreshold at concurrency_per_instance, or set "
                "RoutingConfig.RoutingStrategy to LEAST_OUTSTANDING_REQUESTS"
            )
    return "; ".join(found) or None


def misplaced(instances: int, concurrency_per_instance: int) -> float:
    """Which share of the calls finds its instance full, when as many run as have room and chance spreads them.

    It is the mean of what exceeds `concurrency_per_instance` at an instance, its load being nearly normal.
    """
    return sqrt((1 - 1 / instances) / (2 * pi * concurrency_per_instance))


class Follower:
    """Keeps one limiter as large as one fleet.

    A fleet that cannot be read is taken to be as it was. One that has no room, and one that was never read, gets
    one call at a time.

    Args:
        name: the endpoint's key in the config.
        read: what the fleet looks like now; raises where it cannot say.
        permanent: what of this another try does not mend: the gateway does not start with it.
        limiter: what follows.
        concurrency_per_instance: how many calls one instance does at a time.
        refresh_seconds: how often the fleet is read, about.
        log: where changes and failures are told.
        clock: seconds, never going back.
        sleep: lets so many seconds pass.
        chance: a number from 0 to 1, evenly.
    """

    def __init__(
        self,
        name: str,
        *,
        read: Callable[[], Awaitable[Fleet]],
        permanent: tuple[type[Exception], ...],
        limiter: Resizable,
        concurrency_per_instance: int,
        log: FilteringBoundLogger,
        refresh_seconds: float = REFRESH_SECONDS,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._read = read
        self._permanent = permanent
        self._limiter = limiter
        self._concurrency = concurrency_per_instance
        self._log = log.bind(endpoint=name)
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._fleet: Fleet | None = None
        self._capacity = 0
        self._warning: str | None = None
        self._problem: str | None = None
        self._failures = 0
        self._failures_in_a_row = 0
        self._read_at = 0.0
        self._tried_at = 0.0
        self._pause: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Read the fleet for the first time.

        Raises:
            FleetUnknownError: it cannot be read, and another try would not mend it.
        """
        error = await self._refresh()
        if isinstance(error, self._permanent):
            raise FleetUnknownError(f"endpoints.{self.name}.instances: auto cannot be followed: {error}") from error
        if self._fleet is None:
            self._limiter.resize(0)

    async def follow(self) -> None:
        """Read it again and again, for ever."""
        while True:
            self._pause = asyncio.ensure_future(self._sleep(self._pause_seconds()))
            try:
                await asyncio.wait({self._pause})
            finally:
                self._pause.cancel()
                self._pause = None
            await self._refresh()

    def nudge(self) -> None:
        """Say that the fleet seems to have changed: it is read now, unless that was done a moment ago."""
        if self._pause is not None and self._clock() - self._tried_at >= self._refresh_seconds / NUDGE_FRACTION:
            self._pause.cancel()

    def statistics(self) -> FleetStatistics:
        """What is known at this moment."""
        return FleetStatistics(
            fleet=self._fleet,
            age_seconds=max(0.0, self._clock() - self._read_at) if self._fleet else None,
            capacity=self._capacity,
            probing=self._capacity == 0,
            routing_warning=self._warning,
            problem=self._problem,
            failures=self._failures,
        )

    def _pause_seconds(self) -> float:
        usual = self._refresh_seconds
        if self._fleet is None:
            usual = min(usual, RETRY_SECONDS * 2.0 ** min(self._failures_in_a_row - 1, 10))
        return jittered(usual, JITTER, self._chance())

    async def _refresh(self) -> Exception | None:
        """Read the fleet and let the limiter follow; what went wrong, if something did."""
        self._tried_at = self._clock()
        try:
            fleet = await self._read()
        # The poller outlives whatever a reading raises: without it the limiter would never follow again.
        except Exception as error:  # noqa: BLE001
            self._keep(f"{type(error).__name__}: {error}")
            return error
        self._accept(fleet)
        return None

    def _keep(self, problem: str) -> None:
        self._failures += 1
        self._failures_in_a_row += 1
        if problem != self._problem:
            self._log.warning("fleet_unreadable", problem=problem, kept_capacity=self._capacity)
        self._problem = problem

    def _accept(self, fleet: Fleet) -> None:
        if self._problem is not None:
            self._log.info("fleet_readable_again", failures=self._failures_in_a_row)
        self._problem, self._failures_in_a_row, self._read_at = None, 0, self._clock()
        capacity = capacity_of(fleet, self._concurrency)
        if self._fleet is None or capacity != self._capacity:
            self._log.info("capacity_changed", capacity=capacity, instances=fleet.instances, status=fleet.status)
        warning = routing_warning(fleet, self._concurrency)
        known = self._fleet.routing if self._fleet else None
        if warning is not None and (self._warning is None or fleet.routing != known):
            self._log.warning("routing_does_not_follow_permits", problem=warning)
        self._fleet, self._capacity, self._warning = fleet, capacity, warning
        self._limiter.resize(capacity)


@asynccontextmanager
async def follow(followers: Iterable[Follower]) -> AsyncIterator[None]:
    """Every fleet read once before use, and followed until the end.

    Raises:
        FleetUnknownError: some cannot be followed; all of them are named.
    """
    followers = tuple(followers)
    gate = asyncio.Semaphore(AT_ONCE)

    async def start(follower: Follower) -> None:
        async with gate:
            await follower.start()

    outcomes = await asyncio.gather(*map(start, followers), return_exceptions=True)
    if problems := [outcome for outcome in outcomes if isinstance(outcome, BaseException)]:
        raise FleetUnknownError("\n".join(map(str, problems))) from problems[0]
    tasks = [asyncio.create_task(each.follow(), name=f"follow the fleet of {each.name}") for each in followers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
