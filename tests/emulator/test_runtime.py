"""InvokeEndpoint through real SDKs: what passes, what is stripped, and errors as the SDK's own exceptions."""

import asyncio
import hashlib
import io
import os
from typing import Any

import pytest
from aiohttp import web

from gateway.emulator import Emulator

from .container import Recorder
from .support import FAST, http, invoke, plain_sdk, sdk, settings, unsigned


async def test_25_mebibytes_of_binary_pass_unchanged() -> None:
    """A body of the full size comes back with the same SHA-256, signature checked, and one byte more is a 413."""
    body = os.urandom(26_214_400)
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        answer = await invoke(client, "echo", io.BytesIO(body), ContentType="application/octet-stream")
        assert hashlib.sha256(answer).digest() == hashlib.sha256(body).digest()
        with pytest.raises(
            client.exceptions.ClientError, match="HTTP content length exceeded 26214400 bytes"
        ) as caught:
            await invoke(client, "echo", io.BytesIO(body + b"x"))
    assert caught.value.response["Error"]["Code"] == "413"


async def test_a_chunked_body_is_bounded_as_it_comes() -> None:
    """Without a Content-Length a body passes whole, or is refused when it passes the limit; the reply is plain text."""

    async def parts(count: int) -> Any:
        for _ in range(count):
            yield b"0123456789"

    async with Emulator(unsigned(echo={"max_body_bytes": 30, **FAST})) as emulator, http() as session:
        url = f"{emulator.url}/endpoints/echo/invocations"
        async with session.post(url, data=parts(3)) as reply:
            assert await reply.read() == b"0123456789" * 3
        async with session.post(url, data=parts(4)) as reply:
            assert (reply.status, reply.content_type) == (413, "text/plain")
            assert await reply.text() == "HTTP content length exceeded 30 bytes."
            assert "x-amzn-RequestId" in reply.headers
            assert "x-amzn-ErrorType" not in reply.headers


async def test_only_the_headers_of_the_api_reach_the_container() -> None:
    """What InvokeEndpoint models is forwarded as it came, all else is stripped; nothing is added of the emulator's."""
    async with (
        Recorder(lambda: web.Response(body=b"ok")) as container,
        Emulator(settings({"seed": {"url": container.url}})) as emulator,
        sdk(emulator) as client,
    ):
        await invoke(
            client, "seed", b"\xff\x00", Accept="a/b", ContentType="c/d", InferenceId="i", SessionId="NEW_SESSION"
        )
        await invoke(client, "seed", b"", CustomAttributes="x=1", TargetVariant="AllTraffic")
    names = [{name.lower() for name in seen} - {"host", "content-length", "body"} for seen in container.seen]
    assert names[0] == {"accept", "content-type", "x-amzn-sagemaker-inference-id", "x-amzn-sagemaker-session-id"}
    assert names[1] == {"accept", "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-target-variant"}
    assert (container.seen[0]["body"], container.seen[0]["Content-Type"]) == ("\xff\x00", "c/d")


async def test_only_the_headers_of_the_api_reach_the_caller() -> None:
    """Of the container's headers the caller gets content type, custom attributes and sessions; and the variant."""
    headers = {
        "Content-Type": "text/x; charset=utf-8",
        "X-Amzn-SageMaker-Custom-Attributes": "a=b",
        "X-Amzn-SageMaker-New-Session-Id": "one; Expires=2026-01-31T00:00:00Z",
        "X-Amzn-SageMaker-Closed-Session-Id": "two",
        "Content-Encoding": "gzip",
        "X-Secret": "1",
    }
    async with (
        Recorder(lambda: web.Response(body=b"not gzip", headers=headers)) as container,
        Emulator(settings({"seed": {"url": container.url}})) as emulator,
        sdk(emulator) as client,
    ):
        reply = await client.invoke_endpoint(EndpointName="seed", Body=b"")
        async with reply["Body"] as stream:
            assert await stream.read() == b"not gzip"
    assert (reply["ContentType"], reply["CustomAttributes"]) == ("text/x; charset=utf-8", "a=b")
    assert (reply["NewSessionId"], reply["ClosedSessionId"]) == ("one; Expires=2026-01-31T00:00:00Z", "two")
    assert reply["InvokedProductionVariant"] == "AllTraffic"
    assert not {"x-secret", "content-encoding"} & reply["ResponseMetadata"]["HTTPHeaders"].keys()
    assert len(reply["ResponseMetadata"]["RequestId"]) == 36


