"""Every error of the API, as AWS's model has it, is the SDK's own exception, with all of its members."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.parts import part
from tests.sdks.clients import OpenSdk
from tests.sdks.wire import API, OPERATIONS, STREAM, answering, exception, failure, members_of, stream
from tests.stand import in_front_of

MODELLED = [
    (operation, shape)
    for operation in OPERATIONS
    for shape in API.operation_model(operation).error_shapes
    if "httpStatusCode" in shape.metadata.get("error", {})
]
IN_STREAMS = [
    (operation, shape)
    for operation in OPERATIONS
    if (events := API.operation_model(operation).get_event_stream_output()) is not None
    for shape in events.members.values()
    if shape.metadata.get("exception")
]
CALL = {"EndpointName": "raw", "Body": b"{}"}


def named(value: Any) -> str:
    """A test's name of an operation or a shape."""
    return str(getattr(value, "name", value))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("operation", "shape"), MODELLED, ids=named)
async def test_a_modelled_error_arrives_whole(open_sdk: OpenSdk, operation: str, shape: Any) -> None:
    """As its own class, with every member; and the SDK alone decides how often it tries."""
    status = shape.metadata["error"]["httpStatusCode"]
    members = members_of(shape)
    script = answering(failure(status, shape.name, {"ErrorCode": "ANY_CODE", **members}))
    async with in_front_of(script) as (gateway, server), open_sdk(gateway.url) as sdk:
        with pytest.raises(ClientError) as caught:
            await sdk.invoke(operation, **CALL)
        assert type(caught.value) is getattr(sdk.exceptions, shape.name)

    response = caught.value.response
    assert {name: response.get(name) for name in members} == members
    assert response["Error"] == {"Code": shape.name, "Message": members["Message"]}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["ResponseMetadata"]["RequestId"] == "request-1"
    assert response["ResponseMetadata"]["RetryAttempts"] == len(server.requests) - 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("status", "code", "message"),
    [(400, "ThrottlingException", None), (403, "AccessDeniedException", "User: x is not authorized")],
)
async def test_a_common_error_arrives_as_it_is(
    open_sdk: OpenSdk, operation: str, status: int, code: str, message: str | None
) -> None:
    """What any service of AWS may say: code and message, which SageMaker leaves out where it throttles."""
    script = answering(failure(status, code, {"message": message}))
    async with in_front_of(script) as (gateway, server), open_sdk(gateway.url) as sdk:
        with pytest.raises(ClientError) as caught:
            await sdk.invoke(operation, **CALL)

    response = caught.value.response
    assert response["Error"] == {"Code": code, "Message": message}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["ResponseMetadata"]["RetryAttempts"] == len(server.requests) - 1


@pytest.mark.parametrize(("operation", "shape"), IN_STREAMS, ids=named)
async def test_an_error_in_a_stream_ends_it(open_sdk: OpenSdk, operation: str, shape: Any) -> None:
    """After all that came before it; SDKs make one class of them all, and keep code and message."""
    members = members_of(shape)
    script = answering(stream(part(b"first") + exception(shape.name, members)))
    async with in_front_of(script) as (gateway, server), open_sdk(gateway.url) as sdk:
        with pytest.raises(EventStreamError) as caught:
            await sdk.invoke(operation, **CALL)
        received = list(sdk.received)

    assert caught.value.response["Error"] == {"Code": shape.name, "Message": members["Message"]}
    assert received == [b"first"]
    assert len(server.requests) == 1


def test_the_model_is_read_right() -> None:
    """No error of any operation is left out above."""
    listed = {(operation, shape.name) for operation, shape in (*MODELLED, *IN_STREAMS)}
    wanted = {
        (operation, shape.name) for operation in OPERATIONS for shape in API.operation_model(operation).error_shapes
    }

    assert listed == wanted
    assert {operation for operation, _ in IN_STREAMS} == {STREAM}
