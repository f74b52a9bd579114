"""One endpoint: lets calls in, waits for their outcome no longer than the time limit, and has it all counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.emulator.backlog import Backlog
from gateway.emulator.container import SUCCESS, Answer, Failure, Invocation, Outcome
from gateway.emulator.faults import NO_FAULT, Fault, Faults
from gateway.emulator.fleet import Fleet, NoCapacityError
from gateway.emulator.frames import Framer
from gateway.emulator.ledger import Call, Ledger
from gateway.emulator.settings import EndpointSettings
from gateway.emulator.stream import LiveStream
from gateway.emulator.work import Exchange, Pipe


class ThrottledError(Exception):
    """More calls are open at this endpoint than it lets in."""


class Endpoint:
    """The front of a fleet. It owns the caller's wait, not the work: that belongs to the instance, and runs on."""

    def __init__(self, settings: EndpointSettings, *, fleet: Fleet, ledger: Ledger) -> None:
        self.settings = settings
        self.faults = Faults(ledger)
        self._ledger = ledger
        self.fleet = fleet
        self.backlog = Backlog(capacity=lambda: fleet.capacity, submit=fleet.submit, ledger=ledger)

    async def call(self, invocation: Invocation, *, arrived_at: float, fault: Fault = NO_FAULT) -> Outcome:
        """Hand a call to the fleet and wait for its outcome.

        Args:
            invocation: What the container is sent.
            arrived_at: When the call arrived, in seconds of the event loop's clock; the time limit counts from it.
            fault: What is to happen to it.

        Raises:
            ThrottledError: Too many calls are open.
            NoCapacityError: There is no instance.
        """
        call = self._admit()
        work = Exchange(invocation)
        try:
            async with self._waiting(call, arrived_at + self.settings.timeout_seconds):
                await asyncio.sleep(fault.delay_seconds)
                self.fleet.submit(call, work)
                outcome = await work.outcome
        except TimeoutError:
            return Failure.TIMED_OUT
        if isinstance(outcome, Answer) and outcome.status in SUCCESS:
            self._ledger.answered(call)
        else:
            self._ledger.model_error(call)
        return outcome

    async def open_stream(
        self, invocation: Invocation, *, arrived_at: float, fault: Fault = NO_FAULT
    ) -> LiveStream | Outcome:
        """Hand a call to the fleet, and wait for the first chunk of the answer, or for an outcome without one.

        Arguments and exceptions are those of `call`. A stream counts as open until it is left.
        """
        call = self._admit()
        pipe = Pipe(invocation)
        deadline = arrived_at + self.settings.stream_timeout_seconds
        try:
            async with self._waiting(call, deadline):
                await asyncio.sleep(fault.delay_seconds)
                self.fleet.submit(call, pipe)
                first = await pipe.get()
        except TimeoutError:
            pipe.abandon()
            return Failure.TIMED_OUT
        except asyncio.CancelledError:
            pipe.abandon()
            raise
        if isinstance(first, bytes) or (isinstance(first, Answer) and first.status in SUCCESS):
            return LiveStream(
                pipe,
                first,
                framer=Framer(self.settings.framing),
                fault=fault,
                call=call,
                ledger=self._ledger,
                deadline=deadline,
            )
        self._ledger.model_error(call)
        return first

    async def close(self) -> None:
        """Drop all work: the emulator stops."""
        await self.backlog.close()
        await self.fleet.close()

    def _admit(self) -> Call:
        limit = self.settings.throttle_above
        if limit is not None and self._ledger.open >= limit:
            self._ledger.throttled()
            raise ThrottledError
        return self._ledger.arrived()

    @asynccontextmanager
    async def _waiting(self, call: Call, deadline: float) -> AsyncIterator[None]:
        """Wait no longer than the time limit or the caller's patience, and have it counted whichever ends first."""
        try:
            async with asyncio.timeout_at(deadline):
                yield
        except TimeoutError:
            self._ledger.timed_out(call)
            raise
        except NoCapacityError:
            self._ledger.no_capacity(call)
            raise
        except asyncio.CancelledError:
            self._ledger.hung_up(call)
            raise
