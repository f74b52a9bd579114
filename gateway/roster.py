"""Who is here: requests being read, turns in queues, running calls; so that the gateway can end in order."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

from gateway.deadlines import Deadlines
from gateway.errors import Refusal, leaving


class Refusable(Protocol):
    """A turn in a queue."""

    def refuse(self, refusal: Refusal) -> None:
        """Leave the queue, refused."""


class Roster:
    """Everybody who has to be waited for, or told, before the process may end.

    Attributes:
        draining: whether new requests are refused because the gateway is going away.
        stopped: whether everybody was cut off: nothing may be dispatched any more.
        patience: until when turns wait.
    """

    def __init__(self) -> None:
        self.draining = False
        self.stopped = False
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.readers: set[asyncio.Task[Any]] = set()
        self.turns: set[Refusable] = set()
        self.patience = Deadlines(asyncio.get_running_loop())
        self.calls: set[asyncio.Task[Any]] = set()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Note a request while its body is read."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is read by a task")
        self.readers.add(task)
        try:
            yield
        finally:
            self.readers.discard(task)

    def enter(self) -> None:
        """Count a request in."""
        self._open += 1
        self._idle.clear()

    def leave(self) -> None:
        """Count a request out, once it and its call are over."""
        self._open -= 1
        if not self._open:
            self._idle.set()

    def start(self, call: asyncio.Task[Any]) -> None:
        """Note a call until it is done."""
        self.calls.add(call)
        call.add_done_callback(self.calls.discard)

    def drain(self) -> None:
        """Take no more requests; those that wait or run go on."""
        self.draining = True

    async def wait_idle(self) -> None:
        """Wait until no request is open, orphans included."""
        await self._idle.wait()

    def cut_off(self) -> tuple[int, int]:
        """Refuse who still sends or waits, give up what still runs; how many that were not sent, and how many were."""
        self.draining = self.stopped = True
        waiting, running = len(self.readers) + len(self.turns), len(self.calls)
        for reader in tuple(self.readers):
            reader.cancel()
        for turn in tuple(self.turns):
            turn.refuse(leaving())
        for call in tuple(self.calls):
            call.cancel()
        return waiting, running


@asynccontextmanager
async def open_roster() -> AsyncIterator[Roster]:
    """A roster; at the end it leaves no timer behind."""
    roster = Roster()
    try:
        yield roster
    finally:
        roster.patience.close()
