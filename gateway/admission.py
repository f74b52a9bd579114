"""A permit for one caller: of which endpoint, now or when it is their turn."""

from collections.abc import Iterable, Mapping
from time import monotonic

from gateway.balance import Balance
from gateway.endpoint import Endpoint
from gateway.errors import NO_CAPACITY, UNREACHABLE, Refusal
from gateway.forecast import Forecast
from gateway.limiter import Permit
from gateway.models import Failover, Unseen
from gateway.roster import Roster
from gateway.router import Match, Tier
from gateway.turn import Turn


class _MoveOnError(Exception):
    """The endpoints that were waited for have ceased to take calls."""


class Admission:
    """One caller's way to a permit.

    They are bound to an endpoint only with its permit: they wait at all targets of their route at once, and take the
    permit that comes free first. Only where no model saw their call do they come here again: the endpoint that did not
    take it is left out then, and fallbacks are asked in order; in a queue they stand where they would, had they waited
    there from the start. The longest `queue.timeout_seconds` of their route's targets bounds all of it.

    Args:
        match: who may serve.
        endpoints: all endpoints, by name.
        balance: weighs the targets of the route.
        roster: who is here.
        since: since when they wait, where that is longer than now, in seconds of `time.monotonic`.
        limit: how many seconds the caller is going to wait, where that is less than they may.
    """

    __slots__ = (
        "_again",
        "_balance",
        "_began",
        "_came",
        "_endpoints",
        "_limit",
        "_match",
        "_returns",
        "_roster",
        "_tiers",
        "_turn",
        "failovers",
        "waited",
    )

    def __init__(
        self,
        match: Match,
        endpoints: Mapping[str, Endpoint],
        balance: Balance,
        roster: Roster,
        *,
        since: float | None = None,
        limit: float | None = None,
    ) -> None:
        self._match = match
        self._limit = limit
        self._tiers = match.tiers
        self._endpoints = endpoints
        self._balance = balance
        self._roster = roster
        self._began = monotonic()
        self._came = self._began if since is None else since
        self._again = since is not None  # they have a place by their age
        self._returns = self._again  # they had a place, or a permit: the bound of the queue is for newcomers
        self._turn: Turn[Permit] | None = None
        self.waited: float | None = None
        """Seconds in queues so far; None where the caller never came to one."""
        self.failovers: tuple[Failover, ...] = ()
        """What the caller went on from."""

    @property
    def patience(self) -> float | None:
        """How long the caller is going to wait yet, where there is somebody else to go on to; else None."""
        return None if len(self._tiers) == len(self._tiers[0]) == 1 else self.seconds_left()

    def seconds_left(self) -> float:
        """How long the caller is going to wait yet."""
        return self._began + self._patience() - monotonic()

    def check(self) -> None:
        """Look whether it is certain already that there is no room.

        Raises:
            Refusal: all permits are taken, and all queues are full.
        """
        limiters = [self._endpoints[name].limiter for name in self._match.endpoints]
        full = all(limiter.full(self._match.route) and not limiter.free for limiter in limiters)
        if full and self._match.operation.takes_permit:
            raise self._forecast().full()

    async def admit(self) -> tuple[Endpoint, Permit | None]:
        """An endpoint and a permit of it; an operation that takes none gets none.

        Raises:
            Refusal: the queues are full, or the time is up.
        """
        self._leave_out_keyless()
        if not self._match.operation.takes_permit:
            return self._deal(), None
        while True:
            if (found := self._take(self._tiers[0])) is not None:
                self.waited = self.waited or 0.0
                return found
            if not self._skips(self._tiers[0]):
                if self._forsaken(self._tiers[0]):
                    raise self._forecast().too_long()  # as many as may are trying, and nobody gets through
                refusal = self._turned_back(self._tiers[0])
                if refusal is None:
                    try:
                        return await self._wait(self._tiers[0])
                    except _MoveOnError:
                        self._again = True
                elif len(self._tiers) > 1:
                    self._leave_out(self._tiers[0], Unseen.QUEUE_FULL)
                else:
                    try:
                        raise refusal
                    finally:
                        del refusal  # its traceback has this frame

    def pass_over(self, endpoint: Endpoint, reason: Unseen, upstream_error: str | None) -> bool:
        """Say that no model of an endpoint saw the call; whether the caller may go on from there.

        The endpoint is left out then; but where SageMaker has no capacity and there is no fallback, it is waited for.

        Args:
            endpoint: which did not take the call.
            reason: why.
            upstream_error: the error code of SageMaker's answer, if it was one.
        """
        waits = reason is Unseen.NO_CAPACITY and len(self._tiers) == 1 and self._match.operation.takes_permit
        tiers = self._tiers if waits else _without(self._tiers, (endpoint.name,))
        if not tiers or self.seconds_left() <= 0:
            return False
        self.failovers += (Failover(endpoint.name, reason, upstream_error),)
        self._tiers, self._again, self._returns = tiers, True, True
        return True

    def _take(self, tier: Tier) -> tuple[Endpoint, Permit] | None:
        """A permit that is there for the taking."""
        endpoints = self._endpoints
        if len(tier) == 1:
            endpoint = endpoints[next(iter(tier))]
            permit = endpoint.limiter.acquire_nowait()
            if permit is not None:
                return endpoint, permit
        elif free := {name: weight for name, weight in tier.items() if endpoints[name].limiter.free}:
            probed = next((name for name in free if endpoints[name].health.probing), None)
            endpoint = endpoints[probed or self._balance.choose(free)]
            permit = endpoint.limiter.acquire_nowait()
            if permit is not None:
                return endpoint, permit
        return self._take_beyond(tier) if len(self._tiers) == 1 and self._forsaken(tier) else None

    def _take_beyond(self, tier: Tier) -> tuple[Endpoint, Permit] | None:
        """A permit of an endpoint that is ejected, for somebody who has nowhere else to go."""
        left = dict(tier)
        while left:
            name = self._balance.choose(left)
            endpoint = self._endpoints[name]
            if (permit := endpoint.limiter.acquire_beyond()) is not None:
                return endpoint, permit
            del left[name]
        return None

    def _turned_back(self, tier: Tier) -> Refusal | None:
        """Why there is no sense in waiting here; None where there is, or where there is a place for them already."""
        if self._returns and any(self._endpoints[name].settings.queue.max_waiting for name in tier):
            return None
        return self._forecast().turned_back(self.seconds_left())

    async def _wait(self, tier: Tier) -> tuple[Endpoint, Permit]:
        """The permit that comes free first."""
        there = {self._endpoints[name].limiter: self._endpoints[name] for name in tier}
        turn: Turn[Permit] = Turn(there, self._match.route)
        self._turn = turn
        joined = monotonic()
        self._roster.turns.add(turn)
        for limiter, endpoint in there.items():
            endpoint.health.watchers[self._look] = None
            if not turn.over:
                limiter.enqueue(turn, since=self._came if self._again else None)
        try:
            permit = await turn.wait(self.seconds_left(), self._too_long, self._roster.patience)
            return there[permit.limiter], permit
        finally:
            for endpoint in there.values():
                endpoint.health.watchers.pop(self._look, None)
            self._roster.turns.discard(turn)
            self._turn = None
            self.waited = (self.waited or 0.0) + monotonic() - joined

    def _look(self) -> None:
        """Go on where those who are waited for have ceased to take calls."""
        if self._turn is not None and self._forsaken(self._tiers[0]):
            self._turn.refuse(_MoveOnError())

    def _too_long(self) -> Refusal:
        return self._forecast().too_long()

    def _skips(self, tier: Tier) -> bool:
        """Leave a tier out that takes no calls, where there is another."""
        if len(self._tiers) == 1 or not self._forsaken(tier):
            return False
        causes = {self._endpoints[name].health.cause for name in tier}
        self._leave_out(tier, Unseen.NO_CAPACITY if NO_CAPACITY in causes else Unseen.UNREACHABLE)
        return True

    def _leave_out(self, tier: Tier, reason: Unseen) -> None:
        self.failovers += tuple(Failover(name, reason, None) for name in tier)
        self._tiers = self._tiers[1:]

    def _forsaken(self, tier: Tier) -> bool:
        """Whether nobody should wait here: none of these takes calls, and a fallback may, or none can be reached."""
        causes = {self._endpoints[name].health.cause for name in tier}
        return None not in causes and (len(self._tiers) > 1 or causes == {UNREACHABLE})

    def _leave_out_keyless(self) -> None:
        """Pass over endpoints that there is nothing to sign for, as long as there is another: they refuse at once."""
        if len(self._match.endpoints) == 1:
            return
        names = [name for tier in self._tiers for name in tier]
        keyless = [name for name in names if self._endpoints[name].credentials.problem is not None]
        if keyless and len(keyless) < len(names):
            self.failovers += tuple(Failover(name, Unseen.CREDENTIALS, None) for name in keyless)
            self._tiers = _without(self._tiers, keyless)

    def _deal(self) -> Endpoint:
        """Whose turn it is, room or not, among those that can be reached."""
        up = [_without((tier,), filter(self._is_ejected, tier)) for tier in self._tiers]
        tier = next((left[0] for left in up if left), self._tiers[0])
        return self._endpoints[next(iter(tier)) if len(tier) == 1 else self._balance.choose(tier)]

    def _is_ejected(self, name: str) -> bool:
        return self._endpoints[name].health.cause is UNREACHABLE

    def _patience(self) -> float:
        longest = max(self._endpoints[name].settings.queue.timeout_seconds for name in self._match.tiers[0])
        return longest if self._limit is None else min(longest, self._limit)

    def _forecast(self) -> Forecast:
        return Forecast(self._match, self._tiers[0], self._endpoints, self._patience())


def _without(tiers: tuple[Tier, ...], names: Iterable[str]) -> tuple[Tier, ...]:
    """The tiers without some endpoints, and without those in which nobody is left."""
    gone = set(names)
    left = ({name: weight for name, weight in tier.items() if name not in gone} for tier in tiers)
    return tuple(tier for tier in left if tier)
