"""The connections to one origin: opened where none is idle, kept for a while, dropped as soon as they are over."""

import asyncio
from contextlib import suppress

from gateway.upstream.connection import Connection
from gateway.upstream.opening import Opener, Origin

KEEPALIVE_SECONDS = 15.0
"""Idle connections are dropped well before SageMaker drops them (at 60 s): one that dies under a request is a 424."""

CLOSE_SECONDS = 2.0
"""How long it is waited for connections to be closed at the end. The process ends in any case."""


class Pool:
    """Hands out connections.

    It is not bounded: permits bound the calls, and a bound here would be a second queue that nobody sees.

    Args:
        opener: makes them.
        origin: where they go.
    """

    def __init__(self, opener: Opener, origin: Origin) -> None:
        self._opener = opener
        self._origin = origin
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        self._idle: dict[Connection, float] = {}  # since when; the one that was given back last is the last
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def take(self) -> Connection | None:
        """An idle connection, the one that was used last; None where there is none."""
        while self._idle:
            connection, since = self._idle.popitem()
            if connection.usable and self._loop.time() < since + KEEPALIVE_SECONDS:
                return connection
            connection.abort()  # the sweeper comes late where the process was halted
        return None

    async def open(self) -> Connection:
        """A new connection.

        Raises:
            OSError: there is none.
        """
        connection = await self._opener.open(self._origin, self)
        if self._closed or not connection.usable:
            connection.abort()  # it spoke before it was spoken to, or has ended
            raise ConnectionResetError
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection after its call, if it can be used again."""
        if self._closed or not connection.reusable:
            connection.abort()
            return
        now = self._loop.time()
        self._idle[connection] = now
        if self._sweeper is None:
            self._arm(now + KEEPALIVE_SECONDS)

    async def close(self) -> None:
        """Close all connections, and wait until they are, for a while."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in tuple(self._open):
            connection.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._empty.wait()

    def opened(self, connection: Connection) -> None:
        """Note that a connection is open."""
        self._open.add(connection)
        self._empty.clear()

    def lost(self, connection: Connection) -> None:
        """Note that a connection is closed."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        if not self._open:
            self._empty.set()

    def _arm(self, due: float) -> None:
        self._sweeper = self._loop.call_at(due, self._sweep, due)

    def _sweep(self, due: float) -> None:
        """Drop what was idle for too long, and come again when the next one will have been."""
        now, self._sweeper = max(self._loop.time(), due), None  # uvloop's timers come up to a millisecond early
        for connection, since in tuple(self._idle.items()):
            if now < since + KEEPALIVE_SECONDS:
                self._arm(since + KEEPALIVE_SECONDS)
                return
            del self._idle[connection]
            connection.abort()
