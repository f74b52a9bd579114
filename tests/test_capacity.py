"""Capacity that follows a fleet: what follows from a reading, and what the reader does with time and failures."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from math import comb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from gateway.capacity import (
    AT_ONCE,
    FleetUnknownError,
    Follower,
    capacity_of,
    follow,
    misplaced,
    routing_warning,
)
from gateway.health import PROBES, Health
from gateway.limiter import Limiter
from gateway.log import make_logger
from gateway.sagemaker.control import (
    PERMANENT,
    Client,
    ControlError,
    DeniedError,
    Fleet,
    NotFoundError,
    ThrottledError,
    UnreachableError,
    describe,
    open_control,
)
from gateway.sagemaker.signing import Credentials
from tests.doubles import Caller, Time, Timers
from tests.waiting import until

FLEET = Fleet(
    instances=2,
    serverless=False,
    status="InService",
    serving=True,
    stable=True,
    routing=("LEAST_OUTSTANDING_REQUESTS",),
    variants=1,
)
DENIED = DeniedError(
    "the gateway's role may not describe endpoint x: grant it the IAM action sagemaker:DescribeEndpoint"
)
THROTTLED = ThrottledError("AWS throttles sagemaker:DescribeEndpoint")

fleets = st.builds(
    Fleet,
    instances=st.integers(0, 10_000),
    serverless=st.booleans(),
    status=st.sampled_from(["InService", "Updating", "Failed"]),
    serving=st.booleans(),
    stable=st.booleans(),
    routing=st.lists(st.sampled_from(["LEAST_OUTSTANDING_REQUESTS", "PREFIX_AWARE", "RANDOM"]), unique=True).map(tuple),
    variants=st.integers(0, 5),
)
concurrencies = st.integers(1, 10_000)


def fleet_of(instances: int, **more: Any) -> Fleet:
    """A fleet in service, of so many instances."""
    return replace(FLEET, instances=instances, **more)


Seen = Fleet | Exception | Callable[[], Awaitable[Fleet]]


class Sight:
    """Looks at a fleet, and sees what it is told to, or fails as it is told to, or looks for real."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.looks = 0

    async def __call__(self) -> Fleet:
        """Look once."""
        self.looks += 1
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen if isinstance(self.seen, Fleet) else await self.seen()


class Stand:
    """A follower with a real limiter, and the health between them, in a time of its own."""

    def __init__(self, seen: Seen, *, concurrency: int = 1, name: str = "resnet") -> None:
        self.sight = Sight(seen)
        self.time = Time()
        self.timers = Timers()
        self.limiter = Limiter(capacity=0, max_waiting=10)
        self.health = Health(self.limiter, ejects=False, later=self.timers.later)
        self.chance = 0.5
        self._stream = io.StringIO()
        self.follower = Follower(
            name,
            read=self.sight,
            permanent=PERMANENT,
            limiter=self.health,
            concurrency_per_instance=concurrency,
            log=make_logger(style="json", stream=self._stream),
            clock=self.time.clock,
            sleep=self.time.sleep,
            chance=lambda: self.chance,
        )

    async def asleep(self, times: int) -> None:
        """Wait until the follower has gone to sleep so often."""
        await until(lambda: len(self.time.asked) == times)

    async def see(self, seen: Fleet | Exception) -> None:
        """Let the follower have its next regular look, at this."""
        self.sight.seen = seen
        await self.look()

    async def look(self) -> None:
        """Let the follower have its next regular look."""
        times = len(self.time.asked)
        self.time.pass_by(self.time.asked[-1])
        await self.asleep(times + 1)

    def events(self) -> list[str]:
        """What was logged."""
        return [json.loads(line)["event"] for line in self._stream.getvalue().splitlines()]


@pytest.fixture
async def make_stand() -> AsyncIterator[Callable[..., Any]]:
    """Makes stands whose follower has had its first look and sleeps."""
    opened = []

    async def make(seen: Fleet | Exception, **more: Any) -> Stand:
        stand = Stand(seen, **more)
        following = follow([stand.follower])
        await following.__aenter__()
        opened.append(following)
        await stand.asleep(1)
        return stand

    yield make
    for following in opened:
        await following.__aexit__(None, None, None)


