"""Callers in a closed loop: each sends its next request when its last answer is whole, and right."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import cast

from .wire import Reader

SECONDS = 180
"""A round that takes longer is no figure."""

NUMBER_BYTES = 16
"""Every body begins with a number of so many digits."""


class WrongAnswer(Exception):  # noqa: N818 - what it is, in a report
    """An answer that is not the one that was asked for; a fast error is no figure."""


def head_of(path: str, body_bytes: int) -> bytes:
    """Request line and headers."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: gateway\r\nAccept: */*\r\nUser-Agent: bench\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {body_bytes}\r\n\r\n"
    ).encode()


def number_of(number: int) -> bytes:
    """What a body begins with, so that no two are alike."""
    return b"%016d" % number


class Callers:
    """Some connections to one server, all of them busy until a number of requests is served.

    Args:
        path: where requests go.
        body_bytes: the length of each request's body, at least 16.
    """

    def __init__(self, path: str, body_bytes: int) -> None:
        self.head = head_of(path, body_bytes)
        self._rest = b"x" * (body_bytes - NUMBER_BYTES)
        self.connections: list[Caller] = []
        self._to_send = 0
        self._to_come = 0
        self._number = 0
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, port: int, connections: int) -> None:
        """Have so many connections more."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: Caller(self), "127.0.0.1", port)

    async def run(self, requests: int, *, first: int = 0) -> float:
        """Have so many requests served, and say how many seconds that took.

        Args:
            requests: how many.
            first: the number of the connection that begins; those before it have none.

        Raises:
            WrongAnswer: one of them was not.
            TimeoutError: they took too long.
        """
        self._over = asyncio.get_running_loop().create_future()
        self._to_send = self._to_come = requests
        started = perf_counter()
        for connection in self.connections[first:]:
            connection.proceed()
        async with asyncio.timeout(SECONDS):
            await self._over
        return perf_counter() - started

    def next_body(self) -> bytes | None:
        """A body unlike any before, so that no two answers can be mistaken; None when enough are on their way."""
        if not self._to_send:
            return None
        self._to_send -= 1
        self._number += 1
        return number_of(self._number) + self._rest

    def served(self) -> None:
        """Count one right answer."""
        self._to_come -= 1
        if not self._to_come and not self._over.done():
            self._over.set_result(None)

    def fail(self, reason: str) -> None:
        """End the round."""
        self._to_send = 0
        if not self._over.done():
            self._over.set_exception(WrongAnswer(reason))


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._transport: asyncio.Transport | None = None
        self._reader = Reader()
        self._sent = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the others."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from asyncio's
        self._callers.connections.append(self)

    def proceed(self) -> None:
        """Send the next request, if there is one to send."""
        body = self._callers.next_body()
        if body is not None and self._transport is not None:
            self._sent = body
            self._transport.write(self._callers.head + body)

    def data_received(self, data: bytes) -> None:
        """Judge the answer once it is complete."""
        try:
            message = self._reader.feed(data)
        except ValueError as error:
            self._callers.fail(str(error))
            return
        if message is None:
            return
        head, body = message
        if not head.startswith(b"HTTP/1.1 200 ") or body != self._sent:
            self._callers.fail(f"not the answer to {self._sent[:NUMBER_BYTES]!r}: {head!r} {body[:500]!r}")
            return
        self._sent = b""
        self._callers.served()
        self.proceed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody may leave with a request unanswered."""
        if self._sent:
            self._callers.fail(f"the connection was lost under a request: {exc!r}")

    def hang_up(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def open_callers(port: int, path: str, *, body_bytes: int, connections: int) -> AsyncIterator[Callers]:
    """Callers with open connections to 127.0.0.1; closed on the way out."""
    callers = Callers(path, body_bytes)
    try:
        await callers.open(port, connections)
        yield callers
    finally:
        for connection in callers.connections:
            connection.hang_up()
