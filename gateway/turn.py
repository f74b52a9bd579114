"""One caller's turn: the awaiting that goes with a place in a queue."""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gateway.errors import Refusal


class Releasable(Protocol):
    """What is waited for."""

    def release(self) -> None:
        """Give it back."""


P = TypeVar("P", bound=Releasable)


class Turn(Generic[P]):
    """A place in a queue.

    Args:
        leave: takes a turn out of the queue; False if it is not in it (any more).
    """

    __slots__ = ("__weakref__", "_future", "_leave")

    def __init__(self, leave: Callable[["Turn[P]"], bool]) -> None:
        self._leave = leave
        self._future: asyncio.Future[P] = asyncio.get_running_loop().create_future()

    def grant(self, permit: P) -> bool:
        """Take the permit; False if the caller has left in this very turn of the event loop."""
        if self._future.done():
            return False
        self._future.set_result(permit)
        return True

    def refuse(self, refusal: Refusal) -> None:
        """Leave the queue, refused."""
        if self._leave(self) and not self._future.done():
            self._future.set_exception(refusal)

    async def wait(self, seconds: float, refusal: Refusal) -> P:
        """Wait until the permit is granted.

        Args:
            seconds: how long at most; the turn ends at that moment, not when the queue moves next.
            refusal: what is raised then.

        Raises:
            Refusal: the time is up, or somebody refused the turn.
        """
        timer = asyncio.get_running_loop().call_later(seconds, self.refuse, refusal)
        try:
            return await self._future
        except asyncio.CancelledError:
            self._abandon()
            raise
        finally:
            timer.cancel()

    def _abandon(self) -> None:
        """Leave without a trace, also when the permit was granted in the turn in which the caller left."""
        future = self._future
        if not self._leave(self) and future.done() and not future.cancelled() and not future.exception():
            future.result().release()
