"""One call to an endpoint, from its signature to the last byte of its answer. It owns its permit."""

import asyncio
from collections.abc import Callable
from time import perf_counter, time
from typing import Self

from gateway import errors
from gateway.asked import Asked
from gateway.endpoint import Endpoint
from gateway.errors import Refusal, keyless, leaving
from gateway.limiter import Permit
from gateway.models import Answer, Call
from gateway.reply import Pipe
from gateway.router import Match
from gateway.sagemaker import protocol
from gateway.sagemaker.parts import Parts, PartsError
from gateway.sagemaker.signing import Credentials
from gateway.upstream import Upstream
from gateway.value import value
from gateway.visit import Visit

OK = 200
CONNECT_ATTEMPTS = 2
CONNECT_SECONDS = 5.0
IMPATIENT_SECONDS = 2.0
"""How long a connection may take where there is another endpoint to go to; no longer than the caller waits."""
LEAST_SECONDS = 0.1


@value
class Order:
    """What a caller wants from SageMaker: all of a call but its signature, which has to be fresh at dispatch.

    Attributes:
        match: who may serve, and what is asked for.
        asked: what their headers say.
        body: the whole body.
        digest: its SHA-256, in lower-case hexadecimal.
    """

    match: Match
    asked: Asked
    body: bytes
    digest: str


@value
class Stream:
    """The answer of one call, in parts.

    Attributes:
        parts: what becomes of them on the way.
        pipe: the way.
    """

    parts: Parts
    pipe: Pipe

    def end(self) -> None:
        """Take that no more comes.

        Raises:
            PartsError: it has begun, and is not whole.
        """
        if self.pipe.head.done():
            self.parts.end()


@value
class Attempt:
    """One try to have an endpoint take a call.

    Attributes:
        endpoint: where it goes.
        permit: the right to it, which is given back with the last byte of a 200, else at its end; None where the
            operation needs none.
        stream: takes the answer in parts; None where it comes whole.
        connect_attempts: how often a connection is tried for.
        connect_seconds: how long each time.
    """

    endpoint: Endpoint
    permit: Permit | None
    stream: Stream | None
    connect_attempts: int
    connect_seconds: float

    @classmethod
    def to(cls, endpoint: Endpoint, permit: Permit | None, parts: Parts | None, patience: float | None) -> Self:
        """A try; `patience` is how long the caller is going to wait where there is another endpoint, which is the next.

        Where there is none it is None, and a connection is tried for twice.
        """
        stream = None if parts is None else Stream(parts, Pipe(parts))
        if patience is None:
            return cls(endpoint, permit, stream, CONNECT_ATTEMPTS, CONNECT_SECONDS)
        return cls(endpoint, permit, stream, 1, max(LEAST_SECONDS, min(IMPATIENT_SECONDS, patience)))


class Dispatcher:
    """Makes calls.

    Args:
        upstream: who sends them.
        report: is told of a bug of ours.
    """

    def __init__(self, upstream: Upstream, report: Callable[[str, Exception], None]) -> None:
        self._upstream = upstream
        self._report = report

    async def call(self, attempt: Attempt, order: Order, visit: Visit) -> Answer:
        """Run one call to its end.

        Args:
            attempt: where it goes, and how.
            order: what is asked for.
            visit: what becomes known of it.

        Raises:
            Refusal: there is no answer, or none that is whole.
        """
        given_up = False
        endpoint, stream = attempt.endpoint, attempt.stream
        if stream is not None:
            stream.pipe.head.add_done_callback(lambda _: endpoint.health.reached())  # its end may be minutes away
        try:
            answer = await self._ask(attempt, order, visit)
            if protocol.lacks_capacity(answer):
                endpoint.health.no_capacity()
            else:
                endpoint.health.reached()
            given_up = protocol.may_still_run(answer)
            return answer
        except Refusal as refusal:
            given_up = refusal.row is errors.TIMEOUT
            if refusal.row is errors.UNREACHABLE:
                endpoint.health.unreachable()
            elif refusal.row is errors.TIMEOUT:
                endpoint.health.reached()
            raise
        finally:
            given_up = given_up or (stream is not None and stream.parts.timed_out)
            _give_back(attempt.permit, endpoint.settings.cooldown_seconds if given_up else 0)

    async def _ask(self, attempt: Attempt, order: Order, visit: Visit) -> Answer:
        """SageMaker's answer; where it does not take the keys, that to one more try with others."""
        credentials = attempt.endpoint.credentials
        keys, started = credentials.current(), perf_counter()
        answer = await self._send(_sign(attempt, order, keys, visit), attempt, visit, started)
        if not protocol.keys_refused(answer):
            return answer
        try:
            keys = await credentials.renew(keys)
        except asyncio.CancelledError:
            raise leaving() from None  # cut off, and no model has seen it
        if visit.orphaned:
            raise keyless()  # nobody is there to want another, and no model has seen this one
        again = _sign(attempt, order, keys, visit, perf_counter() - started)
        answer = await self._send(again, attempt, visit, started)
        if protocol.keys_refused(answer):
            credentials.reject(keys)
            raise keyless()
        return answer

    async def _send(self, call: Call, attempt: Attempt, visit: Visit, began: float) -> Answer:
        """SageMaker's answer to one signature. The permit is held since `began`."""
        stream, permit, started = attempt.stream, attempt.permit, perf_counter()

        def connected() -> None:
            visit.called = True
            attempt.endpoint.health.connected()

        def answered(status: int) -> None:
            now = perf_counter()
            visit.upstream = now - started
            if status == OK and permit is not None:
                attempt.endpoint.pace.observe(now - began)
                permit.release()  # at once: the instance idles

        try:
            sink = stream.pipe if stream else None
            answer = await self._upstream.send(call, sink, connected=connected, answered=answered)
            visit.aws_request_id = protocol.request_id(answer)
            visit.upstream_error = protocol.error_code(answer)
            if stream is not None:
                visit.upstream = perf_counter() - started
                stream.end()
            return answer
        except PartsError as error:
            raise Refusal(errors.BROKEN, f"{error} The model has run.") from error
        except Refusal as refusal:
            if refusal.row is not errors.UNREACHABLE:
                visit.upstream = perf_counter() - started
            raise
        except Exception as error:
            self._report("a call failed", error)  # a bug of ours: who knows what the model saw
            raise Refusal(errors.BROKEN, "The gateway failed during the call. The model may have run.") from error
        finally:
            if stream is not None and stream.parts.error is not None:
                visit.upstream_error = stream.parts.error


def _give_back(permit: Permit | None, cooldown_seconds: float) -> None:
    if permit is None or not permit.held:
        return  # it went to the next with the last byte of the answer
    if cooldown_seconds:
        permit.cool()
        asyncio.get_running_loop().call_later(cooldown_seconds, permit.release)
    else:
        permit.release()


def _sign(attempt: Attempt, order: Order, keys: Credentials, visit: Visit, spent: float = 0.0) -> Call:
    operation = order.match.operation
    door = attempt.endpoint.doors[operation.name]
    headers = order.asked.headers
    if door.fixed:
        headers = (*door.fixed, *(header for header in headers if header not in door.fixed))
    return Call(
        url=door.url,
        headers=(*headers, *door.signer.sign(headers, order.digest, keys, time())),
        body=order.body,
        response_headers=operation.response_headers,
        max_response_bytes=door.max_response_bytes,
        connect_attempts=attempt.connect_attempts,
        connect_seconds=attempt.connect_seconds,
        timeout_seconds=door.timeout_seconds - spent,
        urgent=bool(visit.queue),  # whoever waited for a permit has an instance wait
    )
