"""InvokeEndpointAsync through real SDKs: accepted at once, queued at the endpoint, and its result kept."""

import asyncio
import base64
import json
import time
from typing import Any

import boto3
import pytest
from botocore.config import Config

from gateway.emulator import AsyncResult, Emulator
from gateway.emulator.backlog import AsyncJob, Backlog
from gateway.emulator.ledger import Ledger
from gateway.emulator.outcome import Invocation

from .container import Recorder, Teller
from .support import FAST, KEY, REGION, SECRET, http, sdk, settings, unsigned, until

PREFIX = "X-Amzn-SageMaker-"


async def finished(emulator: Emulator, inference_id: str) -> AsyncResult:
    """The result of a call, once there is one."""

    def result() -> AsyncResult | None:
        return emulator.async_result(inference_id)

    await until(lambda: (seen := result()) is not None and seen.state in {"completed", "failed"})
    found = result()
    assert found is not None
    return found


async def call(client: Any, **parameters: Any) -> str:
    """InvokeEndpointAsync: the inference id."""
    reply = await client.invoke_endpoint_async(EndpointName="echo", **parameters)
    identity: str = reply["InferenceId"]
    return identity


async def test_a_call_is_accepted_with_its_locations_and_its_answer_kept() -> None:
    """202, an id and two locations; then the model's answer, byte for byte, in process and over HTTP."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client, http() as session:
        reply = await client.invoke_endpoint_async(EndpointName="echo", Body=b"\xff\x00", ContentType="a/b")
        assert reply["ResponseMetadata"]["HTTPStatusCode"] == 202
        start = "s3://sagemaker-ap-northeast-1-123456789012/async/echo/"
        assert reply["OutputLocation"].startswith(f"{start}output/")
        assert reply["FailureLocation"].startswith(f"{start}failure/")
        result = await finished(emulator, reply["InferenceId"])
        assert (result.state, result.body, result.content_type) == ("completed", b"\xff\x00", "a/b")
        async with session.get(f"{emulator.url}/_emulator/async/{reply['InferenceId']}") as answer:
            told = await answer.json()
        assert (told["state"], base64.b64decode(told["body"]), told["endpoint"]) == ("completed", b"\xff\x00", "echo")
        assert told["output_location"] == reply["OutputLocation"]
        async with session.get(f"{emulator.url}/_emulator/async/nobody") as answer:
            assert answer.status == 404
        seen = emulator.counters("echo")
    assert (seen.asynchronous, seen.calls, seen.open, seen.work, seen.peak_running) == (1, 0, 0, 0, 1)


async def test_the_members_of_the_api_are_understood() -> None:
    """Id, path extension, file name and input location; the container gets type, accept, attributes and id."""
    async with (
        Recorder(None) as container,
        Emulator(settings({"echo": {"url": container.url}})) as emulator,
        sdk(emulator) as client,
    ):
        reply = await client.invoke_endpoint_async(
            EndpointName="echo",
            InputLocation="s3://bucket/key",
            ContentType="a/b",
            Accept="c/d",
            CustomAttributes="x=1",
            InferenceId="my id",
            RequestTTLSeconds=60,
            InvocationTimeoutSeconds=1,
            S3OutputPathExtension="some/where",
            Filename="answer.json",
        )
        assert reply["InferenceId"] == "my id"
        assert reply["OutputLocation"].endswith("/output/some/where/answer.json")
        result = await finished(emulator, "my id")
        async with http() as session, session.get(f"{emulator.url}/_emulator/async/my%20id") as answer:
            assert (await answer.json())["inference_id"] == "my id"
    (seen,) = container.seen
    names = {name.lower() for name in seen} - {"host", "content-length", "body"}
    own = {"x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id"}
    assert names == {"accept", "content-type", *own}
    assert (seen["Content-Type"], seen["Accept"], seen["body"]) == ("a/b", "c/d", "s3://bucket/key")
    assert result.state == "failed"
    assert json.loads(result.error or "")["OriginalStatusCode"] == 0


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ({}, b"", "Exactly one of Body and InputLocation"),
        ({"InputLocation": "s3://b/k"}, b"x", "Exactly one of Body and InputLocation"),
        ({"InputLocation": "ftp://b/k"}, b"", "InputLocation must be an https:// or s3:// URL"),
        ({}, b"x" * 128_001, "at most 128000 bytes"),
        ({"RequestTTLSeconds": "59"}, b"x", "RequestTTLSeconds must be between 60 and 21600"),
        ({"RequestTTLSeconds": "soon"}, b"x", "RequestTTLSeconds must be a whole number"),
        ({"InvocationTimeoutSeconds": "3601"}, b"x", "InvocationTimeoutSeconds must be between 1 and 3600"),
        ({"Filename": "a.b.c"}, b"x", "Filename must be"),
        ({"S3OutputPathExtension": "s3://x"}, b"x", "S3OutputPathExtension must be"),
        ({"Inference-Id": "i" * 65}, b"x", "Inference-Id must be 1 to 64"),
        ({"Accept": "\u00e9"}, b"x", "Accept must be at most 1024"),
    ],
)
async def test_what_the_api_does_not_allow_is_a_validation_error(
    headers: dict[str, str], body: bytes, text: str
) -> None:
    """400 ValidationError at once; nothing is queued."""
    named = {PREFIX + name: value for name, value in headers.items()}
    async with Emulator(unsigned(echo=FAST)) as emulator, http() as session:
        url = f"{emulator.url}/endpoints/echo/async-invocations"
        async with session.post(url, data=body, headers=named) as reply:
            assert reply.status == 400
            assert reply.headers["x-amzn-ErrorType"].startswith("ValidationError:")
            assert text in (await reply.json())["Message"]
        assert emulator.counters("echo").asynchronous == 0


async def test_calls_queue_at_the_endpoint_and_run_in_order() -> None:
    """No more run than the fleet has room for, and the callers never wait."""
    async with (
        Teller() as container,
        Emulator(settings({"echo": {"instances": 2, "url": container.url}})) as emulator,
        sdk(emulator) as client,
    ):
        ids = [await call(client, Body=str(number).encode()) for number in range(5)]
        seen = emulator.counters("echo")
        assert (seen.asynchronous, seen.work, seen.backlog, seen.open) == (5, 2, 3, 0)
        container.tell(*[None] * 5)
        for identity in ids:
            assert (await finished(emulator, identity)).state == "completed"
        await until(lambda: emulator.counters("echo").work == 0)
        seen = emulator.counters("echo")
    assert (seen.peak_work, seen.peak_running, seen.peak_backlog, seen.backlog) == (2, 2, 3, 0)
    assert sorted(each["body"] for each in container.seen) == ["0", "1", "2", "3", "4"]


async def test_a_model_that_says_no_or_is_too_slow_fails_the_call_later() -> None:
    """The caller was told yes; the failure is a ModelError in the result."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        no = await finished(emulator, await call(client, Body=b"no", CustomAttributes="status=500"))
        identity = await call(client, Body=b"x", CustomAttributes="seconds=1.2", InvocationTimeoutSeconds=1)
        slow = await finished(emulator, identity)
        await until(lambda: emulator.counters("echo").work == 0)
        seen = emulator.counters("echo")
        with pytest.raises(client.exceptions.ValidationError, match="not found"):
            await client.invoke_endpoint_async(EndpointName="nobody", Body=b"x")
    assert (json.loads(no.error or "")["OriginalStatusCode"], no.state) == (500, "failed")
    assert (json.loads(slow.error or "")["OriginalStatusCode"], slow.state) == (0, "failed")
    assert seen.wasted_instance_seconds >= 1.2