# What follows from a reading


@given(fleets, concurrencies)
def test_capacity(fleet: Fleet, concurrency: int) -> None:
    """Instances times concurrency; a serverless endpoint's own number; nothing where no call is taken."""
    capacity = capacity_of(fleet, concurrency)

    if not fleet.serving:
        assert capacity == 0
    elif fleet.serverless:
        assert capacity == fleet.instances
    else:
        assert capacity == fleet.instances * concurrency


@given(fleets, concurrencies)
def test_capacity_does_not_fall_when_instances_come(fleet: Fleet, concurrency: int) -> None:
    """One more instance is never less room, and one less never more."""
    larger = replace(fleet, instances=fleet.instances + 1)

    assert capacity_of(larger, concurrency) >= capacity_of(fleet, concurrency)


@given(fleets, concurrencies)
def test_routing_is_warned_of_where_permits_do_not_keep_calls_apart(fleet: Fleet, concurrency: int) -> None:
    """One instance, a serverless endpoint and the least outstanding requests do; anything else has a remedy."""
    warning = routing_warning(fleet, concurrency) or ""
    spread = fleet.instances > 1 and not fleet.serverless

    assert ("RANDOM routing" in warning) == (spread and "RANDOM" in fleet.routing)
    assert ("PREFIX_AWARE routing" in warning) == (spread and "PREFIX_AWARE" in fleet.routing)
    assert ("variants by weight" in warning) == (fleet.variants > 1)


def test_the_warning_in_words() -> None:
    """It says what happens, how much of it, and what to do."""
    assert routing_warning(fleet_of(4, routing=("RANDOM",)), 1) == (
        "RANDOM routing over 4 instances: with all permits in use, about 35% of the calls wait at a busy instance "
        "while another is idle; set RoutingConfig.RoutingStrategy to LEAST_OUTSTANDING_REQUESTS in the endpoint config"
    )


@pytest.mark.parametrize("instances", [2, 3, 10, 40])
@pytest.mark.parametrize("concurrency", [1, 2, 8])
def test_the_share_of_misplaced_calls(instances: int, concurrency: int) -> None:
    """It is near what the binomial distribution says exactly."""
    calls = instances * concurrency
    load = [comb(calls, n) * (1 / instances) ** n * (1 - 1 / instances) ** (calls - n) for n in range(calls + 1)]
    exact = sum((n - concurrency) * load[n] for n in range(concurrency, calls + 1)) / concurrency

    assert misplaced(instances, concurrency) == pytest.approx(exact, abs=0.04)


# Following


async def test_the_first_look_comes_before_use(make_stand: Callable[..., Any]) -> None:
    """The limiter is as large as the fleet from the start."""
    stand = await make_stand(fleet_of(3), concurrency=4)

    assert stand.limiter.statistics().capacity == 12
    statistics = stand.follower.statistics()
    assert (statistics.fleet, statistics.instances, statistics.capacity) == (fleet_of(3), 3, 12)
    assert (statistics.probing, statistics.problem, statistics.age_seconds, statistics.failures) == (False, None, 0, 0)


async def test_the_limiter_follows(make_stand: Callable[..., Any]) -> None:
    """Up and down, with the next look and not before it."""
    stand = await make_stand(fleet_of(2))
    for count in (4, 1, 7):
        before = stand.limiter.statistics().capacity
        stand.sight.seen = fleet_of(count)
        stand.time.pass_by(29.0)
        await asyncio.sleep(0)
        assert stand.limiter.statistics().capacity == before
        await stand.see(fleet_of(count))
        assert stand.limiter.statistics().capacity == count
    assert stand.events() == ["capacity_changed"] * 4


async def test_raising_admits_who_waits(make_stand: Callable[..., Any]) -> None:
    """In the same turn, since it is the limiter's own resizing; lowering takes no permit back."""
    stand = await make_stand(fleet_of(1))
    waiter = Caller()
    assert stand.limiter.acquire_nowait() is not None
    stand.limiter.enqueue(waiter)
    await stand.see(fleet_of(2))
    assert waiter.permit is not None
    await stand.see(fleet_of(1))
    assert (stand.limiter.statistics().running, stand.limiter.statistics().capacity) == (2, 1)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 27.0), (0.5, 30.0), (1.0, 33.0)])
