"""The data path, as one readable story: route, read the body, admit, sign, call, answer, record."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter, time

from aiohttp import web
from multidict import CIMultiDict

from gateway import errors
from gateway.body import read_body
from gateway.config import Endpoint as EndpointSettings
from gateway.errors import Refusal
from gateway.limiter import Limiter, Permit, QueueFull
from gateway.models import Answer, Call, Headers, Operation, Record
from gateway.roster import LEAVING, STOPPED, Roster
from gateway.router import Match, Router
from gateway.sagemaker import protocol
from gateway.sagemaker.credentials import CredentialSource
from gateway.sagemaker.signing import Signer
from gateway.turn import Turn
from gateway.upstream import Upstream
from gateway.visit import CALLER_GONE, Visit

CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """All that the data path needs of one endpoint, worked out once.

    Attributes:
        name: its key in the config.
        settings: its settings.
        limiter: its permits and its queue.
        doors: by operation name, where its calls go and who signs them.
    """

    name: str
    settings: EndpointSettings
    limiter: Limiter
    doors: Mapping[str, tuple[str, Signer]]


@dataclass(frozen=True, slots=True)
class _Order:
    """What a caller wants from SageMaker: all of a call but its signature, which has to be fresh at dispatch."""

    operation: Operation
    headers: Headers
    body: bytes
    digest: str


class Proxy:
    """Takes callers to endpoints, never more at once than these have room for.

    Args:
        router: which endpoints a path means.
        endpoints: the endpoints, by name.
        credentials: what calls are signed with.
        upstream: who sends them.
        hooks: who is told of each request once it is over.
        body_seconds: how long a caller may take to send a body.
        roster: who is here.
    """

    def __init__(
        self,
        *,
        router: Router,
        endpoints: Mapping[str, Endpoint],
        credentials: CredentialSource,
        upstream: Upstream,
        hooks: Iterable[Callable[[Record], None]],
        body_seconds: float,
        roster: Roster,
    ) -> None:
        self._router = router
        self._endpoints = endpoints
        self._credentials = credentials
        self._upstream = upstream
        self._hooks = tuple(hooks)
        self._body_seconds = body_seconds
        self._roster = roster

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever happens, it is recorded once."""
        self._roster.enter()
        visit = Visit.begin(request)
        try:
            answer = await self._serve(request, visit)
        except Refusal as refusal:
            answer = self._refuse(visit, refusal)
        except asyncio.CancelledError:
            if not self._roster.stopped or request.transport is None:
                if not visit.orphaned:
                    self._end(visit, CALLER_GONE, None)
                raise
            answer = self._refuse(visit, LEAVING)  # cut off while the body was read, and still there
        except Exception as error:  # noqa: BLE001 - a bug of ours: the caller gets an answer, the log a traceback
            self._report("the data path failed", error)
            answer = self._refuse(
                visit, Refusal(errors.INTERNAL, "The gateway failed on this request; its log says why.")
            )
        response = self._respond(visit, answer)
        try:
            await response.prepare(request)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            self._end(visit, CALLER_GONE, answer)
            raise
        self._end(visit, answer.status, answer)
        return response

    async def _serve(self, request: web.BaseRequest, visit: Visit) -> Answer:
        match = self._route(request)
        endpoint = self._endpoints[match.endpoints[0]]
        visit.endpoint, visit.operation = endpoint.name, match.operation.name
        if self._roster.draining:
            raise LEAVING
        headers = protocol.request_headers(match.operation, request.headers.items())
        with self._roster.reading():
            body, digest = await read_body(request, limit=endpoint.settings.max_body_bytes, seconds=self._body_seconds)
        visit.bytes_in = len(body)
        permit = await self._admit(endpoint, visit)
        if self._roster.stopped:
            permit.release()
            raise LEAVING
        order = _Order(match.operation, headers, body, digest)
        call = asyncio.create_task(self._call(endpoint, permit, order, visit))
        self._roster.start(call)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            if call.cancelled():
                raise STOPPED from None
            if not call.done():
                permit.orphan()
                visit.orphaned = True
                call.add_done_callback(partial(self._end_orphan, visit))
            raise

    def _route(self, request: web.BaseRequest) -> Match:
        match = self._router.match(request.rel_url.raw_path)
        if match is None:
            raise Refusal(
                errors.UNKNOWN_ROUTE,
                "No route or endpoint of the gateway's config has this path. Callers use "
                "POST /endpoints/{name}/invocations, or the path of a route; names are compared exactly.",
            )
        if request.method != "POST":
            raise Refusal(errors.BAD_METHOD, f"{request.method} is not taken here: use POST.", allow="POST")
        return match

    async def _admit(self, endpoint: Endpoint, visit: Visit) -> Permit:
        """A permit of the endpoint, now or when it is this caller's turn."""
        limiter = endpoint.limiter
        permit = limiter.acquire_nowait()
        if permit is not None:
            visit.queue = 0.0
            return permit
        turn: Turn[Permit] = Turn(limiter.leave)
        try:
            limiter.enqueue(turn)
        except QueueFull:
            raise Refusal(
                errors.QUEUE_FULL,
                f"All permits of endpoint {endpoint.name} are taken, and {limiter.waiting} callers wait already, "
                "as many as may. The call was not sent: try again later.",
            ) from None
        seconds = endpoint.settings.queue.timeout_seconds
        too_long = Refusal(
            errors.QUEUE_TIMEOUT,
            f"No instance of endpoint {endpoint.name} came free within {seconds:g} s. "
            "The call was not sent: try again later.",
        )
        joined = perf_counter()
        self._roster.turns.add(turn)
        try:
            return await turn.wait(seconds, too_long)
        finally:
            self._roster.turns.discard(turn)
            visit.queue = perf_counter() - joined

    async def _call(self, endpoint: Endpoint, permit: Permit, order: _Order, visit: Visit) -> Answer:
        """Run one call to its end. It owns the permit, and outlives its caller."""
        settings = endpoint.settings
        started = perf_counter()
        cooldown = 0.0
        dispatched = False
        try:
            url, signer = endpoint.doors[order.operation.name]
            signature = signer.sign(order.headers, order.digest, self._credentials.current(), time())
            call = Call(
                url=url,
                headers=(*order.headers, *signature),
                body=order.body,
                response_headers=order.operation.response_headers,
                max_response_bytes=settings.max_response_bytes,
                connect_seconds=CONNECT_SECONDS,
                timeout_seconds=settings.timeout_seconds,
            )
            dispatched = True
            answer = await self._upstream.send(call)
            visit.upstream = perf_counter() - started
            visit.aws_request_id = protocol.request_id(answer)
            visit.upstream_error = protocol.error_code(answer)
            if protocol.may_still_run(answer):
                cooldown = settings.cooldown_seconds
            return answer
        except Refusal as refusal:
            if refusal.row in (errors.TIMEOUT, errors.BROKEN):
                visit.upstream = perf_counter() - started
            if refusal.row is errors.TIMEOUT:
                cooldown = settings.cooldown_seconds
            raise
        except Exception as error:
            if not dispatched:
                raise
            self._report("a call failed", error)  # a bug of ours: who knows what the model saw
            raise Refusal(errors.BROKEN, "The gateway failed during the call. The model may have run.") from error
        finally:
            if cooldown:
                permit.cool()
                asyncio.get_running_loop().call_later(cooldown, permit.release)
            else:
                permit.release()

    @staticmethod
    def _refuse(visit: Visit, refusal: Refusal) -> Answer:
        visit.reason = refusal.row.reason
        return Answer(*refusal.wire(visit.request_id))

    def _end(self, visit: Visit, status: int, answer: Answer | None) -> None:
        """Tell the hooks. One that fails must not cost the caller an answer."""
        try:
            record = visit.record(status, answer)
            for hook in self._hooks:
                try:
                    hook(record)
                except Exception as error:  # noqa: BLE001
                    self._report("a hook failed", error)
        finally:
            self._roster.leave()

    def _end_orphan(self, visit: Visit, call: asyncio.Task[Answer]) -> None:
        failure = STOPPED if call.cancelled() else call.exception()
        if isinstance(failure, Refusal):
            visit.reason = failure.row.reason
        self._end(visit, CALLER_GONE, None if failure else call.result())

    def _respond(self, visit: Visit, answer: Answer) -> web.Response:
        headers = CIMultiDict(answer.headers)
        headers["Server"] = errors.PROXY_NAME
        headers["Server-Timing"] = (
            f"queue;dur={(visit.queue or 0.0) * 1000:.1f}, upstream;dur={(visit.upstream or 0.0) * 1000:.1f}"
        )
        headers["X-Request-Id"] = visit.request_id
        response = web.Response(status=answer.status, headers=headers, body=answer.body)
        if self._roster.draining:
            response.force_close()
        return response

    def _report(self, message: str, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
