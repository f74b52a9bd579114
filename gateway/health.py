"""Whether an endpoint takes calls now, as calls have shown; while it does not, one at a time is let through to try."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import NO_CAPACITY, UNREACHABLE, Row
from gateway.jitter import jittered

REFUSALS = 5
"""How many calls in a row have to find the endpoint unreachable before it is ejected, where there are others."""

FIRST_PAUSE_SECONDS = 1.0
"""How long nothing is sent then; it doubles with each call that tries in vain."""

LONGEST_PAUSE_SECONDS = {UNREACHABLE: 60.0, NO_CAPACITY: 10.0}
"""Up to this. Calls are what wakes a fleet from zero, and a copy that has come up should not idle."""

JITTER = 0.1
"""How much of a pause is left to chance, so that gateways do not try in step."""


PROBES = 1
"""How many calls at once go to a fleet that has no room, or is not known: a call is what wakes one from zero."""


class Permits(Protocol):
    """What hands out permits."""

    def resize(self, capacity: int) -> None:
        """Set how many there are."""

    def restrict(self, most: int | None) -> None:
        """Let no more than so many calls run for now; None lifts it."""


class Timer(Protocol):
    """Something that is going to happen."""

    def cancel(self) -> None:
        """Let it not happen."""


@dataclass(frozen=True, slots=True)
class HealthStatistics:
    """What is known of an endpoint's health at one moment.

    Attributes:
        ejected: whether it is left out because it could not be reached, time after time.
        no_capacity: whether SageMaker said that it has no capacity.
        probing: whether one call may try now; False in a pause, and where all is well.
        unreachable_in_a_row: how many calls could not reach it since one did.
    """

    ejected: bool
    no_capacity: bool
    probing: bool
    unreachable_in_a_row: int


class Health:
    """What calls have shown of one endpoint, and the restriction of its permits that follows from it.

    Args:
        limiter: hands out its permits.
        ejects: whether there are others to go to: without them, everybody may try for themselves.
        later: has something happen so many seconds later.
        changed: is told when SageMaker's capacity is not what it was taken for.
        chance: a number from 0 to 1, evenly.
    """

    def __init__(
        self,
        limiter: Permits,
        *,
        ejects: bool,
        later: Callable[[float, Callable[[], None]], Timer],
        changed: Callable[[], None] = lambda: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._limiter = limiter
        self._ejects = ejects
        self._later = later
        self._changed = changed
        self._chance = chance
        self._capacity = 0
        self._unreachable = 0
        self._cause: Row | None = None
        self._pause = FIRST_PAUSE_SECONDS
        self._timer: Timer | None = None
        self.watchers: dict[Callable[[], None], None] = {}
        """Told, in the order in which they came, when the endpoint ceases to take calls, and when the cause changes."""

    @property
    def cause(self) -> Row | None:
        """The refusal that callers get who have waited in vain because it takes no calls; None where it does."""
        return self._cause

    @property
    def probing(self) -> bool:
        """Whether one call may try now."""
        return self._cause is not None and self._timer is None

    def resize(self, capacity: int) -> None:
        """Say how many calls the fleet has room for. Where that has become more, it need not be tried out first."""
        self._limiter.resize(max(PROBES, capacity))
        if capacity > self._capacity and self._cause is NO_CAPACITY:
            self.reopen()
        self._capacity = capacity

    def connected(self) -> None:
        """Say that a connection came about for a call."""
        self._unreachable = 0
        if self._cause is UNREACHABLE:
            self.reopen()

    def reached(self) -> None:
        """Say that the endpoint took a call, whatever became of it."""
        self._unreachable = 0
        if self._cause is not None:
            self.reopen()
            self._changed()

    def unreachable(self) -> None:
        """Say that no connection came about for a call."""
        self._unreachable += 1
        if self._ejects and self._unreachable >= REFUSALS:
            self._close(UNREACHABLE)
        elif self._cause is not None:
            self._close(self._cause)

    def no_capacity(self) -> None:
        """Say that SageMaker has refused a call for want of capacity."""
        self._unreachable = 0
        self._close(NO_CAPACITY)
        self._changed()

    def reopen(self) -> None:
        """Say that it takes calls, as far as anybody knows."""
        if self._timer is not None:
            self._timer.cancel()
        self._cause, self._timer, self._pause = None, None, FIRST_PAUSE_SECONDS
        self._limiter.restrict(None)

    def eject(self, *, ejects: bool) -> None:
        """Say whether there are others to go to from now on. Where there are none, who is ejected is let in again."""
        self._ejects = ejects
        if not ejects and self._cause is UNREACHABLE:
            self.reopen()

    def forget(self) -> None:
        """Say that the endpoint is somewhere else from now on: what calls have shown was of another place."""
        self._unreachable = 0
        if self._cause is not None:
            self.reopen()

    def close(self) -> None:
        """Let nothing more happen."""
        if self._timer is not None:
            self._timer.cancel()

    def statistics(self) -> HealthStatistics:
        """What is known at this moment."""
        return HealthStatistics(
            ejected=self._cause is UNREACHABLE,
            no_capacity=self._cause is NO_CAPACITY,
            probing=self.probing,
            unreachable_in_a_row=self._unreachable,
        )

    def _close(self, cause: Row) -> None:
        """Restrict the permits to none, for a while."""
        changed, self._cause = self._cause is not cause, cause
        if self._timer is None:  # else this call was under way already; the one that tries comes after the pause
            pause = min(self._pause, LONGEST_PAUSE_SECONDS[cause])
            self._pause = min(2 * pause, LONGEST_PAUSE_SECONDS[cause])
            self._timer = self._later(jittered(pause, JITTER, self._chance()), self._probe)
            self._limiter.restrict(0)
        if changed:
            for watcher in tuple(self.watchers):
                watcher()

    def _probe(self) -> None:
        self._timer = None
        self._limiter.restrict(PROBES)