async def test_the_time_between_looks_is_left_to_chance_a_little(chance: float, seconds: float) -> None:
    """Gateways that started together do not ask together for ever."""
    stand = Stand(fleet_of(1))
    stand.chance = chance
    async with follow([stand.follower]):
        await stand.asleep(1)
    assert stand.time.asked == [pytest.approx(seconds)]


async def test_one_look_at_a_time(make_stand: Callable[..., Any]) -> None:
    """A look that takes long is not overtaken by another."""
    stand = await make_stand(fleet_of(1))
    for _ in range(5):
        await stand.see(fleet_of(1))

    assert (stand.sight.looks, len(stand.time.asked)) == (6, 6)


@pytest.mark.parametrize(
    "error", [THROTTLED, UnreachableError("x"), DENIED, NotFoundError("gone"), RuntimeError("a bug")]
)
async def test_a_fleet_that_cannot_be_read_stays_as_it_was(make_stand: Callable[..., Any], error: Exception) -> None:
    """Whatever the reason, once it was known; it is told, with its age, until a reading succeeds."""
    stand = await make_stand(fleet_of(5))
    await stand.see(error)
    await stand.see(error)

    statistics = stand.follower.statistics()
    assert (stand.limiter.statistics().capacity, statistics.capacity, statistics.fleet) == (5, 5, fleet_of(5))
    assert (statistics.problem, statistics.failures) == (f"{type(error).__name__}: {error}", 2)
    assert statistics.age_seconds == pytest.approx(60)

    await stand.see(fleet_of(6))
    statistics = stand.follower.statistics()
    assert (stand.limiter.statistics().capacity, statistics.problem, statistics.age_seconds) == (6, None, 0)
    assert statistics.failures == 2
    assert stand.events() == ["capacity_changed", "fleet_unreadable", "fleet_readable_again", "capacity_changed"]


@pytest.mark.parametrize("empty", [fleet_of(0), fleet_of(3, serving=False, stable=False, status="OutOfService")])
async def test_a_fleet_without_room_gets_one_call_at_a_time(make_stand: Callable[..., Any], empty: Fleet) -> None:
    """The call is what wakes it; and that this is so is told."""
    stand = await make_stand(fleet_of(2), concurrency=4)
    await stand.see(empty)

    statistics = stand.follower.statistics()
    assert (stand.limiter.statistics().capacity, statistics.capacity, statistics.probing) == (PROBES, 0, True)
    assert statistics.instances == 0
    assert stand.limiter.acquire_nowait() is not None
    assert stand.limiter.acquire_nowait() is None

    await stand.see(fleet_of(1))
    statistics = stand.follower.statistics()
    assert (stand.limiter.statistics().capacity, statistics.capacity, statistics.probing) == (4, 4, False)


async def test_growth_that_is_read_ends_a_want_of_capacity(make_stand: Callable[..., Any]) -> None:
    """SageMaker had no capacity for a call; once the fleet has more instances nobody has to try that out."""
    stand = await make_stand(fleet_of(0))
    stand.health.no_capacity()
    waiter = Caller()
    stand.limiter.enqueue(waiter)
    await stand.see(fleet_of(0))
    assert (waiter.asked, stand.timers.pending) == (0, 1)
    await stand.see(fleet_of(3))
    assert (waiter.asked, stand.timers.pending, stand.health.cause) == (1, 0, None)


class Told:
    """Somebody who notes how much room there is said to be."""

    def __init__(self) -> None:
        self.capacities: list[int] = []

    def resize(self, capacity: int) -> None:
        """Note it."""
        self.capacities.append(capacity)


