"""What a caller is told who gets no permit: why, and when one is to be expected."""

from collections.abc import Mapping
from random import random

from gateway.endpoint import Endpoint
from gateway.errors import LONG_WAIT, NO_CAPACITY, QUEUE_FULL, QUEUE_TIMEOUT, UNREACHABLE, Refusal
from gateway.jitter import jittered
from gateway.router import Match, Tier

JITTER = 0.2
"""How much of Retry-After is left to chance, so that callers do not come back in step."""

NO_ROOM = "The call was not sent: try again later."


class Forecast:
    """The state of those endpoints that a caller would have to wait for.

    Args:
        match: who may serve.
        tier: which of them are waited for.
        endpoints: all endpoints, by name.
        patience: how many seconds the caller waits in all.
    """

    def __init__(self, match: Match, tier: Tier, endpoints: Mapping[str, Endpoint], patience: float) -> None:
        self._route = match.route
        self._names = match.endpoints
        self._there = [endpoints[name] for name in tier]
        self._patience = patience

    def expected_wait(self) -> float | None:
        """In how many seconds somebody who comes now gets a permit; None where nobody knows.

        Callers wait at all targets at once, so that the rates of these add up, and the shortest queue counts.
        """
        rates = [endpoint.pace.rate(endpoint.limiter.capacity) for endpoint in self._there]
        if None in rates or any(endpoint.health.cause is not None for endpoint in self._there):
            return None
        ahead = min(endpoint.limiter.ahead(self._route) for endpoint in self._there)
        return (ahead + 0.5) / sum(rate for rate in rates if rate is not None)

    def turned_back(self, seconds_left: float) -> Refusal | None:
        """Why somebody who comes now should not even wait; None where they should.

        Args:
            seconds_left: how long they would.
        """
        if all(endpoint.limiter.full(self._route) for endpoint in self._there):
            return self.full()
        expected = self.expected_wait()
        alone = not any(endpoint.limiter.ahead(self._route) for endpoint in self._there)
        if expected is None or expected <= seconds_left or alone:
            return None
        return Refusal(
            LONG_WAIT,
            f"A permit of {self._who()} is expected in {expected:.0f} s, and this call waits {self._patience:g} s at "
            f"most. {NO_ROOM}",
            retry_after=_jittered(expected),
        )

    def full(self) -> Refusal:
        """As many wait as may."""
        waiting = max(endpoint.limiter.waiting for endpoint in self._there)
        return Refusal(
            QUEUE_FULL,
            f"All permits of {self._who()} are taken, and {waiting} callers wait already, as many as may. {NO_ROOM}",
            retry_after=self._retry_after(),
        )

    def too_long(self) -> Refusal:
        """The time is up, by the state of this moment."""
        causes = {endpoint.health.cause for endpoint in self._there}
        waited = f"within {self._patience:g} s"
        if None in causes:
            text = f"No instance of {self._who()} came free {waited}. {NO_ROOM}"
            return Refusal(QUEUE_TIMEOUT, text, retry_after=self._retry_after())
        if NO_CAPACITY in causes:
            return Refusal(NO_CAPACITY, f"SageMaker had no capacity for {self._who()} {waited}. {NO_ROOM}")
        return Refusal(UNREACHABLE, f"SageMaker cannot be reached for {self._who()}, call after call. {NO_ROOM}")

    def _retry_after(self) -> float | None:
        expected = self.expected_wait()
        return None if expected is None else _jittered(expected)

    def _who(self) -> str:
        names = self._names
        return f"endpoint {names[0]}" if len(names) == 1 else f"the endpoints {', '.join(names)}"


def _jittered(seconds: float) -> float:
    return jittered(seconds, JITTER, random())  # noqa: S311 - spreads callers, guards nothing
