"""The platform's side of the container contract: is it up, and what does it say to an invocation.

Contract: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html.
"""

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

PING_SECONDS = 2.0
"""How long an answer to /ping may take (AWS: 2 seconds)."""

COPY_BYTES = 1_048_576
"""Bodies up to this are written in one go; larger ones piece by piece, so that the loop is not held up."""

AUTOMATIC_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What aiohttp would add by itself; a container gets only what the caller sent."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a container is sent: the headers of the caller that are forwarded, and the body as it came."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a container said, any status."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Failure(Enum):
    """Why there is no answer of the container."""

    LOST = "the connection failed before the answer began"
    CUT = "the answer ended early or was too large"
    TIMED_OUT = "the time limit passed"


def open_session() -> aiohttp.ClientSession:
    """The connections to all instances: pooled without a limit, and without a time limit of their own."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=AUTOMATIC_HEADERS,
        auto_decompress=False,
    )


class Container:
    """A server of the container contract at a base URL."""

    def __init__(self, session: aiohttp.ClientSession, base: URL, *, max_body_bytes: int) -> None:
        self._session = session
        self._ping = base / "ping"
        self._invocations = base / "invocations"
        self._max_body_bytes = max_body_bytes

    async def ping(self) -> str | None:
        """None when it is up, or else what it did instead of answering 200."""
        try:
            async with asyncio.timeout(PING_SECONDS), self._session.get(self._ping) as response:
                return None if response.status == 200 else f"answered {response.status}"  # noqa: PLR2004 (HTTP OK)
        except TimeoutError:
            return f"did not answer within {PING_SECONDS:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"could not be reached: {error}"

    async def invoke(self, invocation: Invocation) -> Answer | Failure:
        """Send a call once, and read the whole answer."""
        body = invocation.body
        data = io.BytesIO(body) if len(body) > COPY_BYTES else body
        try:
            async with self._session.post(
                self._invocations, data=data, headers=invocation.headers, allow_redirects=False
            ) as response:
                return await self._answer(response)
        except (aiohttp.ClientError, OSError):
            return Failure.LOST

    async def _answer(self, response: aiohttp.ClientResponse) -> Answer | Failure:
        body = bytearray()
        try:
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > self._max_body_bytes:
                    response.close()
                    return Failure.CUT
        except (aiohttp.ClientError, OSError):
            return Failure.CUT
        return Answer(response.status, response.headers, bytes(body))
