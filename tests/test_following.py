"""Capacity that follows the fleet, end to end: the emulator scales, the gateway's permits follow."""

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.app import Gateway, StartError, open_gateway
from gateway.config import Config
from gateway.emulator import Emulator, EmulatorSettings
from gateway.log import make_logger
from tests.issuer import Issuer
from tests.stand import REGION
from tests.waiting import until

SLOW = {"instances": 2, "model": {"seconds": 0.05}}


@asynccontextmanager
async def following(
    keys: Sequence[str] = (), profile: str | None = None, **fleet: Any
) -> AsyncIterator[tuple[Emulator, Gateway, aiohttp.ClientSession]]:
    """A gateway that follows the fleet of one endpoint, reading it every second, with keys of a profile."""
    settings: dict[str, Any] = {"listen": {"port": 0}, "region": REGION, "endpoints": {"seed": {**SLOW, **fleet}}}
    if keys:
        secrets = {"secret_access_key": "secret", "session_token": "token"}
        settings["credentials"] = [{"access_key_id": key, **secrets} for key in keys]
    async with Emulator(EmulatorSettings.model_validate(settings)) as emulator:
        config = Config.model_validate(
            {
                "listen": {"port": 0},
                "aws": {
                    "region": REGION,
                    "endpoint_url": emulator.url,
                    "control_endpoint_url": emulator.url,
                    "refresh_seconds": 1,
                },
                "endpoints": {"seed": {"instances": "auto", "profile": profile}},
            }
        )
        async with (
            open_gateway(config, make_logger(stream=io.StringIO())) as gateway,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            yield emulator, gateway, session


def capacity(gateway: Gateway) -> int:
    """How many calls may run now."""
    return gateway.limiters["seed"].statistics().capacity


async def test_permits_follow_a_fleet_under_load() -> None:
    """2, 4, 1 instances with 12 callers all the time: no call fails, and the fleet never has more than it can do.

    When it shrinks, calls that run then are excepted, and so is the moment until that is read.
    """
    async with following() as (emulator, gateway, session):
        statuses: set[int] = set()
        stop = asyncio.Event()

        async def call_on_and_on() -> None:
            while not stop.is_set():
                async with session.post(f"{gateway.url}/endpoints/seed/invocations", data=b"{}") as response:
                    statuses.add(response.status)

        async def follows(count: int) -> None:
            """The gauge tells it within the time between two readings, and that of a reading."""
            async with asyncio.timeout(2):
                while f'sagemaker_gateway_instances{{endpoint="seed"}} {count}.0' not in await metrics():
                    await asyncio.sleep(0.02)
            assert capacity(gateway) == count
            calls = emulator.counters("seed").calls
            await until(lambda: emulator.counters("seed").calls >= calls + 40)

        async def metrics() -> str:
            async with session.get(f"{gateway.url}/metrics") as response:
                return await response.text()

        callers = [asyncio.create_task(call_on_and_on()) for _ in range(12)]
        await follows(2)
        await emulator.scale("seed", 4)
        await follows(4)
        growing = emulator.counters("seed").periods
        await emulator.scale("seed", 1)
        await follows(1)
        await until(lambda: emulator.counters("seed").work <= 1)
        emulator.reset()
        await follows(1)
        shrunk = emulator.counters("seed").peak_work
        stop.set()
        await asyncio.gather(*callers)

    assert statuses == {200}
    assert [period.instances for period in growing][:: len(growing) - 1] == [2, 4]
    assert [period for period in growing if period.peak_work > period.instances] == []
    assert (growing[0].peak_work, growing[-1].peak_work, shrunk) == (2, 4, 1)


async def test_a_fleet_that_is_about_to_shrink_gets_no_more_than_it_will_have() -> None:
    """Fewer instances are asked for, and all are still there: the permits are those of the fewer already."""
    async with following() as (emulator, gateway, _):
        before = capacity(gateway)
        scaling = asyncio.create_task(emulator.scale("seed", 1, describe_delay_seconds=60))
        await until(lambda: capacity(gateway) == 1)
        scaling.cancel()
        await asyncio.gather(scaling, return_exceptions=True)

    assert before == 2


async def test_a_fleet_that_cannot_be_read_is_taken_to_be_as_it_was() -> None:
    """Throttled Describe calls change nothing but a metric, however many; calls go on, and `/status` says why."""
    async with following() as (emulator, gateway, session):
        emulator.switch_describe("seed", throttled=True)

        async def call() -> int:
            async with session.post(f"{gateway.url}/endpoints/seed/invocations", data=b"{}") as response:
                return response.status

        async def fleet() -> dict[str, Any]:
            async with session.get(f"{gateway.url}/status") as response:
                found: dict[str, Any] = (await response.json())["endpoints"]["seed"]["fleet"]
                return found

        statuses = set()
        async with asyncio.timeout(20):
            while (await fleet())["failures"] < 3:
                statuses |= set(await asyncio.gather(*[call() for _ in range(4)]))
        peak = emulator.counters("seed").peak_work
        problem = (await fleet())["problem"]
        async with session.get(f"{gateway.url}/metrics") as response:
            metrics = await response.text()
        kept = capacity(gateway)

    assert "hrottl" in problem
    assert (kept, peak, statuses) == (2, 2, {200})
    assert 'sagemaker_gateway_fleet_unreadable{endpoint="seed"} 1.0' in metrics
    assert 'sagemaker_gateway_instances{endpoint="seed"} 2.0' in metrics


async def test_without_permission_to_describe_it_does_not_start() -> None:
    """And names the IAM action that is missing."""
    with pytest.raises(StartError, match="sagemaker:DescribeEndpoint"):
        async with following(describe_denied=True):
            pass


async def test_random_routing_is_warned_of() -> None:
    """A permit per instance does not keep calls apart then: metric and `/status` say so, with the remedy."""
    async with following(routing="RANDOM") as (_, gateway, session):
        async with session.get(f"{gateway.url}/status") as response:
            warning = (await response.json())["endpoints"]["seed"]["fleet"]["routing_warning"]
        async with session.get(f"{gateway.url}/metrics") as response:
            metrics = await response.text()

    assert "LEAST_OUTSTANDING_REQUESTS" in warning
    assert 'sagemaker_gateway_routing_warning{endpoint="seed"} 1.0' in metrics


async def test_a_fleet_is_followed_with_other_keys_when_these_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody calls, and so nobody else finds out: the reading itself has the keys replaced, and asks again at once."""
    issuer = Issuer(tmp_path, monkeypatch, "KEY{number}")
    async with following(["KEY1", "KEY2"], "issued") as (emulator, gateway, _):
        assert capacity(gateway) == 2
        emulator.expire("KEY1")
        await emulator.scale("seed", 4)
        await until(lambda: capacity(gateway) == 4)
        counters = emulator.key_counters("KEY1"), emulator.key_counters("KEY2")

    assert issuer.asked == 2
    assert [(each.expired, each.refused) for each in counters] == [(True, 1), (False, 0)]
