"""Permits and the queue of one endpoint: it decides synchronously; awaiting is somebody else's work."""
# ruff: noqa: SLF001 - a permit and its limiter are one mechanism in two classes

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from time import monotonic
from typing import Protocol

from gateway.models import Statistics


class QueueFull(Exception):  # noqa: N818 - a decision, not a mishap
    """As many callers wait as may."""


class PermitMisuseError(RuntimeError):
    """A permit was released twice, or used after its release: a bug of ours."""


class Waiter(Protocol):
    """Somebody in the queue."""

    def grant(self, permit: "Permit") -> bool:
        """Take the permit, or say False because one has left already: then the next in the queue is asked."""


class _State(Enum):
    """Where a permit is in its life."""

    RUNNING = auto()
    ORPHANED = auto()
    COOLING = auto()
    RELEASED = auto()


# Looked up for every call, and a module's names are found faster than an enumeration's.
_RUNNING, _ORPHANED, _COOLING, _RELEASED = _State


class Permit:
    """The right to run one call. It belongs to the call, not to the caller.

    running -> (orphaned) -> (cooling) -> released, once.
    """

    __slots__ = ("_limiter", "_state")

    def __init__(self, limiter: "Limiter") -> None:
        self._limiter = limiter
        self._state = _RUNNING

    def orphan(self) -> None:
        """Say that the caller has gone while the call goes on. The permit is kept until the call ends."""
        if self._state is not _RUNNING:
            raise self._misused("only a running permit can be orphaned")
        self._state = _ORPHANED
        self._limiter._orphaned += 1

    def cool(self) -> None:
        """Say that the call was given up while its model may still run: the permit is kept until its release."""
        limiter = self._limiter
        if self._state is _ORPHANED:
            limiter._orphaned -= 1
        elif self._state is not _RUNNING:
            raise self._misused("only the permit of a call can cool")
        limiter._running -= 1
        limiter._cooling += 1
        self._state = _COOLING

    def release(self) -> None:
        """Give the permit back; it goes to the first waiter in the same turn.

        Raises:
            PermitMisuseError: it was released before.
        """
        limiter = self._limiter
        state = self._state
        if state is _RUNNING:
            limiter._running -= 1
        elif state is _ORPHANED:
            limiter._running -= 1
            limiter._orphaned -= 1
        elif state is _COOLING:
            limiter._cooling -= 1
        else:
            raise self._misused("a permit is given back once")
        self._state = _RELEASED
        if limiter._waiters:
            limiter._admit()

    def _misused(self, rule: str) -> PermitMisuseError:
        return PermitMisuseError(f"{rule}, this one is {self._state.name.lower()}")


class Limiter:
    """As many permits as the endpoint has capacity, and a bounded queue, first come, first served.

    Every method takes constant time, however many wait; raising the capacity takes as many steps as it admits waiters.

    Args:
        capacity: how many calls may run at once.
        max_waiting: how many callers may wait.
        clock: seconds, never going back.
    """

    __slots__ = ("_capacity", "_clock", "_cooling", "_max_waiting", "_orphaned", "_running", "_waiters")

    def __init__(self, *, capacity: int, max_waiting: int, clock: Callable[[], float] = monotonic) -> None:
        # All mutable state of an endpoint's admission. Permit changes the counts, nobody else.
        # No waiter is in the queue while there is room, and _running and _cooling together are never raised
        # above _capacity; they are above it only after it was lowered.
        self._capacity = capacity
        self._running = 0
        self._orphaned = 0
        self._cooling = 0
        self._waiters: OrderedDict[Waiter, float] = OrderedDict()
        self._max_waiting = max_waiting
        self._clock = clock

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._waiters)

    def acquire_nowait(self) -> Permit | None:
        """A permit, if there is room and nobody waits; else None: nobody overtakes the queue."""
        if self._running + self._cooling < self._capacity and not self._waiters:
            self._running += 1
            return Permit(self)
        return None

    def enqueue(self, waiter: Waiter) -> None:
        """Put somebody at the end of the queue; `waiter.grant` is called when it is their turn, which may be at once.

        Raises:
            QueueFull: as many wait as may.
        """
        if len(self._waiters) >= self._max_waiting:
            raise QueueFull
        self._waiters[waiter] = self._clock()
        if self._running + self._cooling < self._capacity:
            self._admit()

    def leave(self, waiter: Waiter) -> bool:
        """Take somebody out of the queue; False if they are not in it (any more)."""
        return self._waiters.pop(waiter, None) is not None

    def resize(self, capacity: int) -> None:
        """Set the capacity. Raising it admits waiters at once; lowering it ends no call, and admits none until it fits.

        Raises:
            ValueError: the capacity is negative.
        """
        if capacity < 0:
            raise ValueError(f"a capacity is 0 or more, not {capacity}")
        self._capacity = capacity
        self._admit()

    def statistics(self) -> Statistics:
        """The state at this moment."""
        oldest = next(iter(self._waiters.values()), None)
        return Statistics(
            capacity=self._capacity,
            running=self._running,
            orphaned=self._orphaned,
            cooling=self._cooling,
            waiting=len(self._waiters),
            oldest_waiter_seconds=0.0 if oldest is None else max(0.0, self._clock() - oldest),
        )

    def _admit(self) -> None:
        """Hand free permits to the first in the queue, passing over those who leave in this very turn."""
        waiters = self._waiters
        while waiters and self._running + self._cooling < self._capacity:
            waiter, _ = waiters.popitem(last=False)
            self._running += 1
            if not waiter.grant(Permit(self)):
                self._running -= 1