async def test_the_room_that_is_told_is_the_fleets_own() -> None:
    """With every reading; 0 where it has none, and where its first reading failed: trying is another's business."""
    told, sight = Told(), Sight(THROTTLED)
    follower = Follower(
        "resnet",
        read=sight,
        permanent=PERMANENT,
        limiter=told,
        concurrency_per_instance=2,
        log=make_logger(stream=io.StringIO()),
    )
    for seen in (THROTTLED, fleet_of(3), THROTTLED, fleet_of(0), fleet_of(4, serving=False)):
        sight.seen = seen
        await follower.start()
    assert told.capacities == [0, 6, 0, 0]


@given(st.data())
async def test_the_limiter_is_what_was_last_known(data: st.DataObject) -> None:
    """However readings and failures follow each other; and never without a permit."""
    concurrency = data.draw(st.integers(1, 8))
    stand = Stand(fleet_of(1), concurrency=concurrency)
    last: Fleet | None = None
    for seen in data.draw(st.lists(fleets | st.just(THROTTLED), max_size=12)):
        stand.sight.seen = seen
        await stand.follower.start()
        last = last if isinstance(seen, Exception) else seen
        known = 0 if last is None else capacity_of(last, concurrency)
        statistics = stand.follower.statistics()
        assert (statistics.fleet, statistics.capacity, statistics.probing) == (last, known, known == 0)
        assert stand.limiter.statistics().capacity == max(1, known)
        assert (statistics.problem is None) == isinstance(seen, Fleet)


# Starting


async def test_without_the_permission_nothing_starts() -> None:
    """The message names the endpoint of the config and the IAM action."""
    stand = Stand(DENIED)

    with pytest.raises(FleetUnknownError) as caught:
        await stand.follower.start()

    assert str(caught.value) == f"endpoints.resnet.instances: auto cannot be followed: {DENIED}"


async def test_all_that_cannot_be_followed_is_told_at_once() -> None:
    """One line each, in the order of the config; what can be is not started either."""
    stands = [Stand(seen, name=name) for name, seen in (("a", DENIED), ("b", fleet_of(1)), ("c", NotFoundError("no")))]

    with pytest.raises(FleetUnknownError) as caught:
        async with follow([stand.follower for stand in stands]):
            pass

    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "endpoints.a.instances",
        "endpoints.c.instances",
    ]
    assert [stand.time.asked for stand in stands] == [[], [], []]


async def test_a_start_that_fails_for_now_goes_on(make_stand: Callable[..., Any]) -> None:
    """One call at a time until the fleet is known; it is tried again soon, then less and less often."""
    stand = await make_stand(THROTTLED)
    statistics = stand.follower.statistics()
    assert (stand.limiter.statistics().capacity, statistics.capacity, statistics.probing) == (1, 0, True)
    assert (statistics.fleet, statistics.age_seconds, statistics.instances) == (None, None, 0)
    assert statistics.problem == f"ThrottledError: {THROTTLED}"

    for _ in range(5):
        await stand.see(THROTTLED)
    assert stand.time.asked == [2, 4, 8, 16, 30, 30]

    await stand.see(fleet_of(4))
    assert (stand.limiter.statistics().capacity, stand.time.asked[-1]) == (4, 30)


async def test_many_fleets_are_not_all_read_at_once() -> None:
    """A gateway with many endpoints is not throttled by its own start."""
    now = most = 0

    async def look() -> Fleet:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(3):
            await asyncio.sleep(0)
        now -= 1
        return fleet_of(1)

    log = make_logger(stream=io.StringIO())
    followers = [
        Follower(
            str(number),
            read=look,
            permanent=PERMANENT,
            limiter=Limiter(capacity=0, max_waiting=0),
            concurrency_per_instance=1,
            log=log,
        )
        for number in range(20)
    ]
    async with follow(followers):
        assert most == AT_ONCE


async def test_nothing_is_left_at_the_end() -> None:
    """Neither the poller nor its sleep goes on."""
    before = asyncio.all_tasks()
    stand = Stand(fleet_of(1))
    async with follow([stand.follower]):
        await stand.asleep(1)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


# Being told that the fleet has changed


