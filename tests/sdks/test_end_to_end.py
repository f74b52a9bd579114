"""SDKs, the gateway and the emulator's instances together, once for each operation and error."""

import pytest

from tests.sdks.clients import OpenSdk
from tests.sdks.wire import BINARY, STREAM
from tests.stand import MakeStand, Stand, StandSettings
from tests.waiting import until

PARTS = "parts=3,part_bytes=3"


async def make_echo(make_stand: MakeStand) -> Stand:
    """A stand with a model that answers what it is sent."""
    return await make_stand(StandSettings({"echo": {"model": {"seconds": 0, "echo": True}}}))


async def test_an_answer_in_one_piece(make_stand: MakeStand, open_sdk: OpenSdk) -> None:
    """InvokeEndpoint: any bytes there and back."""
    stand = await make_echo(make_stand)
    async with open_sdk(stand.url) as sdk:
        reply = await sdk.invoke("InvokeEndpoint", EndpointName="echo", Body=BINARY, ContentType="application/x-npy")
        received = list(sdk.received)

    assert (received, reply["ContentType"]) == ([BINARY], "application/x-npy")
    assert reply["InvokedProductionVariant"] == "AllTraffic"
    assert stand.counters("echo").calls == 1


async def test_an_answer_in_parts(make_stand: MakeStand, open_sdk: OpenSdk) -> None:
    """InvokeEndpointWithResponseStream: what the model sends, in order."""
    stand = await make_echo(make_stand)
    async with open_sdk(stand.url) as sdk:
        reply = await sdk.invoke(STREAM, EndpointName="echo", Body=b"{}", CustomAttributes=PARTS)
        received = b"".join(sdk.received)

    assert (received, reply["ContentType"]) == (b"0 \n1 \n2 \n", "text/plain")
    assert stand.counters("echo").calls == 1


async def test_an_answer_later(make_stand: MakeStand, open_sdk: OpenSdk) -> None:
    """InvokeEndpointAsync: accepted with a place where the answer is to be, and it comes to be there."""
    stand = await make_echo(make_stand)
    async with open_sdk(stand.url) as sdk:
        reply = await sdk.invoke("InvokeEndpointAsync", EndpointName="echo", Body=BINARY)

    def state() -> str:
        result = stand.emulator.async_result(reply["InferenceId"])
        return result.state if result else "lost"

    await until(lambda: state() == "completed")
    result = stand.emulator.async_result(reply["InferenceId"])
    assert result is not None
    assert (result.body, result.output_location) == (BINARY, reply["OutputLocation"])
    assert stand.counters("echo").asynchronous == 1


@pytest.mark.parametrize("operation", ["InvokeEndpoint", STREAM])
async def test_a_model_that_fails(make_stand: MakeStand, open_sdk: OpenSdk, operation: str) -> None:
    """ModelError with all that its members tell, and the model has run once."""
    stand = await make_echo(make_stand)
    async with open_sdk(stand.url) as sdk:
        with pytest.raises(sdk.exceptions.ModelError) as caught:
            await sdk.invoke(operation, EndpointName="echo", Body=b"no", CustomAttributes="status=503")

    response = caught.value.response
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (503, "no")
    assert response["LogStreamArn"].endswith(":log-group:/aws/sagemaker/Endpoints/echo")
    assert stand.counters("echo").calls == 1
