"""Every member of every operation, both ways: as AWS's model of the API has it, and through AWS's own SDKs."""

import pytest

from tests.raw import RawRequest
from tests.sdks.clients import CALLER_KEY, CALLER_TOKEN, OpenSdk
from tests.sdks.wire import API, BINARY, OPERATIONS, PARTS, RETURNED, SENT, answering, headers_of, success
from tests.stand import ACCESS_KEY_ID, REGION, in_front_of

OURS = {"authorization", "content-length", "host", "user-agent", "x-amz-date"}
"""The headers of a call that are the gateway's, beside those that members travel in."""


def calls_of(operation: str) -> list[dict[str, str | int | bytes]]:
    """Valid calls that have, together, every member: a body and a place to find it exclude each other."""
    members = {name: SENT[name] for name in API.operation_model(operation).input_shape.members}
    if "InputLocation" not in members:
        return [members]
    return [
        {name: value for name, value in members.items() if name != left_out} for left_out in ("InputLocation", "Body")
    ]


def headers(request: RawRequest) -> list[tuple[str, str]]:
    """What a request has, its names in lower case, in order of these."""
    lines = request.head.decode("ascii").split("\r\n")[1:-2]
    return sorted((name.lower(), value) for name, value in (line.split(": ", 1) for line in lines))


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_every_member_of_a_request_arrives(open_sdk: OpenSdk, operation: str) -> None:
    """In the header that is its own, with its very value, once; under the gateway's signature; and nothing else."""
    model = API.operation_model(operation)
    async with in_front_of(answering(success(operation))) as (gateway, server), open_sdk(gateway.url) as sdk:
        for members in calls_of(operation):
            await sdk.invoke(operation, **members)
            request = server.requests[-1]
            passed = headers(request)

            names = headers_of(model.input_shape)
            assert [(name, value) for name, value in passed if name not in OURS] == sorted(
                (wire_name.lower(), str(members[name])) for name, wire_name in names.items() if name in members
            )
            assert {name for name, _ in passed} >= OURS
            assert f"Credential={ACCESS_KEY_ID}/" in dict(passed)["authorization"]
            assert f"/{REGION}/sagemaker/aws4_request" in dict(passed)["authorization"]
            assert CALLER_KEY.encode() not in request.head
            assert CALLER_TOKEN.encode() not in request.head
            path = model.http["requestUri"].format(EndpointName=members["EndpointName"])
            assert request.head.startswith(f"{model.http['method']} {path} HTTP/1.1\r\n".encode())
            assert request.body == members.get("Body", b"")


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_what_a_caller_leaves_out_is_left_out(open_sdk: OpenSdk, operation: str) -> None:
    """The gateway makes up no member: SageMaker's defaults count."""
    required = API.operation_model(operation).input_shape.required_members
    async with in_front_of(answering(success(operation))) as (gateway, server), open_sdk(gateway.url) as sdk:
        await sdk.invoke(operation, **{name: SENT[name] for name in required})

    passed = headers(server.requests[0])
    of_the_http_client = [("accept", "*/*")]
    assert [each for each in passed if each[0] not in OURS and each not in of_the_http_client] == []


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_every_member_of_a_reply_arrives(open_sdk: OpenSdk, operation: str) -> None:
    """With its very value, and so do SageMaker's status and its id of the call."""
    model = API.operation_model(operation)
    async with in_front_of(answering(success(operation))) as (gateway, server), open_sdk(gateway.url) as sdk:
        reply = await sdk.invoke(operation, **calls_of(operation)[0])
        received = list(sdk.received)

    metadata = reply.pop("ResponseMetadata")
    assert reply == {name: RETURNED[name] for name in model.output_shape.members if name != "Body"}
    if model.has_event_stream_output:
        assert received == list(PARTS)
    else:
        assert received == [BINARY] * ("Body" in model.output_shape.members)
    assert metadata["HTTPStatusCode"] == model.http.get("responseCode", 200)
    assert (metadata["RequestId"], metadata["RetryAttempts"]) == ("request-1", 0)
    assert len(server.requests) == 1
