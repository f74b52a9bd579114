"""Asynchronous calls: each fleet's own queue of them, and what became of each, kept in memory in place of S3."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from gateway.emulator.ledger import Call, Ledger
from gateway.emulator.outcome import SUCCESS, Answer, Failure, Invocation, Outcome
from gateway.emulator.work import Exchange, Work

KEPT_RESULTS = 10_000
"""More results than this are not kept: the oldest go first."""

EXPIRED = "The request expired before an instance could take it."


@dataclass(slots=True, eq=False)
class AsyncResult:
    """What has become of an asynchronous call so far; only its backlog writes to it.

    Attributes:
        inference_id: As the caller gave it or was told it.
        endpoint: The endpoint's name.
        output_location: Where SageMaker would have put the answer.
        failure_location: Where it would have put the error.
        state: How far it is.
        content_type: The answer's.
        body: The answer's.
        error: In place of an answer: a ModelError as JSON, or why there was no call.
    """

    inference_id: str
    endpoint: str
    output_location: str
    failure_location: str
    state: Literal["queued", "running", "completed", "failed"] = "queued"
    content_type: str | None = None
    body: bytes = b""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AsyncJob:
    """An asynchronous call: what the container is sent, and how long it may wait and run."""

    result: AsyncResult
    invocation: Invocation
    ttl_seconds: float
    timeout_seconds: float
    explain: Callable[[Outcome], str] = field(repr=False)
    """Says in words what an outcome without an answer means."""


class AsyncResults:
    """The results of all endpoints by inference id; of two with the same id the later one is found."""

    def __init__(self) -> None:
        self._results: OrderedDict[str, AsyncResult] = OrderedDict()

    def add(self, result: AsyncResult) -> None:
        """Keep a result, and forget the oldest if there are too many."""
        self._results.pop(result.inference_id, None)
        self._results[result.inference_id] = result
        if len(self._results) > KEPT_RESULTS:
            self._results.popitem(last=False)

    def get(self, inference_id: str) -> AsyncResult | None:
        """The result of a call, or None for an unknown id."""
        return self._results.get(inference_id)


class Backlog:
    """The queue of one fleet: first come first served, as many at a time as it has room for."""

    def __init__(self, *, capacity: Callable[[], int], submit: Callable[[Call, Work], object], ledger: Ledger) -> None:
        self._capacity = capacity
        self._submit = submit
        self._ledger = ledger
        self._queue: deque[tuple[AsyncJob, Call]] = deque()
        self._expiries: dict[Call, asyncio.TimerHandle] = {}
        self._running: set[asyncio.Task[None]] = set()

    def add(self, job: AsyncJob) -> None:
        """Queue a call, or start it where there is room."""
        call = self._ledger.queued()
        self._queue.append((job, call))
        loop = asyncio.get_running_loop()
        self._expiries[call] = loop.call_later(job.ttl_seconds, self._expire, job, call)
        self.pump()

    def pump(self) -> None:
        """Start what there is room for now."""
        while self._queue and len(self._running) < self._capacity():
            job, call = self._queue.popleft()
            self._expiries.pop(call).cancel()
            self._ledger.dequeued()
            task = asyncio.create_task(self._run(job, call))
            self._running.add(task)
            task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Forget what waits, and drop what runs: the emulator stops."""
        self._queue.clear()
        for expiry in self._expiries.values():
            expiry.cancel()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, job: AsyncJob, call: Call) -> None:
        result, work = job.result, Exchange(job.invocation)
        result.state = "running"
        self._submit(call, work)
        try:
            async with asyncio.timeout(job.timeout_seconds):
                outcome = await work.outcome
        except TimeoutError:
            self._ledger.given_up(call)
            outcome = Failure.TIMED_OUT
        if isinstance(outcome, Answer) and outcome.status in SUCCESS:
            result.content_type, result.body = outcome.headers.get("Content-Type"), outcome.body
            result.state = "completed"
        else:
            result.error = job.explain(outcome)
            result.state = "failed"

    def _expire(self, job: AsyncJob, call: Call) -> None:
        self._queue.remove((job, call))
        del self._expiries[call]
        self._ledger.dequeued()
        job.result.state, job.result.error = "failed", EXPIRED

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.pump()
