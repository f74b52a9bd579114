"""Permits and the queue of one endpoint: it decides synchronously; awaiting is somebody else's work."""
# ruff: noqa: SLF001 - a permit and its limiter are one mechanism in two classes

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from itertools import takewhile
from time import monotonic
from typing import Protocol

from gateway.models import Statistics


class PermitMisuseError(Exception):
    """A permit was released twice, or used after its release: a bug of ours."""


class Waiter(Protocol):
    """Somebody in the queue."""

    @property
    def route(self) -> str:
        """The route by which they came: those of one route are served in order, and routes in turn."""

    def grant(self, permit: "Permit") -> bool:
        """Take the permit, and maybe give it back already; False where one has left: then the next is asked."""


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

    __slots__ = ("_limiter", "_restriction", "_state")

    def __init__(self, limiter: "Limiter", restriction: int | None = None) -> None:
        self._limiter = limiter
        self._restriction = restriction
        self._state = _RUNNING

    @property
    def limiter(self) -> "Limiter":
        """Whose permit it is."""
        return self._limiter

    @property
    def held(self) -> bool:
        """Whether its call is not over, as far as anybody has said."""
        return self._state is _RUNNING or self._state is _ORPHANED

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
        if self._restriction is not None and self._restriction == limiter._restriction:
            limiter._restricted -= 1
        if limiter._queues:
            limiter._admit()

    def _misused(self, rule: str) -> PermitMisuseError:
        return PermitMisuseError(f"{rule}, this one is {self._state.name.lower()}")


