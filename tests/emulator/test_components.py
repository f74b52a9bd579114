"""Inference components: each a fleet of copies, called by name, scaled to zero and back, and described."""

import asyncio
import time
from datetime import datetime
from typing import Any

import pytest

from gateway.emulator import Emulator, EmulatorSettings

from .container import Teller
from .support import FAST, http, invoke, plain_sdk, sdk, settings, streamed, until

NO_CAPACITY = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if "
    "configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
)
MISSING = (
    "Inference Component Name header is required for endpoints to which you plan to deploy inference components. "
    "Please include Inference Component Name header or consider using SageMaker models."
)


def hosting(**components: Any) -> EmulatorSettings:
    """An endpoint `host` of three instances with some components, and one `plain` without any."""
    return settings({"host": {"instances": 3, "inference_components": components, **FAST}, "plain": FAST})


async def copies(control: Any, name: str) -> tuple[str, int, int]:
    """Status, current and desired count, as the SDK reads them."""
    reply = await control.describe_inference_component(InferenceComponentName=name)
    runtime = reply["RuntimeConfig"]
    return reply["InferenceComponentStatus"], runtime["CurrentCopyCount"], runtime["DesiredCopyCount"]


async def test_a_call_goes_to_the_copies_of_the_component_it_names() -> None:
    """Each component has its own fleet and counters; the endpoint's are those of all together."""
    async with (
        Teller() as container,
        Emulator(hosting(llama={"copies": 2, "url": container.url}, mini={"model": {"seconds": 0}})) as emulator,
        sdk(emulator) as client,
    ):
        calls = [asyncio.create_task(invoke(client, "host", InferenceComponentName="llama")) for _ in range(4)]
        await until(lambda: emulator.counters("host/llama").work == 4)
        container.tell(*[b"done", None] * 4)
        await asyncio.gather(*calls)
        assert await streamed(client, "host", b"x", InferenceComponentName="mini") == [b'{"message":"finish"}']
        llama, mini, host = (emulator.counters(name) for name in ("host/llama", "host/mini", "host"))
        assert (llama.calls, llama.answered, llama.peak_work, llama.peak_running) == (4, 4, 4, 2)
        assert [(each.calls, each.peak_work) for each in llama.instances] == [(2, 2), (2, 2)]
        assert (mini.calls, mini.peak_work) == (1, 1)
        assert (host.calls, host.answered, host.peak_work, host.peak_running, host.work) == (5, 5, 4, 2, 0)
        assert [each.calls for each in host.instances] == [2, 2, 1]
        both = llama.busy_instance_seconds + mini.busy_instance_seconds
        assert host.busy_instance_seconds == pytest.approx(both, rel=0.01)
        with pytest.raises(KeyError):
            emulator.counters("host/nobody")


async def test_boto3_is_told_what_is_wrong_with_a_name() -> None:
    """A missing, an unwanted and an unknown name are 400 ValidationError, each in its own words; none is counted."""

    def refused(client: Any, name: str, **parameters: str) -> Any:
        with pytest.raises(client.exceptions.ValidationError) as caught:
            client.invoke_endpoint(EndpointName=name, Body=b"", **parameters)
        return caught.value.response["Error"]["Message"]

    async with Emulator(hosting(llama={})) as emulator:
        client = plain_sdk(emulator)
        assert await asyncio.to_thread(refused, client, "host") == MISSING
        text = await asyncio.to_thread(refused, client, "plain", InferenceComponentName="llama")
        assert text.startswith(
            "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference "
            "components. Please remove "
        )
        assert "mini not found" in await asyncio.to_thread(refused, client, "host", InferenceComponentName="mini")
        text = await asyncio.to_thread(refused, client, "host", InferenceComponentName="llama", TargetVariant="green")
        assert "Variant green not found" in text
        assert emulator.counters("host").calls == emulator.counters("plain").calls == 0


async def test_a_missing_name_has_its_own_error_code() -> None:
    """On the wire the body says INFERENCE_COMPONENT_NAME_MISSING; asynchronous calls can name none, and get it too."""
    emulated = hosting(llama={}).model_copy(update={"verify_signatures": False})
    async with Emulator(emulated) as emulator, http() as session:
        for operation in ("invocations", "invocations-response-stream", "async-invocations"):
            async with session.post(f"{emulator.url}/endpoints/host/{operation}", data=b"x") as reply:
                assert (reply.status, reply.headers["x-amzn-ErrorType"].partition(":")[0]) == (400, "ValidationError")
                assert await reply.json() == {"ErrorCode": "INFERENCE_COMPONENT_NAME_MISSING", "Message": MISSING}


