"""One notion of a client for boto3 and aiobotocore, each as it comes: no setting is touched, retries least of all."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from typing import Any, Protocol

import boto3
from aiobotocore.session import get_session
from botocore import xform_name
from botocore.response import StreamingBody

from tests.stand import REGION

CALLER_KEY = "AKIACALLER"
CALLER_SECRET = "caller-secret"
CALLER_TOKEN = "caller-token"
KEYS = {
    "aws_access_key_id": CALLER_KEY,
    "aws_secret_access_key": CALLER_SECRET,
    "aws_session_token": CALLER_TOKEN,
    "region_name": REGION,
}
"""The caller's own, which are not the gateway's."""


class Sdk(Protocol):
    """A client of SageMaker Runtime.

    Attributes:
        exceptions: its exception classes, by error code.
        received: what bodies have brought so far, also that of a call that failed in the middle.
    """

    exceptions: Any
    received: list[bytes]

    async def invoke(self, operation: str, **members: Any) -> dict[str, Any]:
        """Run an operation of the API, read its body to the end, and return all other members of the reply."""


OpenSdk = Callable[[str], AbstractAsyncContextManager[Sdk]]
"""Opens a client of a gateway, by its URL."""


class _Boto3:
    """The synchronous one, in a thread."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.exceptions = client.exceptions
        self.received: list[bytes] = []

    async def invoke(self, operation: str, **members: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self._invoke, getattr(self._client, xform_name(operation)), members)

    def _invoke(self, method: Callable[..., dict[str, Any]], members: dict[str, Any]) -> dict[str, Any]:
        reply = method(**members)
        body = reply.pop("Body", None)
        if body is not None:
            with closing(body):
                if isinstance(body, StreamingBody):
                    self.received.append(body.read())
                else:
                    for event in body:
                        self.received.append(event["PayloadPart"]["Bytes"])
        return reply


class _Aiobotocore:
    """The asynchronous one."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.exceptions = client.exceptions
        self.received: list[bytes] = []

    async def invoke(self, operation: str, **members: Any) -> dict[str, Any]:
        reply: dict[str, Any] = await getattr(self._client, xform_name(operation))(**members)
        body = reply.pop("Body", None)
        if body is not None:
            with closing(body):
                if isinstance(body, StreamingBody):
                    self.received.append(await body.read())
                else:
                    async for event in body:
                        self.received.append(event["PayloadPart"]["Bytes"])
        return reply


@functools.cache
def _sessions() -> tuple[Any, Any]:
    """One of each for all tests: they read the service models only once."""
    return boto3.Session(), get_session()


@asynccontextmanager
async def open_boto3(url: str) -> AsyncIterator[Sdk]:
    """A client of boto3."""
    session, _ = _sessions()
    with closing(session.client("sagemaker-runtime", endpoint_url=url, **KEYS)) as client:
        yield _Boto3(client)


@asynccontextmanager
async def open_aiobotocore(url: str) -> AsyncIterator[Sdk]:
    """A client of aiobotocore."""
    _, session = _sessions()
    async with session.create_client("sagemaker-runtime", endpoint_url=url, **KEYS) as client:
        yield _Aiobotocore(client)


SDKS: Mapping[str, OpenSdk] = {"boto3": open_boto3, "aiobotocore": open_aiobotocore}
"""Each by its name."""
