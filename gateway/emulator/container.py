"""The platform's side of the container contract: is it up, and what does it say to an invocation.

Contract: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.emulator.outcome import SUCCESS, Answer, Failure, Invocation, Outcome
from gateway.emulator.post import Post, Reply, Target

PING_SECONDS = 2.0
"""How long an answer to /ping may take (AWS: 2 seconds)."""

AUTOMATIC_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What aiohttp would add by itself; a container gets only what the caller sent."""

BROKEN = (aiohttp.ClientError, HttpProcessingError, OSError)
"""How a connection fails."""


class Sink(Protocol):
    """Where a streamed answer goes."""

    def begin(self, headers: CIMultiDictProxy[str]) -> None:
        """The container has said yes."""

    async def put(self, chunk: bytes) -> None:
        """Take a chunk, and return when there is room for another."""


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
    """A server of the container contract at a base URL; its answers may have `max_body_bytes`."""

    def __init__(self, session: aiohttp.ClientSession, base: URL, *, max_body_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self._session = session
        self._ping = base / "ping"
        self._invocations = Target(session, base / "invocations", skip=AUTOMATIC_HEADERS)

    async def ping(self) -> str | None:
        """None when it is up, or else what it did instead of answering 200."""
        try:
            async with asyncio.timeout(PING_SECONDS), self._session.get(self._ping) as response:
                return None if response.status == 200 else f"answered {response.status}"  # noqa: PLR2004 (HTTP OK)
        except TimeoutError:
            return f"did not answer within {PING_SECONDS:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"could not be reached: {error}"

    def start(self, invocation: Invocation, done: Callable[[Outcome], None]) -> bool:  # noqa: ARG002 (for others)
        """Send a call now, and have its outcome told later, where that can be; else False: it is to be invoked."""
        return False

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Send a call once, and read the whole answer."""
        try:
            async with Post(self._invocations, invocation.headers, invocation.body) as reply:
                return await self._answer(reply)
        except BROKEN:
            return Failure.LOST

    async def stream(self, invocation: Invocation, sink: Sink) -> Outcome:
        """Send a call once, and pass the chunks of the answer on as they come; an answer that says no is read whole."""
        try:
            async with Post(self._invocations, invocation.headers, invocation.body) as reply:
                if reply.status not in SUCCESS:
                    return await self._answer(reply)
                sink.begin(reply.headers)
                return await _pour(reply, sink)
        except BROKEN:
            return Failure.LOST

    def request(self, invocation: Invocation) -> bytes:
        """A call as it stands on the wire."""
        return self._invocations.head_of(invocation.headers, invocation.body) + invocation.body

    def close(self) -> None:
        """Close connections that are its own."""

    async def _answer(self, reply: Reply) -> Outcome:
        chunks, size = [], 0
        try:
            while chunk := await reply.content.readany():
                size += len(chunk)
                if size > self.max_body_bytes:
                    return Failure.CUT
                chunks.append(chunk)
        except BROKEN:
            return Failure.CUT
        return Answer(reply.status, reply.headers, chunks[0] if len(chunks) == 1 else b"".join(chunks))


async def _pour(reply: Reply, sink: Sink) -> Outcome:
    try:
        async for chunk, _ in reply.content.iter_chunks():
            if chunk:
                await sink.put(chunk)
    except BROKEN:
        return Failure.CUT
    return Answer(reply.status, reply.headers, b"")
