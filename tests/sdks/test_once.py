"""At most once, with the retries that SDKs come with: a 424 or a time-out never makes a model run twice."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientError as AiohttpError
from botocore.eventstream import ParserError
from urllib3.exceptions import HTTPError as Urllib3Error

from tests.parts import part
from tests.raw import Peer, Script
from tests.sdks.clients import OpenSdk
from tests.sdks.wire import OPERATIONS, STREAM, answering, failure, http, stream
from tests.stand import in_front_of
from tests.waiting import until

CALL = {"EndpointName": "raw", "Body": b"{}"}
BROKEN = (AiohttpError, Urllib3Error, ParserError)
"""What a broken body is to an SDK: it has no exception of its own for that."""


async def stay_silent(peer: Peer) -> None:
    """Take the call, and never answer."""
    await peer.request()
    await peer.gone()


async def reset(peer: Peer) -> None:
    """Reset the connection when the call is there."""
    await peer.request()
    peer.reset()


async def close(peer: Peer) -> None:
    """Close the connection when the call is there."""
    await peer.request()
    await peer.leave()


async def cut_in_a_body(peer: Peer) -> None:
    """Close the connection in the middle of an answer."""
    await peer.answer(http(200, {"Content-Length": "100"}, b"half"))
    await peer.leave()


async def cut_in_an_error(peer: Peer) -> None:
    """Close the connection in the middle of what is an error, also to a stream."""
    await peer.answer(http(500, {"Content-Length": "100"}, b"half"))
    await peer.leave()


LOST = [
    (operation, script)
    for operation in OPERATIONS
    for script in (stay_silent, reset, close, cut_in_a_body, cut_in_an_error)
    if (operation, script) != (STREAM, cut_in_a_body)
]
"""What may become of a call; a stream that has begun is another matter, below."""


@pytest.mark.parametrize(("operation", "script"), LOST)
async def test_a_call_that_is_lost_is_not_made_again(open_sdk: OpenSdk, operation: str, script: Script) -> None:
    """The model may have run: that is 424 ModelError, which no SDK tries again, with OriginalStatusCode 0."""
    limits: dict[str, Any] = {"timeout_seconds": 0.3, "stream_timeout_seconds": 0.3}
    async with in_front_of(script, **limits) as (gateway, server), open_sdk(gateway.url) as sdk:
        with pytest.raises(sdk.exceptions.ModelError) as caught:
            await sdk.invoke(operation, **CALL)

    response = caught.value.response
    assert (response["ResponseMetadata"]["HTTPStatusCode"], response["OriginalStatusCode"]) == (424, 0)
    assert "The model may have run" in response["Error"]["Message"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("original_status", [0, 400, 503])
async def test_a_model_that_failed_is_not_run_again(open_sdk: OpenSdk, operation: str, original_status: int) -> None:
    """Whatever its container said, and also where SageMaker gave it up."""
    members = {
        "Message": "Received an error from primary.",
        "OriginalStatusCode": original_status,
        "OriginalMessage": "out of memory",
        "LogStreamArn": "arn:aws:logs:ap-northeast-1:123456789012:log-group:/aws/sagemaker/Endpoints/raw",
    }
    script = answering(failure(424, "ModelError", members))
    async with in_front_of(script) as (gateway, server), open_sdk(gateway.url) as sdk:
        with pytest.raises(sdk.exceptions.ModelError) as caught:
            await sdk.invoke(operation, **CALL)

    assert {name: caught.value.response.get(name) for name in members} == members
    assert len(server.requests) == 1


async def end_in_a_frame(peer: Peer) -> None:
    """End the answer in order, but not the frame that it is in."""
    await peer.send(part(b"second")[:-1])


async def close_in_a_frame(peer: Peer) -> None:
    """Close the connection there."""
    await peer.send(part(b"second")[:-2])
    await peer.leave()


async def reset_between_frames(peer: Peer) -> None:
    """Reset the connection, where all that came is whole."""
    peer.reset()


async def garble(peer: Peer) -> None:
    """Send a frame whose checksum is wrong."""
    await peer.send(part(b"second")[:-1] + b"?")


async def fall_silent(peer: Peer) -> None:
    """Send nothing more."""
    await peer.gone()


@pytest.mark.parametrize("ending", [end_in_a_frame, close_in_a_frame, reset_between_frames, garble, fall_silent])
async def test_a_stream_that_breaks_is_no_good_end(open_sdk: OpenSdk, ending: Script) -> None:
    """The SDK raises, after the parts that came; it has one try."""
    has_first = asyncio.Event()
    length = len(part(b"first") + part(b"second")) - (ending is end_in_a_frame)

    async def script(peer: Peer) -> None:
        await peer.answer(stream(part(b"first"), **{"Content-Length": str(length)}))
        await has_first.wait()
        await ending(peer)
        await peer.gone()

    limits: dict[str, Any] = {"stream_timeout_seconds": 1.0} if ending is fall_silent else {}
    async with in_front_of(script, **limits) as (gateway, server), open_sdk(gateway.url) as sdk:
        call = asyncio.create_task(sdk.invoke(STREAM, **CALL))
        await until(lambda: bool(sdk.received))
        has_first.set()
        with pytest.raises(BROKEN):
            await call
        received = list(sdk.received)

    assert received == [b"first"]
    assert len(server.requests) == 1
