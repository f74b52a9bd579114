"""Sends calls: on an idle connection or a new one, once, and within their time.

The request is written by hand and its answer read by llhttp, on purpose: only so is it known whether a byte of it has
left, and a client library costs several times as much (`make bench`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import random
from time import perf_counter
from typing import Protocol

from yarl import URL

from gateway.deadlines import Deadlines
from gateway.errors import BROKEN, TIMEOUT, UNREACHABLE, Refusal
from gateway.models import Answer, Call
from gateway.upstream.connection import Connection, UnsentError
from gateway.upstream.opening import Opener, Origin
from gateway.upstream.outbox import Outbox
from gateway.upstream.pool import Pool
from gateway.upstream.reading import WireError

RETRY_SECONDS = 0.05
"""How long it is waited before a second attempt to connect, at most: by chance, so that callers do not come in step."""


@dataclass(frozen=True, slots=True)
class _Destination:
    """What never changes about one URL: the pool of its connections, and how its requests begin."""

    pool: Pool
    head: str


class Sink(Protocol):
    """Takes an answer in parts, as it comes."""

    def begin(self, head: Answer) -> None:
        """Status and headers are there."""

    async def put(self, part: bytes) -> None:
        """So is a part of the body; while this waits, no more is read than fills a buffer."""

    def sound(self) -> bool:
        """All of it is there: whether it is what it should be. If not, its connection carries no other call."""


class Retries(Protocol):
    """How often may be tried again."""

    def earn(self) -> None:
        """Say that a call is made."""

    def spend(self) -> bool:
        """Take one retry; False if there is none left."""


def _nothing(*_: object) -> None:
    """Nobody wants to know."""


class Upstream:
    """Sends calls over pooled connections.

    Args:
        opener: opens them.
        user_agent: who the gateway says it is.
        retries: how often a connection may be tried for again.
    """

    def __init__(self, opener: Opener, user_agent: str, retries: Retries) -> None:
        self._opener = opener
        self._user_agent = user_agent
        self._destinations: dict[str, _Destination] = {}
        self._pools: dict[Origin, Pool] = {}
        self._retries = retries
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop)
        self._outbox = Outbox(self._loop)

    async def send(
        self,
        call: Call,
        sink: Sink | None = None,
        *,
        connected: Callable[[], None] = _nothing,
        answered: Callable[[int], None] = _nothing,
    ) -> Answer:
        """Send the call once and read its answer to the end.

        Args:
            call: the call.
            sink: takes the body of a 200 as it comes; the answer that is returned at the end has none then.
            connected: called before the first byte goes out, on each connection that is tried.
            answered: where there is no sink, told the status of the answer as soon as its last byte is read, which is
                before whoever waits for it goes on.

        Raises:
            Refusal: `unreachable` where no byte of it left, so that no model can have seen it; else `timeout` or
                `broken`: it may have run.
        """
        destination = self._destinations.get(call.url) or self._add_destination(call.url)
        pool = destination.pool
        self._retries.earn()
        started = perf_counter()
        deadline = self._loop.time() + call.timeout_seconds
        head = _head(destination.head, call)
        outbox = None if call.urgent else self._outbox
        while True:
            connection = pool.take() or await self._open(pool, call, deadline)
            sound = sink is None
            try:
                connected()
                if sink is None:
                    ended = connection.begin(head, call, by_parts=False, outbox=outbox, answered=answered)
                    return await self._exchange(connection, ended, started, deadline)
                async with asyncio.timeout_at(deadline):
                    answer = await _pour(connection, head, call, started, sink)
                sound = sink.sound()
                return answer
            except UnsentError:
                outbox = None  # its connection was closed while it waited for others: the next one sends it at once
            except (WireError, TimeoutError) as error:
                raise _lost(error, call) from error
            finally:
                if sound:
                    pool.give_back(connection)
                else:
                    connection.abort()

    async def close(self) -> None:
        """Close all connections."""
        self._deadlines.close()
        for pool in self._pools.values():
            await pool.close()
        await self._opener.close()

    async def _exchange(
        self, connection: Connection, ended: asyncio.Future[None], started: float, deadline: float
    ) -> Answer:
        self._deadlines.set(connection, deadline)
        try:
            await ended
        finally:
            self._deadlines.lift(connection)
        return connection.answer(started)

    async def _open(self, pool: Pool, call: Call, deadline: float) -> Connection:
        """A new connection; where there is none it may be tried again, since no model saw the call."""
        for attempts_left in reversed(range(call.connect_attempts)):
            try:
                async with asyncio.timeout_at(min(deadline, self._loop.time() + call.connect_seconds)):
                    return await pool.open()
            except (OSError, UnicodeError) as error:  # the latter: a name that no name can be
                if not attempts_left or self._loop.time() >= deadline or not self._retries.spend():
                    raise _unreachable(error) from error
            await asyncio.sleep(RETRY_SECONDS * random())  # noqa: S311 - spreads retries, guards nothing
        raise AssertionError("unreachable")

    def _add_destination(self, url: str) -> _Destination:
        target = URL(url, encoded=True)
        if target.raw_host is None or target.port is None:
            raise ValueError(f"not a URL of HTTP: {url}")
        origin = Origin(target.raw_host, target.port, target.scheme == "https")
        pool = self._pools.get(origin)
        if pool is None:
            self._pools[origin] = pool = Pool(self._opener, origin)
        head = f"POST {target.raw_path_qs} HTTP/1.1\r\nUser-Agent: {self._user_agent}"
        destination = self._destinations[url] = _Destination(pool, head)
        return destination


def _head(beginning: str, call: Call) -> bytes:
    last = f"Content-Length: {len(call.body)}\r\n\r\n"
    return "\r\n".join((beginning, *map(": ".join, call.headers), last)).encode("ascii")


async def _pour(connection: Connection, head: bytes, call: Call, started: float, sink: Sink) -> Answer:
    """The answer, in parts where it is a 200."""
    connection.begin(head, call, by_parts=True)
    parted = await connection.head()
    answer = connection.answer(started)
    if parted:
        sink.begin(answer)
        while part := await connection.read():
            await sink.put(part)
    return answer


def _unreachable(error: Exception) -> Refusal:
    reason = "the connection timed out" if isinstance(error, TimeoutError) else type(error).__name__
    return Refusal(UNREACHABLE, f"SageMaker could not be reached ({reason}). The call was not sent.")


def _lost(error: WireError | TimeoutError, call: Call) -> Refusal:
    if isinstance(error, TimeoutError):
        return Refusal(
            TIMEOUT,
            f"SageMaker gave no whole answer within {call.timeout_seconds:g} s. The model may have run, "
            "and may still run: the call was not sent again.",
        )
    return Refusal(
        BROKEN,
        f"The connection to SageMaker broke before its answer was whole ({error}). "
        "The model may have run: the call was not sent again.",
    )
