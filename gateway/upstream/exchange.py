"""One call on one connection: its request goes out, its answer comes in, and the connection is free or over."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.models import Answer, Call
from gateway.upstream.connection import Connection
from gateway.upstream.deadlines import Deadlines
from gateway.upstream.outbox import Outbox
from gateway.upstream.pool import Pool


class Sink(Protocol):
    """Takes an answer in parts, as it comes."""

    def begin(self, head: Answer) -> None:
        """Status and headers are there."""

    async def put(self, part: bytes) -> None:
        """So is a part of the body; while this waits, no more is read than fills a buffer."""

    def sound(self) -> bool:
        """All of it is there: whether it is what it should be. If not, its connection carries no other call."""


class Exchange:
    """What one call does with a connection: it goes back to its pool after the answer, or is closed.

    Args:
        connection: which carries nothing else.
        pool: where it comes from.
        deadlines: knows what is late.
        started: when the call began, by `perf_counter`.
        answered: told of a whole answer as soon as it is there.
    """

    __slots__ = ("_answer", "_answered", "_connection", "_deadlines", "_given_back", "_pool", "_started")

    def __init__(
        self,
        connection: Connection,
        pool: Pool,
        deadlines: Deadlines,
        started: float,
        answered: Callable[[Answer], None],
    ) -> None:
        self._connection = connection
        self._pool = pool
        self._deadlines = deadlines
        self._started = started
        self._answered = answered
        self._answer: Answer | None = None
        self._given_back = False

    async def run(self, head: bytes, call: Call, deadline: float, outbox: Outbox | None) -> Answer:
        """Send a request, and wait for its whole answer.

        Args:
            head: line and headers of the request.
            call: the rest of it.
            deadline: when it is too late, in seconds of the loop.
            outbox: where the request waits for others, if it is small; None where it goes out at once.

        Raises:
            WireError: there is no answer.
            TimeoutError: there was none in time.
            UnsentError: the connection was over before the request could be sent.
        """
        connection = self._connection
        ended = connection.begin(head, call, by_parts=False, outbox=outbox, ended=self._end)
        self._deadlines.set(connection, deadline)
        await ended
        return self._answer or connection.answer(self._started)

    async def pour(self, head: bytes, call: Call, sink: Sink) -> Answer:
        """Send a request; its answer comes in parts where it is a 200.

        Args:
            head: line and headers of the request.
            call: the rest of it.
            sink: takes the parts.

        Returns:
            The answer: of one in parts, only its head.

        Raises:
            WireError: there is no answer, or none that is whole.
        """
        connection = self._connection
        connection.begin(head, call, by_parts=True)
        parted = await connection.head()
        answer = connection.answer(self._started)
        if parted:
            sink.begin(answer)
            while part := await connection.read():
                await sink.put(part)
        if sink.sound():
            self._given_back = True
            self._pool.give_back(connection)
        return answer

    def close(self) -> None:
        """Close the connection, unless it was given back."""
        if not self._given_back:
            self._deadlines.lift(self._connection)
            self._connection.abort()

    def _end(self) -> None:
        connection = self._connection
        self._answer = connection.answer(self._started)
        self._deadlines.lift(connection)
        # A turn later: if the other side closes with its answer, that is read by then, and no call is sent into it.
        self._given_back = True
        asyncio.get_running_loop().call_soon(self._pool.give_back, connection)
        self._answered(self._answer)
