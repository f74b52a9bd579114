"""Scaling: instances come and go under load, DescribeEndpoint tells of it, and refuses to when it is told to."""

import asyncio
import os
from typing import Any

import pytest

from gateway.emulator import Emulator, StartError

from .container import Teller
from .support import FAST, descendants, http, invoke, is_alive, sdk, settings, unsigned, until


async def described(client: Any) -> tuple[str, int, int]:
    """Status, current and desired count, as the SDK reads them."""
    reply = await client.describe_endpoint(EndpointName="seed")
    (variant,) = reply["ProductionVariants"]
    return reply["EndpointStatus"], variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]


async def test_added_instances_get_calls_and_removed_ones_are_stopped() -> None:
    """Two, four, one: the processes are as many as the instances, and all of them get calls."""
    async with (
        Emulator(settings({"seed": {"instances": 2, "model": {"seconds": 0}}})) as emulator,
        sdk(emulator) as client,
        sdk(emulator, "sagemaker") as control,
    ):
        assert await described(control) == ("InService", 2, 2)
        await emulator.scale("seed", 4)
        assert await described(control) == ("InService", 4, 4)
        started = descendants(os.getpid())
        assert len(started) == 4
        for _ in range(4):
            await invoke(client, "seed")
        assert [each.calls for each in emulator.counters("seed").instances] == [1, 1, 1, 1]
        await emulator.scale("seed", 1)
        assert await described(control) == ("InService", 1, 1)
        assert [is_alive(pid) for pid in started].count(True) == 1
        assert await invoke(client, "seed") == b'{"message":"finish"}'
        seen = emulator.counters("seed")
        assert sum(each.calls for each in seen.instances) == 5
        assert [each.instances for each in seen.periods] == [2, 3, 4, 1]
        emulator.reset()
        assert [each.instances for each in emulator.counters("seed").periods] == [1]


async def test_a_removed_instance_finishes_what_it_was_given() -> None:
    """It gets no new call, its own run to their end, and only then it is gone from what is shown."""
    async with (
        Teller() as container,
        Emulator(settings({"seed": {"instances": 2, "url": container.url}})) as emulator,
        sdk(emulator) as client,
        sdk(emulator, "sagemaker") as control,
    ):
        calls = [asyncio.create_task(invoke(client, "seed")) for _ in range(2)]
        await until(lambda: emulator.counters("seed").running == 2)
        scaling = asyncio.create_task(emulator.scale("seed", 1))
        await until(lambda: len(emulator.counters("seed").periods) == 2)
        assert await described(control) == ("Updating", 2, 1)
        calls += [asyncio.create_task(invoke(client, "seed"))]
        await until(lambda: emulator.counters("seed").work == 3)
        assert [each.calls for each in emulator.counters("seed").instances] == [2, 1]
        container.tell(*[b"done", None] * 3)
        await asyncio.gather(*calls)
        await scaling
        assert await described(control) == ("InService", 1, 1)
        first, second = emulator.counters("seed").periods
        assert (first.peak_work, first.peak_running) == (2, 2)
        assert (second.instances, second.peak_work, second.peak_running) == (1, 3, 2)
        container.tell(None)
        await invoke(client, "seed")


async def test_what_is_shown_may_lag_behind() -> None:
    """With a delay the new instance already works while DescribeEndpoint still shows the old count."""
    async with (
        Emulator(settings({"seed": FAST})) as emulator,
        sdk(emulator) as client,
        sdk(emulator, "sagemaker") as control,
        http() as session,
    ):
        url = f"{emulator.url}/_emulator/endpoints/seed/scale"
        async with session.post(url, json={"instances": 2, "describe_delay_seconds": 1.5}) as reply:
            assert reply.status == 202
        await until(lambda: len(emulator.counters("seed").instances) == 2)
        assert await described(control) == ("Updating", 1, 2)
        await asyncio.gather(invoke(client, "seed"), invoke(client, "seed"))
        assert [each.calls for each in emulator.counters("seed").instances] == [1, 1]
        assert await described(control) == ("Updating", 1, 2)
        while await described(control) != ("InService", 2, 2):
            await asyncio.sleep(0.02)


async def test_with_no_instance_there_is_no_capacity() -> None:
    """Scaled to zero, calls are 400 ValidationError in SageMaker's words; asynchronous ones wait for an instance."""
    async with Emulator(settings({"seed": FAST})) as emulator, sdk(emulator) as client:
        await emulator.scale("seed", 0)
        with pytest.raises(client.exceptions.ValidationError, match="has no capacity to process this request"):
            await invoke(client, "seed")
        with pytest.raises(client.exceptions.ValidationError, match="has no capacity to process this request"):
            await client.invoke_endpoint_with_response_stream(EndpointName="seed", Body=b"")
        reply = await client.invoke_endpoint_async(EndpointName="seed", Body=b"x")
        seen = emulator.counters("seed")
        assert (seen.no_capacity, seen.open, seen.work, seen.backlog) == (2, 0, 0, 1)
        await emulator.scale("seed", 1)
        await until(lambda: (each := emulator.async_result(reply["InferenceId"])) is not None and each.body == b"x")
        assert await invoke(client, "seed", b"y") == b"y"


async def test_an_instance_that_does_not_come_up_is_told() -> None:
    """The error says why; what ran runs on, and what is desired is what there is."""
    async with (
        Teller() as container,
        Emulator(settings({"seed": {"url": container.url, "startup_seconds": 0.2}})) as emulator,
        sdk(emulator, "sagemaker") as control,
    ):
        container.healthy = False
        with pytest.raises(StartError, match="seed: instance 1 at"):
            await emulator.scale("seed", 2)
        assert await described(control) == ("InService", 1, 1)
        with pytest.raises(KeyError):
            await emulator.scale("nobody", 2)


async def test_describing_can_be_throttled_and_denied() -> None:
    """ThrottlingException and AccessDeniedException, as long as the switch is on; from the settings, or told later."""
    endpoints = {"seed": FAST, "shy": {"describe_denied": True, **FAST}}
    async with (
        Emulator(settings(endpoints)) as emulator,
        sdk(emulator, "sagemaker") as control,
        http() as session,
    ):
        emulator.switch_describe("seed", throttled=True)
        with pytest.raises(control.exceptions.ClientError, match="Rate exceeded") as caught:
            await described(control)
        assert caught.value.response["Error"]["Code"] == "ThrottlingException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        url = f"{emulator.url}/_emulator/endpoints/seed/describe"
        async with session.post(url, json={"denied": True}) as reply:
            assert await reply.json() == {"throttled": False, "denied": True}
        with pytest.raises(control.exceptions.ClientError, match="not authorized to perform: sagemaker:DescribeEndpo"):
            await described(control)
        with pytest.raises(control.exceptions.ClientError) as caught:
            await control.describe_endpoint_config(EndpointConfigName="shy-config")
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
        emulator.switch_describe("seed")
        assert await described(control) == ("InService", 1, 1)


@pytest.mark.parametrize(("what", "order"), [("scale", {"instances": -1}), ("scale", {}), ("describe", {"on": True})])
async def test_an_order_that_is_none_is_refused(what: str, order: dict[str, Any]) -> None:
    """400 and what was wrong; 404 for an endpoint that is not there."""
    async with Emulator(unsigned(seed=FAST)) as emulator, http() as session:
        async with session.post(f"{emulator.url}/_emulator/endpoints/seed/{what}", json=order) as reply:
            assert reply.status == 400
        async with session.post(f"{emulator.url}/_emulator/endpoints/nobody/{what}", json=order) as reply:
            assert reply.status == 404
