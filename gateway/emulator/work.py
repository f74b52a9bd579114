"""What an instance is given to do: an answer that is read whole, or one whose chunks flow as they come."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from multidict import CIMultiDictProxy

from gateway.emulator.container import Container
from gateway.emulator.outcome import Invocation, Outcome

BUFFERED_BYTES = 1_048_576
"""How far a container may be ahead of its caller; then it is made to wait, as any proxy makes it."""


class Work(Protocol):
    """One call as its instance sees it."""

    def start(self, container: Container, done: Callable[[Outcome], None]) -> bool:
        """Do it at once and without a task, if that can be, and tell how it ended in a later turn of the event loop.

        False: it is to be run.
        """

    async def run(self, container: Container) -> Outcome:
        """Do it."""

    def deliver(self, outcome: Outcome) -> None:
        """Tell the caller how it ended; by then it is counted as finished."""


class Exchange:
    """A request and its whole answer. The outcome is no more than the caller's ear: cancelling it stops nothing."""

    def __init__(self, invocation: Invocation) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._invocation = invocation

    def start(self, container: Container, done: Callable[[Outcome], None]) -> bool:
        """Send the call at once, if it is that simple."""
        return container.start(self._invocation, done)

    async def run(self, container: Container) -> Outcome:
        """Send the call, and read the whole answer."""
        return await container.invoke(self._invocation)

    def deliver(self, outcome: Outcome) -> None:
        """Tell the caller, if it still listens."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Pipe:
    """A request and the chunks of its answer, in order. A caller that leaves stops nothing: the rest is thrown away."""

    def __init__(self, invocation: Invocation) -> None:
        self.headers: CIMultiDictProxy[str] | None = None
        self._invocation = invocation
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._outcome: Outcome | None = None
        self._abandoned = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    def start(self, container: Container, done: Callable[[Outcome], None]) -> bool:  # noqa: ARG002 (of Work)
        """A stream is never that simple."""
        return False

    async def run(self, container: Container) -> Outcome:
        """Send the call, and read the answer to its end."""
        return await container.stream(self._invocation, self)

    def deliver(self, outcome: Outcome) -> None:
        """Let the caller know that no chunk follows, and why."""
        self._outcome = outcome
        self._news.set()

    def begin(self, headers: CIMultiDictProxy[str]) -> None:
        """The container has said yes."""
        self.headers = headers

    async def put(self, chunk: bytes) -> None:
        """Take a chunk of the container's; return when there is room for another."""
        if self._abandoned:
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._news.set()
        while self._size > BUFFERED_BYTES and not self._abandoned:
            self._room.clear()
            await self._room.wait()

    async def get(self) -> bytes | Outcome:
        """The next chunk, or after the last one how it ended."""
        while not self._chunks and self._outcome is None:
            self._news.clear()
            await self._news.wait()
        if not self._chunks and self._outcome is not None:
            return self._outcome
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        self._room.set()
        return chunk

    def abandon(self) -> None:
        """Nobody wants the rest."""
        self._abandoned = True
        self._chunks.clear()
        self._size = 0
        self._room.set()