@pytest.mark.parametrize(("status", "who"), [(400, "client"), (503, "server")])
async def test_a_container_that_says_no_is_a_model_error(status: int, who: str) -> None:
    """4xx and 5xx of the container are 424 ModelError with its status, its body, and where its log is."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        with pytest.raises(client.exceptions.ModelError) as caught:
            await invoke(client, "echo", "n\u00f6".encode(), CustomAttributes=f"status={status}")
        assert emulator.counters("echo").model_errors == 1
    reply = caught.value.response
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (reply["OriginalStatusCode"], reply["OriginalMessage"]) == (status, "n\u00f6")
    assert reply["LogStreamArn"] == "arn:aws:logs:ap-northeast-1:123456789012:log-group:/aws/sagemaker/Endpoints/echo"
    assert reply["Message"] == (
        f'Received {who} error ({status}) from primary with message "n\u00f6". See '
        "https://ap-northeast-1.console.aws.amazon.com/cloudwatch/home?region=ap-northeast-1#logEventViewer:"
        "group=/aws/sagemaker/Endpoints/echo in account 123456789012 for more information."
    )


@pytest.mark.parametrize(("status", "code"), [(400, "CLIENT_ERROR_FROM_MODEL"), (503, "INTERNAL_FAILURE_FROM_MODEL")])
async def test_the_wire_of_a_model_error(status: int, code: str) -> None:
    """The body has the keys of real replies in their order, and the type is in the header, with its namespace."""
    headers = {"X-Amzn-SageMaker-Custom-Attributes": f"status={status}"}
    async with (
        Emulator(unsigned(echo=FAST)) as emulator,
        http() as session,
        session.post(f"{emulator.url}/endpoints/echo/invocations", data=b"no", headers=headers) as reply,
    ):
        assert (reply.status, reply.content_type) == (424, "application/json")
        assert reply.headers["x-amzn-ErrorType"].startswith("ModelError:http://")
        body = await reply.json()
    assert list(body) == ["ErrorCode", "LogStreamArn", "Message", "OriginalMessage", "OriginalStatusCode"]
    assert body["ErrorCode"] == code


async def test_a_lost_container_is_a_model_error_0_and_is_asked_once() -> None:
    """A connection that breaks before the answer is 424 with status 0; the call is not sent again."""
    async with Recorder(None) as container:
        async with Emulator(settings({"seed": {"url": container.url}})) as emulator, sdk(emulator) as client:
            with pytest.raises(client.exceptions.ModelError, match="could not get a response from the seed") as caught:
                await invoke(client, "seed")
            assert emulator.counters("seed").model_errors == 1
        assert len(container.seen) == 1
    assert caught.value.response["OriginalStatusCode"] == 0


async def test_an_answer_over_the_limit_cannot_be_loaded() -> None:
    """An answer larger than the limit is 424, and says that the body could not be loaded."""
    async with Emulator(settings({"echo": {"max_body_bytes": 1000, **FAST}})) as emulator, sdk(emulator) as client:
        with pytest.raises(client.exceptions.ModelError, match="could not load the entire response body") as caught:
            await invoke(client, "echo", CustomAttributes="bytes=1001")
        assert len(await invoke(client, "echo", CustomAttributes="bytes=1000")) == 1000
    assert caught.value.response["OriginalStatusCode"] == 500


async def test_errors_are_boto3_s_own_exceptions() -> None:
    """The synchronous SDK raises its modelled exceptions, and reads answers like AWS's."""

    def talk(client: Any) -> bytes:
        with pytest.raises(client.exceptions.ValidationError) as caught:
            client.invoke_endpoint(EndpointName="nobody", Body=b"")
        message = "Endpoint nobody of account 123456789012 not found."
        assert caught.value.response["Error"] == {"Code": "ValidationError", "Message": message}
        with pytest.raises(client.exceptions.ModelError):
            client.invoke_endpoint(EndpointName="echo", Body=b"", CustomAttributes="status=500")
        body: bytes = client.invoke_endpoint(EndpointName="echo", Body=b"hello")["Body"].read()
        client.close()
        return body

    async with Emulator(settings({"echo": FAST})) as emulator:
        assert await asyncio.to_thread(talk, plain_sdk(emulator)) == b"hello"


async def test_an_unprintable_header_is_a_validation_error() -> None:
    """Forwarded headers are visible US-ASCII of at most 1,024 characters; others never reach a container."""
    async with Emulator(unsigned(echo=FAST)) as emulator, http() as session:
        for value in ("x" * 1025, "\u00e9"):
            headers = {"X-Amzn-SageMaker-Custom-Attributes": value}
            async with session.post(f"{emulator.url}/endpoints/echo/invocations", data=b"", headers=headers) as reply:
                assert reply.status == 400
                assert reply.headers["x-amzn-ErrorType"].startswith("ValidationError:")
        assert emulator.counters("echo").calls == 0