async def test_with_no_copies_there_is_no_capacity_until_it_is_scaled() -> None:
    """A component may start with none, is then 400 ValidationError in SageMaker's words, and scales both ways."""
    async with (
        Emulator(hosting(llama={"copies": 0}, mini={})) as emulator,
        sdk(emulator) as client,
        sdk(emulator, "sagemaker") as control,
        http() as session,
    ):
        named: dict[str, Any] = {"InferenceComponentName": "llama"}
        assert await copies(control, "llama") == ("InService", 0, 0)
        for call in (invoke, streamed):
            with pytest.raises(client.exceptions.ValidationError) as caught:
                await call(client, "host", **named)
            assert caught.value.response["Error"]["Message"] == NO_CAPACITY
        assert (emulator.counters("host/llama").no_capacity, emulator.counters("host").no_capacity) == (2, 2)
        await emulator.scale("host/llama", 2)
        assert await copies(control, "llama") == ("InService", 2, 2)
        assert await copies(control, "mini") == ("InService", 1, 1)
        assert await invoke(client, "host", b"x", **named) == b"x"
        assert len(emulator.counters("host").instances) == 3
        async with session.post(f"{emulator.url}/_emulator/endpoints/host/llama/scale", json={"instances": 0}) as reply:
            assert reply.status == 202
        while await copies(control, "llama") != ("InService", 0, 0):
            await asyncio.sleep(0.01)
        with pytest.raises(client.exceptions.ValidationError, match="no capacity"):
            await invoke(client, "host", **named)
        assert [each.instances for each in emulator.counters("host").periods] == [1, 2, 3, 1]


async def test_a_fleet_is_named_in_full_where_there_are_several() -> None:
    """The endpoint alone does not say which; the refusal tells the names there are."""
    async with Emulator(hosting(llama={})) as emulator, http() as session:
        with pytest.raises(KeyError):
            await emulator.scale("host", 1)
        for name in ("host", "host/mini"):
            async with session.post(f"{emulator.url}/_emulator/endpoints/{name}/scale", json={"instances": 1}) as reply:
                assert reply.status == 404
                assert f"no fleet {name}, only host/llama, plain" in (await reply.json())["message"]
        async with session.get(f"{emulator.url}/_emulator/endpoints") as reply:
            assert list(await reply.json()) == ["host", "host/llama", "plain"]


async def test_a_call_without_capacity_wakes_the_component() -> None:
    """With wake_after_seconds one copy comes that much later, however many calls asked for it; without it none does."""
    async with (
        Emulator(hosting(llama={"copies": 0, "wake_after_seconds": 0.1}, mini={"copies": 0})) as emulator,
        sdk(emulator) as client,
        sdk(emulator, "sagemaker") as control,
    ):
        began = time.monotonic()
        for name in ("llama", "llama", "mini"):
            with pytest.raises(client.exceptions.ValidationError, match="no capacity"):
                await invoke(client, "host", InferenceComponentName=name)
        await until(lambda: len(emulator.counters("host/llama").instances) == 1)
        assert time.monotonic() - began > 0.1
        assert await invoke(client, "host", b"x", InferenceComponentName="llama") == b"x"
        assert await copies(control, "llama") == ("InService", 1, 1)
        assert await copies(control, "mini") == ("InService", 0, 0)
        await emulator.scale("host/llama", 0)
        with pytest.raises(client.exceptions.ValidationError, match="no capacity"):
            await invoke(client, "host", InferenceComponentName="llama")
        await until(lambda: emulator.counters("host/llama").periods[-1].instances == 1)
        assert len(emulator.counters("host/llama").instances) == 2


async def test_boto3_describes_a_component_and_its_host() -> None:
    """DescribeInferenceComponent tells copies and home; the endpoint has no models of its own, and a role."""
    components = {"llama": {"copies": 2, "variant": "blue"}}
    host = {"variants": {"blue": {"instances": 3}}, "inference_components": components, **FAST}
    async with Emulator(settings({"host": host})) as emulator:
        control = plain_sdk(emulator, "sagemaker")
        found = await asyncio.to_thread(control.describe_inference_component, InferenceComponentName="llama")
        endpoint = await asyncio.to_thread(control.describe_endpoint, EndpointName="host")
        config = await asyncio.to_thread(control.describe_endpoint_config, EndpointConfigName="host-config")
        with pytest.raises(control.exceptions.ClientError, match=r'find inference component "arn:.*/nobody"') as caught:
            await asyncio.to_thread(control.describe_inference_component, InferenceComponentName="nobody")
        assert caught.value.response["Error"]["Code"] == "ValidationException"
        emulator.switch_describe("host", throttled=True)
        with pytest.raises(control.exceptions.ClientError, match="Rate exceeded"):
            await asyncio.to_thread(control.describe_inference_component, InferenceComponentName="llama")
    assert (found["EndpointName"], found["VariantName"], found["InferenceComponentStatus"]) == (
        "host",
        "blue",
        "InService",
    )
    assert found["InferenceComponentArn"].endswith(":inference-component/llama")
    assert found["RuntimeConfig"] == {"CurrentCopyCount": 2, "DesiredCopyCount": 2}
    assert found["Specification"]["ModelName"] == "llama-model"
    assert isinstance(found["LastModifiedTime"], datetime)
    (variant,) = endpoint["ProductionVariants"]
    assert (variant["VariantName"], variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == ("blue", 3, 3)
    assert config["ExecutionRoleArn"].startswith("arn:aws:iam::123456789012:role/")
    assert "ModelName" not in config["ProductionVariants"][0]


async def test_a_change_is_shown_while_it_is_made() -> None:
    """Updating, with the count that is desired; the endpoint itself stays in service."""
    async with Emulator(hosting(llama={})) as emulator, sdk(emulator, "sagemaker") as control:
        scaling = asyncio.create_task(emulator.scale("host/llama", 2, describe_delay_seconds=60))
        await until(lambda: len(emulator.counters("host/llama").instances) == 2)
        assert await copies(control, "llama") == ("Updating", 1, 2)
        assert (await control.describe_endpoint(EndpointName="host"))["EndpointStatus"] == "InService"
        scaling.cancel()
