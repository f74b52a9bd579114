"""The gateway's own refusals as SDKs see them, with the retries that they come with."""

import asyncio
import io
import os
import sys
from asyncio.subprocess import PIPE

import aiohttp
import pytest
from botocore.exceptions import ClientError

from gateway.app import Gateway, open_gateway
from gateway.log import make_logger
from tests.raw import Peer
from tests.sdks.clients import OpenSdk
from tests.sdks.wire import API, OPERATIONS, answering, http, success
from tests.stand import REGION, StandSettings, in_front_of
from tests.waiting import until

CALL = {"EndpointName": "raw", "Body": b"{}"}
NOBODY = "http://127.0.0.1:1"
"""Where nothing listens."""

BOTO3 = """
import boto3

client = boto3.client("sagemaker-runtime")
print(client.invoke_endpoint(EndpointName="raw", Body=b"{}")["Body"].read())
"""

AIOBOTOCORE = """
import asyncio
from aiobotocore.session import get_session

async def main():
    async with get_session().create_client("sagemaker-runtime") as client:
        reply = await client.invoke_endpoint(EndpointName="raw", Body=b"{}")
        print(await reply["Body"].read())

asyncio.run(main())
"""


async def refused(gateway: Gateway, reason: str) -> None:
    """Wait until somebody was refused."""
    line = f'sagemaker_gateway_refusals_total{{endpoint="raw",reason="{reason}"}} '
    async with asyncio.timeout(10), aiohttp.ClientSession() as session:
        metrics = ""
        while line not in metrics or f"{line}0.0" in metrics:
            await asyncio.sleep(0.01)
            async with session.get(f"{gateway.url}/metrics") as response:
                metrics = await response.text()


async def test_a_full_queue_is_tried_again_until_there_is_room(open_sdk: OpenSdk) -> None:
    """That is ThrottlingException, which SDKs repeat by themselves; no model sees a call that was refused."""
    room = asyncio.Event()

    async def hold(peer: Peer) -> None:
        request = await peer.request()
        if request.body == b"held":
            await room.wait()
        await peer.send(http(200, {}, request.body))
        await hold(peer)

    async with (
        in_front_of(hold, queue={"max_waiting": 0}) as (gateway, server),
        open_sdk(gateway.url) as holder,
        open_sdk(gateway.url) as sdk,
    ):
        held = asyncio.create_task(holder.invoke("InvokeEndpoint", EndpointName="raw", Body=b"held"))
        await until(lambda: len(server.requests) == 1)
        call = asyncio.create_task(sdk.invoke("InvokeEndpoint", EndpointName="raw", Body=b"refused"))
        await refused(gateway, "queue_full")
        room.set()
        reply = await call
        await held
        received = (*holder.received, *sdk.received)

    assert reply["ResponseMetadata"]["RetryAttempts"] >= 1
    assert received == (b"held", b"refused")
    assert [request.body for request in server.requests] == [b"held", b"refused"]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_endpoint_that_the_gateway_does_not_know(open_sdk: OpenSdk, operation: str) -> None:
    """The error of SageMaker itself, with what to look at."""
    script = answering(success(operation))
    async with in_front_of(script) as (gateway, server), open_sdk(gateway.url) as sdk:
        with pytest.raises(sdk.exceptions.ValidationError, match="names are compared exactly") as caught:
            await sdk.invoke(operation, EndpointName="nobody", Body=b"")

    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    assert server.requests == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_sagemaker_that_cannot_be_reached(open_sdk: OpenSdk, operation: str) -> None:
    """No model saw the call: that is ServiceUnavailable, which SDKs try again."""
    config = StandSettings({"raw": {}}).gateway(NOBODY)
    async with open_gateway(config, make_logger(stream=io.StringIO())) as gateway, open_sdk(gateway.url) as sdk:
        with pytest.raises(sdk.exceptions.ServiceUnavailable, match="was not sent") as caught:
            await sdk.invoke(operation, **CALL)

    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] >= 1


@pytest.mark.parametrize(("endpoint", "code"), [("raw", "ModelError"), ("nobody", "ValidationError")])
async def test_a_refusal_has_every_member_of_its_error(open_sdk: OpenSdk, endpoint: str, code: str) -> None:
    """A program that reads any of them, as it may at SageMaker, finds it."""
    silent = answering(b"")
    async with in_front_of(silent, timeout_seconds=0.1) as (gateway, _), open_sdk(gateway.url) as sdk:
        with pytest.raises(ClientError) as caught:
            await sdk.invoke("InvokeEndpoint", EndpointName=endpoint, Body=b"")

    response = caught.value.response
    assert response["Error"]["Code"] == code
    assert set(API.shape_for(code).members) <= response.keys()
    assert response["Message"] == response["Error"]["Message"]


@pytest.mark.parametrize("code", [BOTO3, AIOBOTOCORE], ids=["boto3", "aiobotocore"])
async def test_a_variable_of_the_environment_is_all_it_takes(code: str) -> None:
    """A program that was written for SageMaker runs as it is."""
    async with in_front_of(answering(success("InvokeEndpoint"))) as (gateway, server):
        environment = {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": gateway.url, "AWS_DEFAULT_REGION": REGION}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=PIPE, env=os.environ | environment
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()

    assert process.returncode == 0
    assert output.decode().strip() == repr(bytes(range(256)))
    assert len(server.requests) == 1
