"""Callers of streamed answers: each reads its answer as it comes, knows what it has to be, and asks for the next."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from time import perf_counter
from typing import cast

from .load import SECONDS, WrongAnswer
from .parts import Wish
from .wire import Chunks

_FRAMES = b"application/vnd.amazon.eventstream"


class StreamCallers:
    """Some connections to one server, each with one stream at a time.

    Args:
        path: where requests go.
        parts: how many each answer has.
        between: milliseconds from one part to the next; 0 is as fast as they are taken.
    """

    def __init__(self, path: str, *, parts: int, between: int) -> None:
        self._path = path
        self._parts = parts
        self._between = between
        self._numbers = count(1)
        self.connections: list[StreamCaller] = []
        self.first_parts: list[float] = []
        """Seconds from each request to the first part of its answer."""

    async def run(self, streams: int, *, stagger: float = 0.0) -> float:
        """Have each connection read so many answers, one after the other, and say how many seconds that took.

        Args:
            streams: how many for each connection.
            stagger: seconds between the beginnings of the connections.

        Raises:
            WrongAnswer: one of them was not right.
            TimeoutError: they took too long.
        """
        self.first_parts = []
        began = perf_counter()
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(
                *(caller.read(streams, after=at * stagger) for at, caller in enumerate(self.connections))
            )
        return perf_counter() - began

    def next(self) -> tuple[bytes, Wish]:
        """A request unlike any before, and what it asks for."""
        wish = Wish(next(self._numbers), self._parts, self._between)
        body = wish.body()
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: gateway\r\nAccept: {_FRAMES.decode()}\r\nUser-Agent: bench\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body, wish


class StreamCaller(asyncio.Protocol):
    """One connection."""

    def __init__(self, callers: StreamCallers) -> None:
        self._callers = callers
        self._transport: asyncio.Transport | None = None
        self._chunks = Chunks()
        self._content: list[bytes] = []
        self._began = 0.0
        self._over: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the others."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from asyncio's
        self._callers.connections.append(self)

    async def read(self, streams: int, *, after: float) -> None:
        """Ask for one answer after the other, and check each."""
        await asyncio.sleep(after)
        for _ in range(streams):
            request, wish = self._callers.next()
            self._chunks, self._content = Chunks(), []
            self._over = asyncio.get_running_loop().create_future()
            if self._transport is None or self._transport.is_closing():
                raise WrongAnswer("the connection was closed between two streams")
            self._began = perf_counter()
            self._transport.write(request)
            content = await self._over
            expected = wish.frames() if _FRAMES in (self._chunks.head or b"").lower() else wish.payloads()
            if content != b"".join(expected):
                raise WrongAnswer(f"not the stream that was asked for: {content[:500]!r}")

    def data_received(self, data: bytes) -> None:
        """Keep what comes."""
        if self._over is None or self._over.done():
            return
        try:
            content = self._chunks.feed(data)
        except ValueError as error:
            self._over.set_exception(WrongAnswer(str(error)))
            return
        if content:
            if not self._content:
                self._callers.first_parts.append(perf_counter() - self._began)
            self._content.append(content)
        if self._chunks.over:
            self._over.set_result(b"".join(self._content))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody may leave in the middle of a stream."""
        if self._over is not None and not self._over.done():
            self._over.set_exception(WrongAnswer(f"the connection was lost in the middle of a stream: {exc!r}"))

    def hang_up(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def open_stream_callers(
    port: int, path: str, *, parts: int, between: int, connections: int
) -> AsyncIterator[StreamCallers]:
    """Callers with open connections to 127.0.0.1; closed on the way out."""
    callers = StreamCallers(path, parts=parts, between=between)
    loop = asyncio.get_running_loop()
    try:
        for _ in range(connections):
            await loop.create_connection(lambda: StreamCaller(callers), "127.0.0.1", port)
        yield callers
    finally:
        for connection in callers.connections:
            connection.hang_up()
