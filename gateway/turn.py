"""One caller's turn: the awaiting that goes with a place in one queue, or in several at once."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from gateway.deadlines import Deadlines
from gateway.errors import Refusal
from gateway.handover import Handover


class Releasable(Protocol):
    """What is waited for."""

    def release(self) -> None:
        """Give it back."""


class Queue(Protocol):
    """Where a turn has a place."""

    def leave(self, waiter: Any) -> bool:
        """Take a turn out; False if it is not there (any more)."""


P = TypeVar("P", bound=Releasable)


class Turn(Generic[P]):
    """A place in each of some queues; the first that grants a permit ends the waiting in all of them.

    Args:
        queues: where it is going to stand.
        route: the route by which the caller came.
    """

    __slots__ = ("__weakref__", "_future", "_queues", "_too_late", "route")

    def __init__(self, queues: Iterable[Queue], route: str) -> None:
        self.route = route
        self._queues = tuple(queues)
        self._future: Handover[P] | None = Handover(loop=asyncio.get_running_loop())

    @property
    def over(self) -> bool:
        """Whether the waiting has ended, one way or another."""
        return self._future is None or self._future.done()

    def grant(self, permit: P) -> bool:
        """Take the permit, and go on with it; False if the caller has left in this very turn of the event loop."""
        future = self._future
        if future is None or future.done():
            return False
        self._leave()
        future.hand(permit)
        return True

    def refuse(self, reason: Exception) -> None:
        """Leave the queues, refused."""
        if self._future is not None and not self._future.done():
            self._leave()
            self._future.set_exception(reason)

    def give_up(self) -> None:
        """Take that the time is up."""
        self.refuse(self._too_late())

    async def wait(self, seconds: float, refusal: Callable[[], Refusal], deadlines: Deadlines) -> P:
        """Wait until a permit is granted.

        Args:
            seconds: how long at most; the turn ends at that moment, not when a queue moves next.
            refusal: makes what is raised then.
            deadlines: sees to that moment.

        Raises:
            Refusal: the time is up, or somebody refused the turn.
        """
        future = self._future
        if future is None:
            raise RuntimeError("a turn is waited for once")
        self._too_late = refusal
        deadlines.set(self, asyncio.get_running_loop().time() + seconds)
        try:
            return await future
        except asyncio.CancelledError:
            self._abandon(future)
            raise
        finally:
            deadlines.lift(self)
            self._future = None  # a refusal holds its traceback, and that holds the turn
            del future

    def _abandon(self, future: asyncio.Future[P]) -> None:
        """Leave without a trace, also when the permit was granted in the turn in which the caller left."""
        self._leave()
        if future.done() and not future.cancelled() and not future.exception():
            future.result().release()

    def _leave(self) -> None:
        for queue in self._queues:
            queue.leave(self)
