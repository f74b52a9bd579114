"""One run for one SDK call: its retries join it, whether it waits or runs, instead of running the model again.

AWS SDKs send the same `amz-sdk-invocation-id` with every attempt of one call, and come back within 20 s:
https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Protocol

from gateway.errors import Refusal, failed
from gateway.models import Answer

KEEP_SECONDS = 60.0
"""How long a good answer is kept that reached nobody, and the place in the queue of a caller who left."""

KEEP_BYTES = 64 * 1024 * 1024
"""How much is kept in all; then the oldest goes."""

PLACE_BYTES = 1024
"""What an entry costs beside its key and its answer, about."""

_FIRST_ERROR_STATUS = 300


class Passenger(Protocol):
    """One attempt of the call.

    Attributes:
        endpoint: key of the endpoint that was called last.
        called: whether one was.
        joined: whether the answer is that of another attempt's call.
        flight: the key of the flight that it leads.
    """

    endpoint: str | None
    called: bool
    joined: bool
    flight: Hashable | None


class Flight:
    """One call of an SDK, with all of its attempts.

    Attributes:
        leader: the attempt that makes the call; None where that has left while it waited.
        since: when the first of them came, in seconds of the clock.
        again: whether another attempt led it before.
        outcome: what became of the call; None until it has ended.
    """

    def __init__(self, leader: Passenger, since: float) -> None:
        self.leader: Passenger | None = leader
        self.since = since
        self.again = False
        self.outcome: Answer | Refusal | None = None
        self._changed = asyncio.Event()

    async def follow(self) -> None:
        """Wait until the call has ended, or its leader has left."""
        await self._changed.wait()

    def leave(self) -> None:
        """Say that the leader has left while it waited: the next may lead."""
        self.leader = None
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def land(self, outcome: Answer | Refusal) -> None:
        """Say what became of the call."""
        self.outcome = outcome
        self._changed.set()


class Flights:
    """The calls of SDKs that wait or run, and those whose answer reached nobody.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._flights: dict[Hashable, Flight] = {}
        self._kept: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()  # until when, and how large
        self._kept_bytes = 0

    async def fly(
        self, key: Hashable, passenger: Passenger, lead: Callable[[float | None], Awaitable[Answer]]
    ) -> Answer:
        """The answer of a call of which this may not be the first attempt.

        Args:
            key: what its attempts have in common, and no other call.
            passenger: this attempt.
            lead: makes the call; it is told since when it waits, where that is longer than now. It is cancelled, or
                cancels itself, where the caller has gone and no model has seen the call: whoever follows makes it anew.

        Raises:
            Refusal: there is no answer.
        """
        while True:
            flight = self._board(key, passenger)
            if flight.leader is passenger:
                return await self._lead(key, flight, passenger, lead)
            passenger.joined = True
            await flight.follow()
            if flight.outcome is not None:
                if flight.leader is not None:
                    passenger.endpoint, passenger.called = flight.leader.endpoint, flight.leader.called
                if isinstance(flight.outcome, Refusal):
                    raise flight.outcome.fresh()
                return flight.outcome

    def under_way(self, key: Hashable) -> bool:
        """Whether somebody makes this call, or has an answer to it that reached nobody."""
        flight = self._flights.get(key)
        return flight is not None and flight.leader is not None

    def land(self, key: Hashable, outcome: Answer | Refusal) -> None:
        """Say what became of a call. A good answer is kept until it is `delivered`; else a retry is a new call.

        Args:
            key: which call.
            outcome: the answer, or why there is none.
        """
        self._flights[key].land(outcome.fresh() if isinstance(outcome, Refusal) else outcome)
        if isinstance(outcome, Answer) and outcome.status < _FIRST_ERROR_STATUS:
            self._keep(key, len(outcome.body))
        else:
            del self._flights[key]

    def leave(self, key: Hashable) -> None:
        """Say that nobody makes the call now. Its place is kept for a retry."""
        self._flights[key].leave()
        self._keep(key, 0)

    def delivered(self, key: Hashable) -> None:
        """Say that the answer has reached somebody."""
        if key in self._kept:
            self._drop(key)

    def _board(self, key: Hashable, passenger: Passenger) -> Flight:
        """The flight of this key; its leader is the passenger, where there is no other."""
        self._forget()
        flight = self._flights.get(key)
        if flight is None:
            flight = Flight(passenger, self._clock())
        elif flight.leader is None and flight.outcome is None:
            self._drop(key)
            if self._clock() - flight.since > KEEP_SECONDS:
                flight = Flight(passenger, self._clock())  # a place is for a retry, and not for ever
            flight.leader, flight.again = passenger, True
        self._flights[key] = flight
        return flight

    async def _lead(
        self, key: Hashable, flight: Flight, passenger: Passenger, lead: Callable[[float | None], Awaitable[Answer]]
    ) -> Answer:
        passenger.flight, passenger.joined = key, False
        try:
            answer = await lead(flight.since if flight.again else None)
        except asyncio.CancelledError:
            if flight.outcome is None and flight.leader is passenger:
                self.leave(key)
            raise
        except Refusal as refusal:
            self.land(key, refusal)
            raise
        except Exception:
            self.land(key, failed())
            raise
        self.land(key, answer)
        return answer

    def _keep(self, key: Hashable, size: int) -> None:
        size += PLACE_BYTES + len(str(key))
        self._kept[key] = (self._clock() + KEEP_SECONDS, size)
        self._kept_bytes += size
        self._forget()

    def _forget(self) -> None:
        """Let go of what is too old, or too much."""
        while self._kept:
            key, (until, _) = next(iter(self._kept.items()))
            if until > self._clock() and self._kept_bytes <= KEEP_BYTES:
                return
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        _, size = self._kept.pop(key)
        self._kept_bytes -= size
        del self._flights[key]
