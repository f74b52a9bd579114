"""Calls that ask for little, and who takes their answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.budget import Budget
from gateway.models import Answer, Call
from gateway.upstream import Upstream, open_upstream
from gateway.upstream.connection import Connection

LIMIT = 64 * 1024


def call_to(url: str, body: bytes = b"{}", timeout_seconds: float = 10) -> Call:
    """A call with plenty of time."""
    return Call(
        url=f"{url}/endpoints/m/invocations",
        headers=(("Host", "models.example"),),
        body=body,
        response_headers=frozenset({"content-type"}),
        max_response_bytes=LIMIT,
        connect_attempts=1,
        connect_seconds=5,
        timeout_seconds=timeout_seconds,
    )


@asynccontextmanager
async def opened() -> AsyncIterator[Upstream]:
    """The pool."""
    async with open_upstream("test", Budget()) as upstream:
        yield upstream


def connections(upstream: Upstream) -> list[Connection]:
    """All that are open, whether they carry a call or not."""
    return [connection for pool in upstream._pools.values() for connection in pool._open]


class Collector:
    """Takes an answer in parts, each when the gate is open."""

    def __init__(self, *, is_sound: bool = True) -> None:
        self.head: Answer | None = None
        self.parts: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self._is_sound = is_sound

    @property
    def body(self) -> bytes:
        """All that has come."""
        return b"".join(self.parts)

    def begin(self, head: Answer) -> None:
        """Status and headers."""
        self.head = head

    async def put(self, part: bytes) -> None:
        """A part."""
        if self.error is not None:
            raise self.error
        self.parts.append(part)
        await self.gate.wait()

    def sound(self) -> bool:
        """The end."""
        return self._is_sound
