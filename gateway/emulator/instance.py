"""One instance: runs so many calls at a time, queues the rest first come first served, and never stops one."""

import asyncio
from collections import deque
from dataclasses import dataclass

from gateway.emulator.container import Answer, Container, Failure, Invocation
from gateway.emulator.counters import Call, Ledger

Outcome = Answer | Failure


@dataclass(frozen=True, slots=True)
class _Work:
    call: Call
    invocation: Invocation
    outcome: asyncio.Future[Outcome]


class Instance:
    """A container with the queue that container servers have: without a bound, and deaf to callers that leave.

    The outcome of a call is a future, and no more than the caller's ear: cancelling it stops nothing.
    """

    def __init__(self, index: int, container: Container, *, concurrency: int, ledger: Ledger) -> None:
        self._index = index
        self._container = container
        self._concurrency = concurrency
        self._ledger = ledger
        self._queue: deque[_Work] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._outstanding = 0

    @property
    def outstanding(self) -> int:
        """Calls it was given and has not finished."""
        return self._outstanding

    def submit(self, call: Call, invocation: Invocation) -> asyncio.Future[Outcome]:
        """Take a call, to run now or as soon as those before it are done."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._ledger.handed_over(call, self._index)
        self._outstanding += 1
        self._queue.append(_Work(call, invocation, outcome))
        self._start_next()
        return outcome

    async def close(self) -> None:
        """Forget what waits and drop what runs: the emulator stops."""
        self._queue.clear()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start_next(self) -> None:
        while self._queue and len(self._running) < self._concurrency:
            task = asyncio.create_task(self._run(self._queue.popleft()))
            self._running.add(task)
            task.add_done_callback(self._ended)

    async def _run(self, work: _Work) -> None:
        self._ledger.started(work.call)
        try:
            outcome = await self._container.invoke(work.invocation)
        finally:
            self._ledger.finished(work.call)
            self._outstanding -= 1
        if not work.outcome.done():
            work.outcome.set_result(outcome)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start_next()