async def test_a_nudge_brings_the_next_look_forward(make_stand: Callable[..., Any]) -> None:
    """Whoever sees a scaled fleet first lets the limiter follow at once."""
    stand = await make_stand(fleet_of(0))
    stand.sight.seen = fleet_of(3)
    stand.time.pass_by(10)
    stand.follower.nudge()
    await stand.asleep(2)
    assert (stand.limiter.statistics().capacity, stand.sight.looks) == (3, 2)


async def test_nudges_do_not_add_up(make_stand: Callable[..., Any]) -> None:
    """However many callers see it: AWS is asked three times as often as usual, at most."""
    stand = await make_stand(THROTTLED)
    await stand.see(fleet_of(1))
    looks = stand.sight.looks
    for _ in range(90):
        stand.time.pass_by(0.5)
        stand.follower.nudge()
        stand.follower.nudge()
        for _ in range(10):
            await asyncio.sleep(0)
    assert 2 <= stand.sight.looks - looks <= 4


async def test_a_nudge_before_the_start_is_nothing() -> None:
    """There is no look to bring forward."""
    stand = Stand(fleet_of(1))
    stand.follower.nudge()
    assert stand.sight.looks == 0


# The routing-strategy check


async def test_the_routing_is_checked_with_each_look(make_stand: Callable[..., Any]) -> None:
    """It is logged when it comes up or another one does, not with each look; and gone once it is mended."""
    stand = await make_stand(fleet_of(1, routing=("RANDOM",)))
    assert stand.follower.statistics().routing_warning is None

    for count in (2, 3, 3):
        await stand.see(fleet_of(count, routing=("RANDOM",)))
        assert "LEAST_OUTSTANDING_REQUESTS" in (stand.follower.statistics().routing_warning or "")
    assert stand.events().count("routing_does_not_follow_permits") == 1

    await stand.see(THROTTLED)
    assert stand.follower.statistics().routing_warning is not None
    await stand.see(fleet_of(3))
    assert stand.follower.statistics().routing_warning is None
    for strategy in ("PREFIX_AWARE", "RANDOM", "RANDOM"):
        await stand.see(fleet_of(3, routing=(strategy,)))
    assert stand.events().count("routing_does_not_follow_permits") == 3


# All of it, against a control plane that we did not write


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """Moto's control plane."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


async def deploy(client: Client, instances: int) -> None:
    """An endpoint of so many instances."""
    role = "arn:aws:iam::123456789012:role/x"
    await client.create_model(ModelName="m", ExecutionRoleArn=role, PrimaryContainer={"Image": "example.com/m"})
    variant = {
        "VariantName": "main",
        "ModelName": "m",
        "InitialInstanceCount": instances,
        "InitialVariantWeight": 1.0,
        "InstanceType": "ml.m5.large",
    }
    await client.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    await client.create_endpoint(EndpointName="resnet", EndpointConfigName="c")


async def test_an_endpoint_of_moto_is_followed(moto_url: str) -> None:
    """2, 4, 1 instances; and once it is deleted the last count stays, with the reason."""
    async with open_control("eu-west-1", moto_url, lambda: Credentials("AKIA", "secret")) as client:
        await deploy(client, 2)
        stand = Stand(partial(describe, client, "resnet"), concurrency=2)
        async with follow([stand.follower]):
            capacities = [stand.limiter.statistics().capacity]
            await stand.asleep(1)
            for count in (4, 1):
                wanted = [{"VariantName": "main", "DesiredInstanceCount": count}]
                await client.update_endpoint_weights_and_capacities(
                    EndpointName="resnet", DesiredWeightsAndCapacities=wanted
                )
                await stand.look()
                capacities.append(stand.limiter.statistics().capacity)
            assert capacities == [4, 8, 2]
            await client.delete_endpoint(EndpointName="resnet")
            await stand.look()
    statistics = stand.follower.statistics()
    assert (stand.limiter.statistics().capacity, statistics.instances) == (2, 1)
    assert statistics.problem == "NotFoundError: SageMaker knows no endpoint resnet in this account and region"


def test_the_permanent_failures_are_failures_of_reading() -> None:
    """What stops a start is a part of what describing raises."""
    assert all(issubclass(kind, ControlError) for kind in PERMANENT)
