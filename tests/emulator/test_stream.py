"""InvokeEndpointWithResponseStream through real SDKs: parts at once and in order, ends said plainly, all counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import EventStreamError

from gateway.emulator import Emulator

from .container import Teller
from .support import (
    FAST,
    KEY,
    REGION,
    SECRET,
    collect,
    http,
    parts_of,
    sdk,
    settings,
    stream_of,
    streamed,
    unsigned,
    until,
)

FIVE = [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n"]


@asynccontextmanager
async def telling(**endpoint: Any) -> AsyncIterator[tuple[Teller, Emulator]]:
    """An emulator whose endpoint `seed` is a container that the test tells what to send."""
    async with Teller() as container, Emulator(settings({"seed": {"url": container.url, **endpoint}})) as emulator:
        yield container, emulator


async def test_each_part_arrives_before_the_next_is_made() -> None:
    """A part reaches the caller while the model has not yet made the one after it, and the call runs to the last."""
    async with telling() as (container, emulator), sdk(emulator) as client:
        container.tell(b"one")
        reply = await stream_of(client, "seed")
        parts = parts_of(reply)
        assert await anext(parts) == b"one"
        container.tell(b"\xff\x00")
        assert await anext(parts) == b"\xff\x00"
        seen = emulator.counters("seed")
        assert (seen.open, seen.work, seen.running, seen.answered) == (1, 1, 1, 0)
        container.tell(None)
        assert [part async for part in parts] == []
        seen = emulator.counters("seed")
    assert (seen.open, seen.work, seen.answered, seen.wasted_instance_seconds) == (0, 0, 1, 0)


async def test_only_the_headers_of_the_api_pass() -> None:
    """The caller's Accept reaches the container from its own header, and the model's type the caller from its own."""
    async with telling() as (container, emulator), sdk(emulator) as client:
        container.tell(None)
        asked: dict[str, Any] = {
            "Accept": "a/b",
            "ContentType": "c/d",
            "InferenceId": "i",
            "CustomAttributes": "x",
        }
        reply = await stream_of(client, "seed", **asked)
        assert [part async for part in parts_of(reply)] == []
    (seen,) = container.seen
    names = {name.lower() for name in seen} - {"host", "content-length", "body"}
    own = {f"x-amzn-sagemaker-{name}" for name in ("inference-id", "custom-attributes")}
    assert names == {"accept", "content-type", *own}
    assert (seen["Accept"], seen["Content-Type"]) == ("a/b", "c/d")
    assert (reply["ContentType"], reply["CustomAttributes"]) == ("text/x", "a=b")
    assert reply["InvokedProductionVariant"] == "AllTraffic"
    headers = reply["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"] == "application/vnd.amazon.eventstream"
    assert "x-secret" not in headers
    assert len(reply["ResponseMetadata"]["RequestId"]) == 36


@pytest.mark.parametrize(
    ("framing", "frames"),
    [("as_it_comes", [b"abcd", b"efgh", b"ij", b"k"]), ("split", None), ("merged", [b"abcdefghij", b"k"])],
)
async def test_framing_changes_the_parts_and_not_the_bytes(framing: str, frames: list[bytes] | None) -> None:
    """A chunk in a part, in several, or several in one: the bytes are the same."""
    async with telling(framing=framing) as (container, emulator), sdk(emulator) as client:
        container.tell(b"abcd", b"efgh", b"ij", b"k", None)
        assert await streamed(client, "seed") == (frames or [b"ab", b"cd", b"ef", b"gh", b"i", b"j", b"k"])


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ("parts=5", b"".join(FIVE)),
        ("parts=2,sse=1", b"data: 0\n\ndata: 1\n\n"),
        ("parts=2,part_bytes=8", b"0 xxxxx\n1 xxxxx\n"),
        ("parts=1,part_bytes=3", b"0 \n"),
        ("parts=1,part_bytes=12,sse=1", b"data: 0 xx\n\n"),
        ("parts=0", b""),
        ("bytes=3", b"xxx"),
    ],
)
async def test_the_model_answers_in_numbered_parts(attributes: str, wanted: bytes) -> None:
    """Custom attributes choose number, size and form of the parts, streamed and whole; a whole answer streams too."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        reply = await stream_of(client, "echo", CustomAttributes=attributes)
        assert b"".join([part async for part in parts_of(reply)]) == wanted
        if "parts" in attributes:
            assert reply["ContentType"] == ("text/event-stream" if "sse" in attributes else "text/plain")
        whole = await client.invoke_endpoint(EndpointName="echo", Body=b"", CustomAttributes=attributes)
        async with whole["Body"] as body:
            assert await body.read() == wanted


