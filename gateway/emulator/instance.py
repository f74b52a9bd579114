"""One instance: runs so many calls at a time, queues the rest first come first served, and never stops one."""

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial

from gateway.emulator.container import Container
from gateway.emulator.ledger import Call, Ledger
from gateway.emulator.outcome import Outcome
from gateway.emulator.work import Work


@dataclass(frozen=True, slots=True)
class _Given:
    call: Call
    work: Work


class Instance:
    """A container with the queue that container servers have: without a bound, and deaf to callers that leave.

    Attributes:
        outstanding: Calls it was given and has not finished.
    """

    def __init__(self, index: int, container: Container, *, concurrency: int, ledger: Ledger) -> None:
        self._index = index
        self._container = container
        self._concurrency = concurrency
        self._ledger = ledger
        self._queue: deque[_Given] = deque()
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.outstanding = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def container(self) -> Container:
        """What it calls."""
        return self._container

    @property
    def concurrency(self) -> int:
        """How many calls it runs at a time."""
        return self._concurrency

    def submit(self, call: Call, work: Work) -> None:
        """Take a call, to run now or as soon as those before it are done."""
        self._ledger.handed_over(call, self._index)
        self.outstanding += 1
        self._idle.clear()
        self._queue.append(_Given(call, work))
        self._start_next()

    async def drained(self) -> None:
        """Return when all that it was given is done."""
        await self._idle.wait()

    async def close(self) -> None:
        """Forget what waits and drop what runs: the emulator stops."""
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_next(self) -> None:
        while self._queue and self._busy < self._concurrency:
            given = self._queue.popleft()
            self._busy += 1
            self._ledger.started(given.call)
            if not given.work.start(self._container, partial(self._finish, given)):
                task = asyncio.create_task(self._run(given))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _run(self, given: _Given) -> None:
        try:
            outcome = await given.work.run(self._container)
        except BaseException:
            self._finish(given, None)
            raise
        self._finish(given, outcome)

    def _finish(self, given: _Given, outcome: Outcome | None) -> None:
        self._ledger.finished(given.call)
        self.outstanding -= 1
        self._busy -= 1
        if outcome is not None:
            given.work.deliver(outcome)
        if not self.outstanding:
            self._idle.set()
        self._start_next()
