"""What SageMaker says on the wire, made from AWS's own model of the API: what AWS adds is asked for here at once."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.loaders import create_loader
from botocore.model import ServiceModel

from tests.parts import frame, part
from tests.raw import Peer, Script

API = ServiceModel(create_loader().load_service_model("sagemaker-runtime", "service-2"))
OPERATIONS = tuple(API.operation_names)
STREAM = "InvokeEndpointWithResponseStream"

BINARY = bytes(range(256))
PARTS = (b"first", BINARY, b"")

SENT: Mapping[str, str | int | bytes] = {
    "EndpointName": "raw",
    "Body": BINARY,
    "ContentType": 'text/plain; charset="utf-8"',
    "Accept": "application/json;q=0.9, */*",
    "CustomAttributes": 'trace=7, tenant={"a": "b"}; ~',
    "TargetModel": "folder/a model v1.tar.gz",
    "TargetVariant": "variant-2",
    "TargetContainerHostname": "second--container",
    "InferenceId": "an id/1:2",
    "EnableExplanations": "`[0] > `0.8`",
    "InferenceComponentName": "component-3",
    "SessionId": "session-1",
    "PrefixAwareId": "a prefix",
    "InputLocation": "s3://bucket/folder/a key.json",
    "S3OutputPathExtension": "2026/(a)'b'!*.x",
    "Filename": "answer_1.json",
    "RequestTTLSeconds": 21_600,
    "InvocationTimeoutSeconds": 3600,
}
"""A valid value of every member of every request."""

RETURNED: Mapping[str, str | bytes] = {
    "Body": BINARY,
    "ContentType": 'text/plain; charset="utf-8"',
    "InvokedProductionVariant": "variant-2",
    "CustomAttributes": 'trace=7, cost={"a": "b"}; ~',
    "NewSessionId": "session-2; Expires=2026-01-31T00:00:00Z",
    "ClosedSessionId": "session-1",
    "InferenceId": "an id/1:2",
    "OutputLocation": "s3://bucket/out/a key.out",
    "FailureLocation": "s3://bucket/failed/a key.out",
}
"""A valid value of every member of every reply."""


def headers_of(shape: Any) -> dict[str, str]:
    """The wire names of the members that travel as headers."""
    return {
        name: member.serialization["name"]
        for name, member in shape.members.items()
        if member.serialization.get("location") == "header"
    }


def http(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """An answer as it goes over the wire; with `Content-Length`, unless the headers say another."""
    fields = {"Content-Length": str(len(body)), "x-amzn-RequestId": "request-1", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} It\r\n{lines}\r\n".encode() + body


def success(operation: str) -> bytes:
    """A reply with every member."""
    model = API.operation_model(operation)
    shape = model.output_shape
    headers = {wire_name: str(RETURNED[name]) for name, wire_name in headers_of(shape).items()}
    if model.has_event_stream_output:
        body = b"".join(map(part, PARTS))
        headers["Content-Type"] = "application/vnd.amazon.eventstream"
    elif "payload" in shape.serialization:
        body = BINARY
    else:
        body = json.dumps({name: RETURNED[name] for name in shape.members if name not in headers_of(shape)}).encode()
        headers["Content-Type"] = "application/json"
    return http(model.http.get("responseCode", 200), headers, body)


def members_of(shape: Any) -> dict[str, str | int]:
    """A value for every member of an error."""
    return {
        name: 418 if member.type_name == "integer" else f"the {name} of {shape.name}: \u00fc"
        for name, member in shape.members.items()
    }


def failure(status: int, code: str, body: object) -> bytes:
    """An error, with its code in a header, as everywhere in AWS, and a member that nobody models."""
    kind = f"{code}:http://internal.amazon.com/coral/com.amazon.sagemaker.runtime/"
    return http(status, {"x-amzn-ErrorType": kind, "Content-Type": "application/json"}, json.dumps(body).encode())


def exception(code: str, body: object) -> bytes:
    """An error inside of a stream."""
    headers = {":message-type": "exception", ":exception-type": code, ":content-type": "application/json"}
    return frame(headers, json.dumps(body).encode())


def stream(body: bytes, **headers: str) -> bytes:
    """The answer of a stream that has begun well."""
    return http(200, {"Content-Type": "application/vnd.amazon.eventstream", **headers}, body)


def answering(*answers: bytes) -> Script:
    """A SageMaker that gives these answers to one call after the other on a connection, the last of them for ever."""

    async def answer(peer: Peer) -> None:
        for each in answers[:-1]:
            await peer.answer(each)
        while True:
            await peer.answer(answers[-1])

    return answer
