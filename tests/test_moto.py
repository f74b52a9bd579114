"""The gateway in front of moto, an emulator that we did not write: our own and our gateway share no misunderstanding.

What moto cannot do: https://docs.getmoto.org/en/latest/docs/services/sagemaker-runtime.html. It knows no errors, no
streams and no signatures, answers asynchronous calls at once and with 200, and closes every connection.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiobotocore.session import get_session
from moto.server import ThreadedMotoServer

from gateway.app import Gateway, StartError, open_gateway
from gateway.config import Config
from gateway.log import make_logger
from tests.sdks.clients import KEYS, SDKS, OpenSdk, open_aiobotocore
from tests.stand import REGION
from tests.waiting import until

each_sdk = pytest.mark.parametrize("open_sdk", SDKS.values(), ids=tuple(SDKS))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Where moto listens."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def gateway_of(moto: str, endpoint: str, **settings: Any) -> AbstractAsyncContextManager[Gateway]:
    """A gateway before moto, with one endpoint."""
    aws = {"region": REGION, "endpoint_url": moto, "control_endpoint_url": moto, "refresh_seconds": 1}
    config = {"listen": {"port": 0}, "aws": aws, "endpoints": {endpoint: settings}}
    return open_gateway(Config.model_validate(config), make_logger(stream=io.StringIO()))


def client(service: str, moto: str) -> AbstractAsyncContextManager[Any]:
    """A real client of another service, straight at moto."""
    made: AbstractAsyncContextManager[Any] = get_session().create_client(service, endpoint_url=moto, **KEYS)
    return made


async def prepare(moto: str, kind: str, *results: dict[str, Any]) -> None:
    """Tell moto what the next calls that differ get; before, it forgets all that it had."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for path, content in (
            ("reset", None),
            (f"static/sagemaker/{kind}", {"region": REGION, "results": results}),
        ):
            async with session.post(f"{moto}/moto-api/{path}", json=content) as response:
                await response.read()


@each_sdk
async def test_an_answer(moto: str, open_sdk: OpenSdk) -> None:
    """With every member that moto can return."""
    result = {
        "Body": '{"a": "\u00fc"}',
        "ContentType": "application/json",
        "InvokedProductionVariant": "v1",
        "CustomAttributes": "a=1",
    }
    await prepare(moto, "endpoint-results", result)
    async with gateway_of(moto, "any", instances=1) as gateway, open_sdk(gateway.url) as sdk:
        reply = await sdk.invoke("InvokeEndpoint", EndpointName="any", Body=b"x")
        received = list(sdk.received)

    metadata = reply.pop("ResponseMetadata")
    assert received == ['{"a": "\u00fc"}'.encode()]
    assert reply == {name: value for name, value in result.items() if name != "Body"}
    assert (metadata["HTTPStatusCode"], metadata["RetryAttempts"]) == (200, 0)


async def test_connections_that_close_lose_nothing(moto: str) -> None:
    """Every answer ends its connection: the next call takes another, and each caller gets an answer of its own."""
    await prepare(moto, "endpoint-results", *({"Body": str(number)} for number in range(30)))
    async with gateway_of(moto, "any", instances=3) as gateway, aiohttp.ClientSession() as session:

        async def call(number: int) -> tuple[int, str]:
            async with session.post(f"{gateway.url}/endpoints/any/invocations", data=b"%d" % number) as response:
                return response.status, await response.text()

        answers = await asyncio.gather(*map(call, range(30)))

    assert {status for status, _ in answers} == {200}
    assert {text for _, text in answers} == {str(number) for number in range(30)}


@each_sdk
async def test_an_answer_later(moto: str, open_sdk: OpenSdk) -> None:
    """The result, or why there is none, lies where the reply says: a client of S3 finds it there."""
    await prepare(moto, "async-endpoint-results", {"data": "good"}, {"is_failure": True, "data": "bad"})
    async with gateway_of(moto, "any", instances=1) as gateway, open_sdk(gateway.url) as sdk, client("s3", moto) as s3:

        async def call(location: str, where: str) -> tuple[int, bytes]:
            reply = await sdk.invoke("InvokeEndpointAsync", EndpointName="any", InputLocation=location)
            assert reply["InferenceId"]
            bucket, _, key = reply[where].removeprefix("s3://").partition("/")
            stored = await s3.get_object(Bucket=bucket, Key=key)
            async with stored["Body"] as body:
                return reply["ResponseMetadata"]["HTTPStatusCode"], await body.read()

        good = await call("s3://in/1", "OutputLocation")
        bad = await call("s3://in/2", "FailureLocation")

    assert (good, bad) == ((200, b"good"), (200, b"bad"))


@asynccontextmanager
async def deployed(moto: str, name: str, instances: int) -> AsyncIterator[Any]:
    """A client of the control plane, where an endpoint of so many instances has been made."""
    async with client("sagemaker", moto) as control:
        role = "arn:aws:iam::123456789012:role/x"
        await control.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": "example.com/m"})
        variant = {
            "VariantName": "main",
            "ModelName": name,
            "InitialInstanceCount": instances,
            "InitialVariantWeight": 1.0,
            "InstanceType": "ml.m5.large",
        }
        await control.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        await control.create_endpoint(EndpointName=name, EndpointConfigName=name)
        yield control


async def status(gateway: Gateway, name: str) -> dict[str, Any]:
    """What `/status` says of an endpoint."""
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/status") as response:
        endpoint: dict[str, Any] = (await response.json())["endpoints"][name]
        return endpoint


async def test_a_fleet_is_followed(moto: str) -> None:
    """`instances: auto` is as large as the fleet from the start, grows and shrinks with it, and outlives its end."""
    await prepare(moto, "endpoint-results", {"Body": "ok"})
    async with (
        deployed(moto, "resnet", instances=2) as control,
        gateway_of(moto, "resnet", instances="auto", concurrency_per_instance=3) as gateway,
        open_aiobotocore(gateway.url) as sdk,
    ):
        limiter = gateway.limiters["resnet"]
        capacities = [limiter.statistics().capacity]
        for count in (5, 1):
            wanted = [{"VariantName": "main", "DesiredInstanceCount": count}]
            await control.update_endpoint_weights_and_capacities(
                EndpointName="resnet", DesiredWeightsAndCapacities=wanted
            )
            await until(lambda: limiter.statistics().capacity != capacities[-1])
            capacities.append(limiter.statistics().capacity)
        await control.delete_endpoint(EndpointName="resnet")
        async with asyncio.timeout(10):
            while (last := await status(gateway, "resnet"))["fleet"]["problem"] is None:
                await asyncio.sleep(0.01)
        await sdk.invoke("InvokeEndpoint", EndpointName="resnet", Body=b"x")

    assert capacities == [6, 15, 3]
    assert (last["capacity"], last["fleet"]["fleet"]["instances"]) == (3, 1)
    assert "SageMaker knows no endpoint resnet" in last["fleet"]["problem"]
    assert sdk.received == [b"ok"]


async def test_a_fleet_that_does_not_exist(moto: str) -> None:
    """The gateway does not start with it, and says so."""
    with pytest.raises(StartError, match="SageMaker knows no endpoint nobody in this account and region"):
        async with gateway_of(moto, "nobody", instances="auto"):
            pass