class Limiter:
    """As many permits as the endpoint has capacity, and a bounded queue, first come, first served.

    Where callers come by several routes, each route has a queue and the bound for itself: those of one route are served
    in the order in which they came, and the routes in turn. A flood on one of them does not starve the others.

    Every method takes constant time, however many wait; but for raising the capacity, which takes as many steps as it
    admits waiters, `statistics`, as many as there are routes with somebody waiting, and coming again, as many as wait
    who came later.

    Args:
        capacity: how many permits there are.
        max_waiting: how many callers of one route may wait.
        clock: seconds, never going back.
    """

    __slots__ = (
        "_capacity",
        "_clock",
        "_cooling",
        "_max_waiting",
        "_most",
        "_orphaned",
        "_queues",
        "_restricted",
        "_restriction",
        "_running",
        "_waiting",
    )

    def __init__(self, *, capacity: int, max_waiting: int, clock: Callable[[], float] = monotonic) -> None:
        # All mutable state of an endpoint's admission. Permit changes the counts, nobody else.
        # No waiter is in the queue while there is room, and _running and _cooling together are never raised
        # above _capacity; they are above it only after it was lowered. The same holds of _restricted and _most.
        self._capacity = capacity
        self._most: int | None = None
        # Which restriction this is, and how many permits that were granted under it are out.
        self._restriction = 0
        self._restricted = 0
        self._running = 0
        self._orphaned = 0
        self._cooling = 0
        # By route, and in the order in which they will be asked next; none of them is empty.
        self._queues: OrderedDict[str, OrderedDict[Waiter, float]] = OrderedDict()
        self._waiting = 0
        self._max_waiting = max_waiting
        self._clock = clock

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return self._waiting

    @property
    def capacity(self) -> int:
        """How many permits there are."""
        return self._capacity

    def ahead(self, route: str) -> int:
        """How many go before somebody who comes now: those of their route, and as many of each other, in turn."""
        own = len(self._queues.get(route, ()))
        return own + sum(min(len(queue), own + 1) for other, queue in self._queues.items() if other != route)

    def full(self, route: str) -> bool:
        """Whether as many callers of a route wait as may. It is for the caller to ask, before `enqueue`."""
        return len(self._queues.get(route, ())) >= self._max_waiting

    @property
    def free(self) -> bool:
        """Whether a newcomer would get a permit: there is room, and nobody waits."""
        return not self._queues and self._has_room()

    def acquire_nowait(self) -> Permit | None:
        """A permit, if there is room and nobody waits; else None: nobody overtakes the queue."""
        if self._most is not None:
            return self._grant() if self.free else None
        if self._running + self._cooling < self._capacity and not self._queues:
            self._running += 1
            return Permit(self)
        return None

    def acquire_beyond(self) -> Permit | None:
        """A permit for somebody whom `restrict` is not meant for, if the capacity has room; else None."""
        if self._running + self._cooling < self._capacity:
            self._running += 1
            return Permit(self)
        return None

    def enqueue(self, waiter: Waiter, *, since: float | None = None) -> None:
        """Put somebody at the end of the queue; `waiter.grant` is called when it is their turn, which may be at once.

        Args:
            waiter: who waits.
            since: when they came first, if they come again: they stand before the later ones of their route.
        """
        queue = self._queues.get(waiter.route)
        if queue is None:
            queue = self._queues[waiter.route] = OrderedDict()
        if since is None:
            queue[waiter] = self._clock()
        else:
            later = [other for other, _ in takewhile(lambda place: place[1] >= since, reversed(queue.items()))]
            queue[waiter] = since
            for other in reversed(later):
                queue.move_to_end(other)
        self._waiting += 1
        if self._has_room():
            self._admit()

    def leave(self, waiter: Waiter) -> bool:
        """Take somebody out of the queue; False if they are not in it (any more)."""
        queue = self._queues.get(waiter.route)
        if queue is None or queue.pop(waiter, None) is None:
            return False
        self._waiting -= 1
        if not queue:
            del self._queues[waiter.route]
        return True

    def resize(self, capacity: int) -> None:
        """Set the capacity. Raising it admits waiters at once; lowering it ends no call, and admits none until it fits.

        Raises:
            ValueError: the capacity is negative.
        """
        if capacity < 0:
            raise ValueError(f"a capacity is 0 or more, not {capacity}")
        self._capacity = capacity
        self._admit()

    def bound(self, max_waiting: int) -> None:
        """Set how many callers of one route may wait. Who waits already stays, be it more than that."""
        self._max_waiting = max_waiting

    def restrict(self, most: int | None) -> None:
        """Let no more than so many calls run at once, beside those that run already, which may take minutes.

        None lifts the restriction, and admits at once.
        """
        if most is None:
            self._restriction += 1
            self._restricted = 0
        self._most = most
        self._admit()

    def statistics(self) -> Statistics:
        """The state at this moment."""
        now = self._clock()
        oldest = min((next(iter(queue.values())) for queue in self._queues.values()), default=now)
        return Statistics(
            capacity=self._capacity,
            running=self._running,
            orphaned=self._orphaned,
            cooling=self._cooling,
            waiting=self._waiting,
            oldest_waiter_seconds=max(0.0, now - oldest),
        )

    def _has_room(self) -> bool:
        return self._running + self._cooling < self._capacity and (self._most is None or self._restricted < self._most)

    def _grant(self) -> Permit:
        self._running += 1
        if self._most is None:
            return Permit(self)
        self._restricted += 1
        return Permit(self, self._restriction)

    def _admit(self) -> None:
        """Hand free permits to the first in the queue, passing over those who leave in this very turn."""
        queues = self._queues
        while queues and self._has_room():
            route, queue = next(iter(queues.items()))
            waiter, _ = queue.popitem(last=False)
            self._waiting -= 1
            if queue:
                queues.move_to_end(route)  # by now: whoever is done at once comes here again
            else:
                del queues[route]
            permit = self._grant()
            if not waiter.grant(permit):
                self._take_back(permit)
                if queue:
                    queues.move_to_end(route, last=False)

    def _take_back(self, permit: Permit) -> None:
        """Nobody wanted it. It is not released: that would admit the next from within."""
        self._running -= 1
        if permit._restriction is not None:
            self._restricted -= 1