async def test_a_large_part_passes_a_slow_caller_whole() -> None:
    """Bytes are bounded on their way, not lost: a container that is ahead of its caller waits."""
    attributes = "parts=10,part_bytes=1000000"
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        size, first = 0, True
        async for part in parts_of(await stream_of(client, "echo", CustomAttributes=attributes)):
            if first:
                first = False
                await asyncio.sleep(0.1)  # the caller dawdles
                assert emulator.counters("echo").running == 1
            size += len(part)
    assert size == 10_000_000


@pytest.mark.parametrize(
    ("attributes", "status"), [("status=400", 400), ("status=503", 503), ("parts=3,status=500", 500)]
)
async def test_a_container_that_says_no_is_an_ordinary_model_error(attributes: str, status: int) -> None:
    """Before the first part an error is an HTTP error, with the container's status."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        with pytest.raises(client.exceptions.ModelError) as caught:
            await stream_of(client, "echo", CustomAttributes=attributes)
        seen = emulator.counters("echo")
        with pytest.raises(client.exceptions.ValidationError, match="not found"):
            await stream_of(client, "nobody")
    assert caught.value.response["OriginalStatusCode"] == status
    assert (seen.model_errors, seen.open, seen.work) == (1, 0, 0)


async def test_a_container_that_breaks_before_the_first_part_is_an_ordinary_model_error() -> None:
    """Nothing has been promised yet: 424."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        with pytest.raises(client.exceptions.ModelError):
            await stream_of(client, "echo", CustomAttributes="parts=3,break_after=0")
        assert emulator.counters("echo").model_errors == 1


async def test_a_container_that_breaks_in_mid_answer_ends_the_stream_with_an_error() -> None:
    """The parts before it arrive; then ModelStreamError, as the SDK's own exception."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        got: list[bytes] = []
        reply = await stream_of(client, "echo", CustomAttributes="parts=5,break_after=2,interval=0.05")
        with pytest.raises(EventStreamError, match="reset or closed") as caught:
            await collect(reply, got)
        seen = emulator.counters("echo")
    assert b"".join(got) == b"0\n1\n"
    assert caught.value.response["Error"]["Code"] == "ModelStreamError"
    assert (seen.model_errors, seen.answered, seen.open, seen.work) == (1, 0, 0, 0)


async def test_the_time_limit_of_a_stream_ends_it_and_the_instance_works_on() -> None:
    """Past the limit the stream ends with the real text and error code; the instance's time is counted as wasted."""
    endpoint = {"stream_timeout_seconds": 0.4}
    async with (
        Teller() as container,
        Emulator(settings({"seed": {"url": container.url, **endpoint}})) as emulator,
        sdk(emulator) as client,
    ):
        container.tell(b"one")
        reply = await stream_of(client, "seed")
        with pytest.raises(EventStreamError) as caught:
            assert [part async for part in parts_of(reply)] == [b"one"]
        seen = emulator.counters("seed")
        assert (seen.timed_out, seen.open, seen.work, seen.running) == (1, 0, 1, 1)
        with pytest.raises(client.exceptions.ModelError, match="timed out while waiting") as late:
            await stream_of(client, "seed")
        container.tell(b"two", None, None)
        await until(lambda: emulator.counters("seed").work == 0)
        seen = emulator.counters("seed")
    assert caught.value.response["Error"] == {
        "Code": "ModelStreamError",
        "Message": "Your model primary did not complete sending the inference response in the allotted time.",
    }
    assert late.value.response["OriginalStatusCode"] == 0
    assert (seen.timed_out, seen.peak_running) == (2, 1)
    assert seen.wasted_instance_seconds == seen.busy_instance_seconds > 0


