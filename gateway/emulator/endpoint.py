"""One endpoint: lets calls in, waits for their outcome no longer than the time limit, and has it all counted."""

import asyncio
from collections.abc import Mapping

from gateway.emulator.container import Answer, Failure, Invocation
from gateway.emulator.counters import Ledger
from gateway.emulator.fleet import Fleet
from gateway.emulator.instance import Outcome
from gateway.emulator.settings import EndpointSettings

SUCCESS = range(200, 300)


class ThrottledError(Exception):
    """More calls are open at this endpoint than it lets in."""


class Endpoint:
    """The front of a fleet. It owns the caller's wait, not the work: that belongs to the instance, and runs on."""

    def __init__(self, settings: EndpointSettings, *, fleet: Fleet, ledger: Ledger) -> None:
        self.settings = settings
        self._ledger = ledger
        self._fleet = fleet

    async def call(self, headers: Mapping[str, str], body: bytes, *, arrived_at: float) -> Outcome:
        """Hand a call to the fleet and wait for its outcome.

        Args:
            headers: What is forwarded to the container.
            body: The body as it came.
            arrived_at: When the call arrived, in seconds of the event loop's clock; the time limit counts from it.

        Raises:
            ThrottledError: Too many calls are open.
        """
        limit = self.settings.throttle_above
        if limit is not None and self._ledger.open >= limit:
            self._ledger.throttled()
            raise ThrottledError
        call = self._ledger.arrived()
        try:
            async with asyncio.timeout_at(arrived_at + self.settings.timeout_seconds):
                outcome = await self._fleet.submit(call, Invocation(headers, body))
        except TimeoutError:
            self._ledger.timed_out(call)
            return Failure.TIMED_OUT
        except asyncio.CancelledError:
            self._ledger.hung_up(call)
            raise
        if isinstance(outcome, Answer) and outcome.status in SUCCESS:
            self._ledger.answered(call)
        else:
            self._ledger.model_error(call)
        return outcome

    async def close(self) -> None:
        """Drop all work: the emulator stops."""
        await self._fleet.close()
