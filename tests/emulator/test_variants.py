"""Production variants: calls are dealt by weight or go where they ask to, and each variant is a fleet of its own."""

import asyncio
from typing import Any

import pytest

from gateway.emulator import Emulator

from .container import Teller
from .support import FAST, invoke, plain_sdk, sdk, settings, stream_of, streamed, until

TWO = {"variants": {"blue": {"instances": 2, "weight": 9, "routing": "RANDOM"}, "green": {"weight": 1}}, **FAST}
SERVERLESS = {"serverless": {"max_concurrency": 2, "memory_mb": 1024}, "model": {"seconds": 0}}


async def shares(seed: int) -> tuple[int, int]:
    """How many of 60 calls blue and green get, by their counters."""
    async with Emulator(settings({"two": TWO}), seed=seed) as emulator, sdk(emulator) as client:
        for _ in range(60):
            await invoke(client, "two")
        blue, green = emulator.counters("two/blue"), emulator.counters("two/green")
        assert emulator.counters("two").calls == blue.calls + green.calls == 60
        assert emulator.counters("two").peak_work == 1
    return blue.calls, green.calls


async def test_calls_are_dealt_by_weight() -> None:
    """Nine to one, more or less, and the same every time with the same seed."""
    first = await shares(7)
    assert await shares(7) == first
    assert 45 <= first[0] <= 59


async def test_boto3_chooses_a_variant() -> None:
    """TargetVariant decides, the answer says which it was, and one that is not there is a ValidationError."""

    def talk(client: Any) -> list[str]:
        with pytest.raises(client.exceptions.ValidationError, match="Variant red not found"):
            client.invoke_endpoint(EndpointName="two", Body=b"", TargetVariant="red")
        replies = [client.invoke_endpoint(EndpointName="two", Body=b"", TargetVariant="green") for _ in range(5)]
        return [reply["InvokedProductionVariant"] for reply in replies]

    async with Emulator(settings({"two": TWO})) as emulator:
        assert await asyncio.to_thread(talk, plain_sdk(emulator)) == ["green"] * 5
        assert (emulator.counters("two/green").calls, emulator.counters("two/blue").calls) == (5, 0)


async def test_streams_and_asynchronous_calls_are_dealt_too() -> None:
    """A weight of zero gets no call but those that name it."""
    endpoint = {"variants": {"blue": {"weight": 0}, "green": {}}, **FAST}
    async with Emulator(settings({"two": endpoint})) as emulator, sdk(emulator) as client:
        assert (await stream_of(client, "two"))["InvokedProductionVariant"] == "green"
        assert (await stream_of(client, "two", TargetVariant="blue"))["InvokedProductionVariant"] == "blue"
        reply = await client.invoke_endpoint_async(EndpointName="two", Body=b"x")
        await until(lambda: (each := emulator.async_result(reply["InferenceId"])) is not None and each.body == b"x")
        assert (emulator.counters("two/green").asynchronous, emulator.counters("two").asynchronous) == (1, 1)
        assert emulator.counters("two/blue").asynchronous == 0


async def test_all_variants_are_described_and_each_is_scaled_alone() -> None:
    """DescribeEndpoint and DescribeEndpointConfig list counts, weights and routing."""
    async with Emulator(settings({"two": TWO})) as emulator, sdk(emulator, "sagemaker") as control:
        await emulator.scale("two/green", 3)
        reply = await control.describe_endpoint(EndpointName="two")
        config = await control.describe_endpoint_config(EndpointConfigName="two-config")
        assert [each.instances for each in emulator.counters("two").periods] == [3, 4, 5]
    assert reply["ProductionVariants"] == [
        {
            "VariantName": "blue",
            "CurrentInstanceCount": 2,
            "DesiredInstanceCount": 2,
            "CurrentWeight": 9.0,
            "DesiredWeight": 9.0,
            "RoutingConfig": {"RoutingStrategy": "RANDOM"},
        },
        {
            "VariantName": "green",
            "CurrentInstanceCount": 3,
            "DesiredInstanceCount": 3,
            "CurrentWeight": 1.0,
            "DesiredWeight": 1.0,
            "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
        },
    ]
    assert [(each["VariantName"], each["InitialInstanceCount"]) for each in config["ProductionVariants"]] == [
        ("blue", 2),
        ("green", 1),
    ]


async def test_serverless_calls_above_the_limit_are_throttled() -> None:
    """The limit runs at once, none waits; one more is 400 ThrottlingException with a null message."""
    async with (
        Teller() as container,
        Emulator(settings({"less": {"serverless": {"max_concurrency": 2}, "url": container.url}})) as emulator,
        sdk(emulator) as client,
    ):
        calls = [asyncio.create_task(invoke(client, "less")) for _ in range(2)]
        await until(lambda: emulator.counters("less").running == 2)
        for call in (invoke, streamed):
            with pytest.raises(client.exceptions.ClientError) as caught:
                await call(client, "less")
            assert caught.value.response["Error"] == {"Code": "ThrottlingException", "Message": None}
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        container.tell(*[b"done", None] * 3)
        await asyncio.gather(*calls)
        assert await invoke(client, "less")
        seen = emulator.counters("less")
    assert (seen.calls, seen.throttled, seen.peak_work, seen.peak_running) == (3, 2, 2, 2)


async def test_a_caller_that_has_left_still_takes_serverless_capacity() -> None:
    """Its container works on: a call more would be one too many."""
    endpoint = {"serverless": {"max_concurrency": 1}, "timeout_seconds": 0.5}
    async with (
        Teller() as container,
        Emulator(settings({"less": {**endpoint, "url": container.url}})) as emulator,
        sdk(emulator) as client,
    ):
        with pytest.raises(client.exceptions.ModelError, match="timed out"):
            await invoke(client, "less")
        with pytest.raises(client.exceptions.ClientError, match="ThrottlingException"):
            await invoke(client, "less")
        container.tell(None)
        await until(lambda: emulator.counters("less").work == 0)
        container.tell(b"done", None)
        assert await invoke(client, "less") == b"done"


async def test_serverless_capacity_is_described_as_such() -> None:
    """MaxConcurrency and memory in place of instances, for an endpoint as for a variant."""
    mixed = {"variants": {"less": {"serverless": {"max_concurrency": 3}}, "more": {}}, **FAST}
    async with (
        Emulator(settings({"less": SERVERLESS, "mixed": mixed})) as emulator,
        sdk(emulator, "sagemaker") as control,
    ):
        (variant,) = (await control.describe_endpoint(EndpointName="less"))["ProductionVariants"]
        (initial,) = (await control.describe_endpoint_config(EndpointConfigName="less-config"))["ProductionVariants"]
        assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
        assert initial["ServerlessConfig"] == {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
        assert not {"CurrentInstanceCount", "InitialInstanceCount"} & (variant.keys() | initial.keys())
        await emulator.scale("mixed/less", 1)
        less, more = (await control.describe_endpoint(EndpointName="mixed"))["ProductionVariants"]
        assert less["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
        assert more["CurrentInstanceCount"] == 1