async def test_a_call_that_waits_too_long_expires() -> None:
    """It is never given to an instance, and the result says so."""
    ledger = Ledger(instances=0, clock=time.monotonic)
    backlog = Backlog(capacity=lambda: 0, submit=lambda _call, _work: None, ledger=ledger)
    result = AsyncResult("id", "echo", "", "")
    backlog.add(AsyncJob(result, Invocation({}, b""), ttl_seconds=0.01, timeout_seconds=1, explain=str))
    assert ledger.counters().backlog == 1
    await until(lambda: result.state == "failed")
    assert "expired" in (result.error or "")
    assert (ledger.counters().backlog, ledger.counters().work) == (0, 0)
    await backlog.close()


async def test_a_fault_on_demand_refuses_a_call_at_once() -> None:
    """The SDK raises its own exception; nothing is queued."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        emulator.inject("echo", {"fault": "service_unavailable"})
        with pytest.raises(client.exceptions.ServiceUnavailable):
            await call(client, Body=b"x")
        assert emulator.counters("echo").asynchronous == 0


async def test_calls_are_boto3_s_own() -> None:
    """The synchronous SDK reads id and locations."""

    def talk(url: str) -> Any:
        client = boto3.client(
            "sagemaker-runtime",
            region_name=REGION,
            endpoint_url=url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(retries={"total_max_attempts": 1}),
        )
        reply = client.invoke_endpoint_async(EndpointName="echo", Body=b"hello", InferenceId="one")
        client.close()
        return reply

    async with Emulator(settings({"echo": FAST})) as emulator:
        reply = await asyncio.to_thread(talk, emulator.url)
        assert (await finished(emulator, "one")).body == b"hello"
    assert reply["InferenceId"] == "one"


async def test_an_emulator_stops_while_calls_are_queued() -> None:
    """Nothing is left behind by calls that run, wait or would have expired."""
    async with (
        Teller() as container,
        Emulator(settings({"echo": {"url": container.url}})) as emulator,
        sdk(emulator) as client,
    ):
        identity = [await call(client, Body=b"x") for _ in range(3)][-1]
        assert (result := emulator.async_result(identity)) is not None
        assert result.state == "queued"
