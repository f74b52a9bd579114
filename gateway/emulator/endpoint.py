"""One endpoint: lets calls in, waits for their outcome no longer than the time limit, and has it all counted."""

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType

from gateway.emulator.deployment import Deployment
from gateway.emulator.faults import NO_FAULT, Fault, Faults
from gateway.emulator.fleet import NoCapacityError
from gateway.emulator.frames import Framer
from gateway.emulator.ledger import Call, Ledger
from gateway.emulator.outcome import SUCCESS, Answer, Failure, Invocation, Outcome
from gateway.emulator.sessions import Sessions
from gateway.emulator.settings import EndpointSettings
from gateway.emulator.stream import LiveStream
from gateway.emulator.traffic import Destination, Traffic
from gateway.emulator.work import Exchange, Pipe


class ThrottledError(Exception):
    """More calls are open at this endpoint than it lets in."""


class Endpoint:
    """The front of some fleets. It owns the caller's wait, not the work: that belongs to the instance, and runs on.

    Args:
        name: Its name.
        settings: How it was deployed.
        deployments: Its fleets, by the name of the variant or inference component.
        ledger: Counts what happens at all of them.
        chance: Deals calls to variants.
        wall_clock: The time by which sessions expire, with a time zone.

    Attributes:
        describe_throttled: Whether describing it is refused with ThrottlingException.
        describe_denied: Whether describing it is refused with AccessDeniedException.
    """

    def __init__(
        self,
        name: str,
        settings: EndpointSettings,
        *,
        deployments: Mapping[str, Deployment],
        ledger: Ledger,
        chance: random.Random,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self.settings = settings
        self.faults = Faults(ledger)
        self.deployments = deployments
        self.describe_throttled = settings.describe_throttled
        self.describe_denied = settings.describe_denied
        self._ledger = ledger
        self._sessions = Sessions(wall_clock)
        has_components = bool(settings.inference_components)
        self.traffic = Traffic(name, deployments, sessions=self._sessions, has_components=has_components, chance=chance)

    async def call(
        self, invocation: Invocation, to: Destination, *, arrived_at: float, fault: Fault = NO_FAULT
    ) -> Outcome:
        """Hand a call to a fleet and wait for its outcome.

        Args:
            invocation: What the container is sent.
            to: Where it goes.
            arrived_at: When the call arrived, in seconds of the event loop's clock; the time limit counts from it.
            fault: What is to happen to it.

        Raises:
            ThrottledError: Too many calls are open.
            NoCapacityError: There is no instance.
        """
        ledger = to.deployment.ledger
        call = self._admit(to.deployment)
        work = Exchange(invocation)
        loop, deadline = asyncio.get_running_loop(), arrived_at + self.settings.timeout_seconds
        timer = loop.call_at(deadline, work.deliver, Failure.TIMED_OUT)
        try:
            if fault.delay_seconds:
                await asyncio.wait((work.outcome,), timeout=fault.delay_seconds)
            if loop.time() >= deadline:  # the timer may be due and yet to come
                work.deliver(Failure.TIMED_OUT)
            instance = None if work.outcome.done() else to.submit(call, work)
            outcome = await work.outcome
        except NoCapacityError:
            ledger.no_capacity(call)
            raise
        except asyncio.CancelledError:
            ledger.hung_up(call)
            raise
        finally:
            timer.cancel()
        if instance is None or outcome is Failure.TIMED_OUT:
            ledger.timed_out(call)
        elif isinstance(outcome, Answer) and outcome.status in SUCCESS:
            self._sessions.heed(outcome.headers, to.deployment, instance)
            ledger.answered(call)
        else:
            ledger.model_error(call)
        return outcome

    async def open_stream(
        self, invocation: Invocation, to: Destination, *, arrived_at: float, fault: Fault = NO_FAULT
    ) -> LiveStream | Outcome:
        """Hand a call to a fleet, and wait for the first chunk of the answer, or for an outcome without one.

        Arguments and exceptions are those of `call`. A stream counts as open until it is left.
        """
        ledger = to.deployment.ledger
        call = self._admit(to.deployment)
        pipe = Pipe(invocation)
        deadline = arrived_at + self.settings.stream_timeout_seconds
        try:
            async with _Waiting(ledger, call, deadline):
                await asyncio.sleep(fault.delay_seconds)
                instance = to.submit(call, pipe)
                first = await pipe.get()
        except TimeoutError:
            pipe.abandon()
            return Failure.TIMED_OUT
        except asyncio.CancelledError:
            pipe.abandon()
            raise
        if isinstance(first, bytes) or (isinstance(first, Answer) and first.status in SUCCESS):
            stream = LiveStream(
                pipe,
                first,
                framer=Framer(self.settings.framing),
                fault=fault,
                call=call,
                ledger=ledger,
                deadline=deadline,
            )
            self._sessions.heed(stream.headers, to.deployment, instance)
            return stream
        ledger.model_error(call)
        return first

    def _admit(self, deployment: Deployment) -> Call:
        limit = self.settings.throttle_above
        if deployment.is_full or (limit is not None and self._ledger.open >= limit):
            deployment.ledger.throttled()
            raise ThrottledError
        return deployment.ledger.arrived()


class _Waiting:
    """Wait no longer than the time limit or the caller's patience, and have it counted whichever ends first."""

    __slots__ = ("_call", "_ledger", "_timeout")

    def __init__(self, ledger: Ledger, call: Call, deadline: float) -> None:
        self._ledger = ledger
        self._call = call
        self._timeout = asyncio.timeout_at(deadline)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            self._ledger.timed_out(self._call)
            raise
        if isinstance(error, NoCapacityError):
            self._ledger.no_capacity(self._call)
        elif isinstance(error, asyncio.CancelledError):
            self._ledger.hung_up(self._call)