async def test_the_wire_of_a_stream() -> None:
    """Frames decode with botocore, byte for byte: parts as events, and an exception with its ErrorCode."""
    url = "/endpoints/echo/invocations-response-stream"
    headers = {"X-Amzn-SageMaker-Custom-Attributes": "parts=3,break_after=1,interval=0.05"}
    async with (
        Emulator(unsigned(echo=FAST)) as emulator,
        http() as session,
        session.post(emulator.url + url, data=b"", headers=headers) as reply,
    ):
        assert (reply.status, reply.headers["Transfer-Encoding"]) == (200, "chunked")
        assert reply.headers["X-Amzn-SageMaker-Content-Type"] == "text/plain"
        data = await reply.read()
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    event, error = list(buffer)
    assert event.headers == {
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }
    assert event.payload == b"0\n"
    assert (error.headers[":message-type"], error.headers[":exception-type"]) == ("exception", "ModelStreamError")
    assert b'"ErrorCode":"StreamBroken"' in error.payload


async def test_a_hang_up_does_not_stop_the_stream() -> None:
    """A caller that leaves is noticed; the container's answer is read to its end, and the time of it is waste."""
    async with telling() as (container, emulator), sdk(emulator) as client:
        container.tell(b"one")
        reply = await stream_of(client, "seed")
        assert await anext(parts_of(reply)) == b"one"
        reply["Body"].close()
        await until(lambda: emulator.counters("seed").hung_up == 1)
        seen = emulator.counters("seed")
        assert (seen.open, seen.work, seen.running) == (0, 1, 1)
        container.tell(*[b"x" * 1_000_000] * 5, None)
        await container.ended.wait()
        await until(lambda: emulator.counters("seed").work == 0)
        seen = emulator.counters("seed")
    assert (seen.answered, seen.model_errors) == (0, 0)
    assert seen.wasted_instance_seconds == seen.busy_instance_seconds > 0


async def test_a_hang_up_before_the_first_part_does_not_stop_the_call() -> None:
    """The same while the stream has not begun; and a stream takes its turn in the instance's queue like any call."""
    async with Teller() as container, Emulator(unsigned(seed={"url": container.url})) as emulator, http() as session:
        url = f"{emulator.url}/endpoints/seed/invocations-response-stream"

        async def call() -> bytes:
            async with session.post(url, data=b"") as reply:
                return await reply.read()

        callers = [asyncio.create_task(call())]
        await until(lambda: emulator.counters("seed").running == 1)
        callers.append(asyncio.create_task(call()))
        await until(lambda: emulator.counters("seed").work == 2)
        callers[0].cancel()
        await until(lambda: emulator.counters("seed").hung_up == 1)
        container.tell(b"lost", None, b"found", None)
        assert b"found" in await callers[1]
        seen = emulator.counters("seed")
    assert (seen.answered, seen.peak_running, seen.work) == (1, 1, 0)


async def test_streams_are_boto3_s_own() -> None:
    """The synchronous SDK reads the parts, and raises its EventStreamError."""

    def talk(url: str) -> list[bytes]:
        client = boto3.client(
            "sagemaker-runtime",
            region_name=REGION,
            endpoint_url=url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(retries={"total_max_attempts": 1}),
        )

        def stream(attributes: str) -> Any:
            asked = {"EndpointName": "echo", "Body": b"", "CustomAttributes": attributes}
            return closing(client.invoke_endpoint_with_response_stream(**asked)["Body"])

        with stream("parts=5,interval=0.01") as body:
            parts = [event["PayloadPart"]["Bytes"] for event in body]
        with stream("parts=3,break_after=1,interval=0.05") as body, pytest.raises(EventStreamError, match="StreamErr"):
            list(body)
        client.close()
        return parts

    async with Emulator(settings({"echo": FAST})) as emulator:
        assert await asyncio.to_thread(talk, emulator.url) == FIVE
