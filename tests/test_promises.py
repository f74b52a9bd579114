"""The promises, end to end: real processes, real instances, real SDKs; limits are asserted at the fleet's counters."""

import asyncio
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import boto3
import pytest
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from tests.processes import Command, running_pair
from tests.stand import REGION

Fleets = dict[str, dict[str, Any]]

ROUNDS = 20
"""Noise of a shared machine only adds to a time, and luck does not beat a physical limit: the best round counts."""


async def fleet(emulator: Command, name: str) -> dict[str, Any]:
    """The emulator's counters of one endpoint."""
    async with aiohttp.ClientSession() as session, session.get(f"{emulator.url}/_emulator/endpoints") as response:
        counters: dict[str, Any] = (await response.json())[name]
        return counters


async def fleet_with(emulator: Command, name: str, *, work: int) -> dict[str, Any]:
    """The counters as soon as the fleet has so much work."""
    async with asyncio.timeout(30):
        while (counters := await fleet(emulator, name))["work"] != work:
            await asyncio.sleep(0.01)
    return counters


async def call_at_once(
    emulator: Command, target: Command, name: str, count: int
) -> tuple[Counter[int], dict[str, Any]]:
    """Many calls at the same moment, on a fleet that starts to count afresh: how they ended, and what it saw."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        async with session.post(f"{emulator.url}/_emulator/reset"):
            pass

        async def one() -> int:
            async with session.post(f"{target.url}/endpoints/{name}/invocations", data=b"{}") as response:
                await response.read()
                return response.status

        statuses = Counter(await asyncio.gather(*[one() for _ in range(count)]))
    return statuses, await fleet(emulator, name)


@pytest.mark.parametrize(
    ("calls", "instances", "seconds", "wall_over"), [(4, 2, 1.0, 0.05), (1000, 20, 0.1, 0.5)], ids=["seed", "thousand"]
)
async def test_on_the_physical_limit(
    tmp_path: Path, calls: int, instances: int, seconds: float, wall_over: float
) -> None:
    """As many calls run as there are instances, never more, and no instance idles while somebody waits.

    So the fleet is done within 5 % of calls x seconds / instances. The callers' wall time is near that too; with a
    thousand at once it holds their own work as well, on the same two cores.
    """
    limit = calls * seconds / instances
    fleets: Fleets = {"seed": {"instances": instances, "model": {"seconds": seconds}}}
    async with running_pair(tmp_path, fleets, {"seed": {"instances": instances}}) as (emulator, gateway):
        spans: list[float] = []
        walls: list[float] = []
        while len(spans) < ROUNDS and (not spans or min(spans) > limit * 1.05 or min(walls) > limit * (1 + wall_over)):
            started = perf_counter()
            statuses, seen = await call_at_once(emulator, gateway, "seed", calls)
            walls.append(perf_counter() - started)
            spans.append(seen["span_seconds"])

            assert statuses == {200: calls}
            assert (seen["peak_calls"], seen["peak_work"], seen["calls"]) == (instances, instances, calls)

    assert limit <= min(spans) <= limit * 1.05
    assert limit <= min(walls) <= limit * (1 + wall_over)


async def test_overload_wastes_nothing(tmp_path: Path) -> None:
    """40 calls of 5 s at once on 2 instances under the 60-second limit, all times divided by 50.

    Without the gateway some fail with 424 while instances work for nobody; with it all succeed and none does.
    """
    fleets: Fleets = {"seed": {"instances": 2, "timeout_seconds": 60 / 50, "model": {"seconds": 5 / 50}}}
    endpoints: Fleets = {"seed": {"instances": 2, "timeout_seconds": 70 / 50}}
    async with running_pair(tmp_path, fleets, endpoints) as (emulator, gateway):
        config = BotoConfig(retries={"total_max_attempts": 1}, max_pool_connections=40)
        client = boto3.client("sagemaker-runtime", REGION, endpoint_url=emulator.url, config=config)

        def direct() -> int:
            try:
                reply = client.invoke_endpoint(EndpointName="seed", Body=b"{}")
                reply["Body"].read()
                return int(reply["ResponseMetadata"]["HTTPStatusCode"])
            except client.exceptions.ModelError as error:
                return int(error.response["ResponseMetadata"]["HTTPStatusCode"])

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(40) as threads:
            without = Counter(await asyncio.gather(*[loop.run_in_executor(threads, direct) for _ in range(40)]))
        seen_without = await fleet_with(emulator, "seed", work=0)
        with_gateway, seen_with = await call_at_once(emulator, gateway, "seed", 40)
        client.close()

    assert without[424] > 0
    assert seen_without["wasted_instance_seconds"] > 0
    assert with_gateway == {200: 40}
    assert (seen_with["peak_work"], seen_with["wasted_instance_seconds"]) == (2, 0)


async def test_boto3_with_only_its_endpoint_changed(tmp_path: Path) -> None:
    """A real SDK gets its answer, and its own exceptions for what goes wrong at SageMaker and at the gateway."""
    fleets: Fleets = {"echo": {"model": {"seconds": 0, "echo": True}}}
    endpoints: Fleets = {"echo": {"instances": 1}, "absent": {"instances": 1}}
    async with running_pair(tmp_path, fleets, endpoints) as (emulator, gateway):
        client = boto3.client("sagemaker-runtime", REGION, endpoint_url=gateway.url)
        await asyncio.to_thread(_answer_and_exceptions, client)
        client.close()
        echo = await fleet(emulator, "echo")

    assert echo["calls"] == 2


def _answer_and_exceptions(client: Any) -> None:
    """What a thread with an SDK sees."""
    reply = client.invoke_endpoint(
        EndpointName="echo", Body=b"\x00\xff", ContentType="application/x-npy", CustomAttributes="trace=1"
    )
    assert reply["Body"].read() == b"\x00\xff"
    assert reply["ContentType"] == "application/x-npy"
    assert reply["InvokedProductionVariant"] == "AllTraffic"
    assert reply["CustomAttributes"] == "trace=1"
    assert reply["ResponseMetadata"]["RequestId"]

    with pytest.raises(client.exceptions.ModelError) as model_error:
        client.invoke_endpoint(EndpointName="echo", Body=b"no", CustomAttributes="status=400")
    assert model_error.value.response["OriginalStatusCode"] == 400
    assert model_error.value.response["LogStreamArn"].startswith("arn:aws:logs:")

    with pytest.raises(client.exceptions.ValidationError, match="not found"):
        client.invoke_endpoint(EndpointName="absent", Body=b"")
    with pytest.raises(client.exceptions.ValidationError, match="names are compared exactly"):
        client.invoke_endpoint(EndpointName="nope", Body=b"")


async def test_boto3_raises_throttling_when_the_queue_is_full(tmp_path: Path) -> None:
    """429 of the gateway is ThrottlingException to an SDK, and no call of it reached the fleet."""
    fleets: Fleets = {"slow": {"model": {"seconds": 1}}}
    endpoints: Fleets = {"slow": {"instances": 1, "queue": {"max_waiting": 0}}}
    async with running_pair(tmp_path, fleets, endpoints) as (emulator, gateway):
        config = BotoConfig(retries={"total_max_attempts": 1})
        client = boto3.client("sagemaker-runtime", REGION, endpoint_url=gateway.url, config=config)
        running_call = asyncio.create_task(call_at_once(emulator, gateway, "slow", 1))
        await fleet_with(emulator, "slow", work=1)

        with pytest.raises(ClientError) as refused:
            await asyncio.to_thread(client.invoke_endpoint, EndpointName="slow", Body=b"{}")
        client.close()
        statuses, seen = await running_call

    assert refused.value.response["Error"]["Code"] == "ThrottlingException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert (statuses, seen["calls"]) == ({200: 1}, 1)


async def test_a_time_out_never_runs_a_model_twice(tmp_path: Path) -> None:
    """The gateway gives a call up with 424, which no SDK retries, at its default of five attempts."""
    fleets: Fleets = {"slow": {"instances": 1, "model": {"seconds": 1}}}
    endpoints: Fleets = {"slow": {"instances": 1, "timeout_seconds": 0.2}}
    async with running_pair(tmp_path, fleets, endpoints) as (emulator, gateway):
        client = boto3.client("sagemaker-runtime", REGION, endpoint_url=gateway.url)

        with pytest.raises(client.exceptions.ModelError) as given_up:
            await asyncio.to_thread(client.invoke_endpoint, EndpointName="slow", Body=b"{}")
        client.close()
        seen = await fleet(emulator, "slow")

    assert given_up.value.response["OriginalStatusCode"] == 0
    assert seen["calls"] == 1


async def test_streams_leave_no_memory_behind(tmp_path: Path) -> None:
    """Rounds of 100 streams of 50 parts: after the first three the gateway's resident memory stays within 10 %."""
    fleets: Fleets = {"talk": {"instances": 2, "concurrency_per_instance": 50}}
    endpoints: Fleets = {"talk": {"instances": 2, "concurrency_per_instance": 50}}
    steer = {"X-Amzn-SageMaker-Custom-Attributes": "parts=50,interval=0,part_bytes=2000,sse=1,seconds=0"}
    async with (
        running_pair(tmp_path, fleets, endpoints) as (_, gateway),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):

        async def stream() -> int:
            url = f"{gateway.url}/endpoints/talk/invocations-response-stream"
            async with session.post(url, data=b"{}", headers=steer) as response:
                return len(await response.read())

        async def resident() -> float:
            async with session.get(f"{gateway.url}/metrics") as response:
                (line,) = re.findall(r"^process_resident_memory_bytes (.*)$", await response.text(), re.MULTILINE)
            return float(line)

        memory = []
        for _ in range(6):
            assert await asyncio.gather(*[stream() for _ in range(100)]) == [100_000] * 100
            memory.append(await resident())

    assert max(memory[3:]) <= 1.1 * max(memory[:3])
