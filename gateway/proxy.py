"""The data path, as one readable story: route, read the body, admit, sign, call, answer, record."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter, time

from aiohttp import HttpVersion11, web

from gateway import errors, reply
from gateway.body import read_body
from gateway.config import Endpoint as EndpointSettings
from gateway.errors import Refusal, leaving, stopped
from gateway.limiter import Limiter, Permit, QueueFull
from gateway.models import Answer, Call, Headers, Operation, Record
from gateway.reply import Pipe
from gateway.roster import Roster
from gateway.router import NO_ROUTE, Match, Router
from gateway.sagemaker import protocol
from gateway.sagemaker.credentials import CredentialSource
from gateway.sagemaker.parts import Parts, PartsError, asked_of_the_model, wants_frames
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
    stream: tuple[Parts, Pipe] | None


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
            answer = visit.refuse(refusal)
        except asyncio.CancelledError:
            if not self._roster.stopped or request.transport is None:
                if not visit.orphaned:
                    self._end(visit, CALLER_GONE, None)
                raise
            answer = visit.refuse(leaving())  # cut off while the body was read, and still there
        except Exception as error:  # noqa: BLE001 - a bug of ours: the caller gets an answer, the log a traceback
            self._report("the data path failed", error)
            answer = visit.refuse(Refusal(errors.INTERNAL, "The gateway failed on this request; its log says why."))
        if visit.response is None:
            try:
                visit.response = await reply.send_whole(
                    request, answer, visit.marks(answer), close=self._roster.draining
                )
            except (asyncio.CancelledError, ConnectionError):
                self._end(visit, CALLER_GONE, answer)
                raise
        elif visit.reason is not None:
            reply.cut_off(request)  # its head was out already when it went wrong
        if not visit.orphaned:
            self._end(visit, visit.response.status, answer)
        return visit.response

    async def _serve(self, request: web.BaseRequest, visit: Visit) -> Answer:
        match = self._route(request)
        endpoint = self._endpoints[match.endpoints[0]]
        visit.endpoint, visit.operation = endpoint.name, match.operation.name
        if self._roster.draining:
            raise leaving()
        with self._roster.reading():
            order = await self._read(request, match.operation, endpoint)
        visit.bytes_in = len(order.body)
        permit = await self._admit(endpoint, visit) if match.operation.takes_permit else None
        if self._roster.stopped:
            if permit is not None:
                permit.release()
            raise leaving()
        call = asyncio.create_task(self._call(endpoint, permit, order, visit))
        self._roster.start(call)
        try:
            return await self._follow(request, visit, call, order.stream[1] if order.stream else None)
        except BaseException:
            if call.cancelled():
                raise stopped() from None
            if not call.done():
                if permit is not None:
                    permit.orphan()
                visit.orphaned = True
                call.add_done_callback(partial(self._end_orphan, visit))
            raise

    async def _read(self, request: web.BaseRequest, operation: Operation, endpoint: Endpoint) -> _Order:
        """What the caller wants, checked and whole."""
        stream = None
        items: Iterable[tuple[str, str]] = request.headers.items()
        if operation.streams:
            if request.version < HttpVersion11:
                raise Refusal(errors.BAD_REQUEST, "A stream needs HTTP/1.1: before it, a cut looks like an end.")
            parts = Parts(frames=wants_frames(request.headers))
            stream = parts, Pipe(parts)
            items = items if parts.frames else asked_of_the_model(request.headers)
        headers = protocol.request_headers(operation, items)
        limit = min(endpoint.settings.max_body_bytes, operation.max_body_bytes)
        body, digest = await read_body(request, limit=limit, seconds=self._body_seconds)
        return _Order(operation, headers, body, digest, stream)

    async def _follow(
        self, request: web.BaseRequest, visit: Visit, call: asyncio.Task[Answer], pipe: Pipe | None
    ) -> Answer:
        """The answer of the call; one in parts has been sent by then."""
        if pipe is None:
            return await asyncio.shield(call)
        call.add_done_callback(pipe.end)
        try:
            await asyncio.wait((pipe.head, call), return_when=asyncio.FIRST_COMPLETED)
            if not pipe.head.done():
                return await asyncio.shield(call)
            head = pipe.head.result()
            visit.bytes_out = 0
            visit.response = reply.open_parts(head, visit.marks(head), close=self._roster.draining)
            visit.bytes_out = await reply.send_parts(request, visit.response, pipe)
        except BaseException:
            pipe.abandon()
            raise
        return head

    def _route(self, request: web.BaseRequest) -> Match:
        match = self._router.match(request.rel_url.raw_path)
        if match is None:
            raise Refusal(errors.UNKNOWN_ROUTE, NO_ROUTE)
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

    async def _call(self, endpoint: Endpoint, permit: Permit | None, order: _Order, visit: Visit) -> Answer:
        """Run one call to its end. It owns the permit, and outlives its caller."""
        given_up = False
        try:
            answer = await self._send(self._sign(endpoint, order), order, visit)
            given_up = protocol.may_still_run(answer)
            return answer
        except Refusal as refusal:
            given_up = refusal.row is errors.TIMEOUT
            raise
        finally:
            given_up = given_up or (order.stream is not None and order.stream[0].timed_out)
            if permit is not None:
                if given_up and endpoint.settings.cooldown_seconds:
                    permit.cool()
                    asyncio.get_running_loop().call_later(endpoint.settings.cooldown_seconds, permit.release)
                else:
                    permit.release()

    def _sign(self, endpoint: Endpoint, order: _Order) -> Call:
        settings, operation = endpoint.settings, order.operation
        url, signer = endpoint.doors[operation.name]
        signature = signer.sign(order.headers, order.digest, self._credentials.current(), time())
        return Call(
            url=url,
            headers=(*order.headers, *signature),
            body=order.body,
            response_headers=operation.response_headers,
            max_response_bytes=settings.max_response_bytes,
            connect_seconds=CONNECT_SECONDS,
            timeout_seconds=settings.stream_timeout_seconds if operation.streams else settings.timeout_seconds,
        )

    async def _send(self, call: Call, order: _Order, visit: Visit) -> Answer:
        parts, pipe = order.stream or (None, None)
        started = perf_counter()
        try:
            answer = await self._upstream.send(call, pipe)
            visit.upstream = perf_counter() - started
            visit.aws_request_id = protocol.request_id(answer)
            visit.upstream_error = protocol.error_code(answer)
            if parts is not None and pipe is not None and pipe.head.done():
                parts.end()
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
            if parts is not None and parts.error is not None:
                visit.upstream_error = parts.error

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
        failure = stopped() if call.cancelled() else call.exception()
        if isinstance(failure, Refusal):
            visit.reason = failure.row.reason
        self._end(visit, CALLER_GONE, None if failure else call.result())

    def _report(self, message: str, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
