"""The data path, as one readable story: route, read the body, admit, call, answer, record."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from aiohttp import hdrs, web

from gateway import errors, reply
from gateway.admission import Admission
from gateway.asked import read_headers
from gateway.balance import Balance
from gateway.body import body_at_hand, check_size, read_body
from gateway.buffers import Buffers, Reservation
from gateway.callers import Caller, Callers
from gateway.dispatch import Attempt, Dispatcher, Order
from gateway.endpoint import Endpoint
from gateway.errors import Refusal, failed, leaving, stopped
from gateway.flights import Flights
from gateway.limiter import Permit
from gateway.models import Answer, Record
from gateway.outcome import UNSEEN, final, outcome_of, unseen_of
from gateway.reply import Pipe
from gateway.request import Request, Sent
from gateway.roster import Roster
from gateway.router import Router
from gateway.sagemaker.parts import Parts
from gateway.upstream import Upstream
from gateway.visit import CALLER_GONE, Visit, report


@dataclass(frozen=True, slots=True)
class _Places:
    """Where callers can be led; a request is led by one of these from its path to its answer."""

    router: Router
    endpoints: Mapping[str, Endpoint]


class Proxy:
    """Takes callers to endpoints, never more at once than these have room for.

    Args:
        router: which endpoints a request means.
        endpoints: the endpoints, by name.
        upstream: who sends calls.
        tell: is told of each request once it is over.
        body_seconds: how long a caller may take to send a body.
        roster: who is here.
        join_retries: whether the retries of an SDK join its first attempt.
        buffers: the memory for callers' bodies.
        callers: who may call.
    """

    def __init__(
        self,
        *,
        router: Router,
        endpoints: Mapping[str, Endpoint],
        upstream: Upstream,
        tell: Callable[[Record], None],
        body_seconds: float,
        roster: Roster,
        join_retries: bool,
        buffers: Buffers,
        callers: Callers,
    ) -> None:
        self._buffers = buffers
        self._flights = Flights()
        self._join_retries = join_retries
        self._callers = callers
        self._balances: dict[str, Balance] = defaultdict(Balance)
        self.replace(router, endpoints)
        self._dispatcher = Dispatcher(upstream, report)
        self._tell = tell
        self._body_seconds = body_seconds
        self._roster = roster

    def replace(self, router: Router, endpoints: Mapping[str, Endpoint]) -> None:
        """From now on these routes and endpoints; who was led to others goes on there."""
        self._places = _Places(router, endpoints)
        for route in [route for route in self._balances if route not in router.names]:
            del self._balances[route]

    def is_full(self) -> bool:
        """Whether somebody waits for a permit."""
        return bool(self._roster.turns)

    async def handle(self, request: Request) -> web.StreamResponse | Sent:
        """Answer one request; whatever happens, it is recorded once."""
        self._roster.enter()
        visit = Visit.begin(request)
        try:
            answer = await self._serve(request, visit)
        except Refusal as refusal:
            answer = visit.refuse(refusal)
        except asyncio.CancelledError:
            if not self._roster.stopped or request.transport is None:
                self._end_without_caller(visit, None)
                raise
            answer = visit.refuse(leaving())  # cut off while the body was read, and still there
        except Exception as error:  # noqa: BLE001 - a bug of ours: the caller gets an answer, the log a traceback
            report("the data path failed", error)
            answer = visit.refuse(failed())
        if visit.orphaned:
            self._end_without_caller(visit, answer)
            raise asyncio.CancelledError  # there is nobody to tell
        if visit.response is None:
            try:
                visit.response = await reply.send_whole(
                    request, answer, visit.marks(answer), close=self._roster.draining
                )
            except (asyncio.CancelledError, ConnectionError):
                self._end(visit, CALLER_GONE, answer)
                raise asyncio.CancelledError from None
            except Exception as error:  # noqa: BLE001 - likewise, but nothing of it can be written
                report("an answer could not be written", error)
                reply.cut_off(request)
                self._end(visit, failed().row.status, None)
                raise asyncio.CancelledError from None
        elif visit.reason is not None:
            reply.cut_off(request)  # its head was out already when it went wrong
        self._end(visit, visit.response.status, answer)
        return visit.response

    async def _serve(self, request: Request, visit: Visit) -> Answer:
        caller = self._callers.identify(request.headers)  # before routes: strangers are not told which there are
        places = self._places
        content = None if caller.proven else await self._read(request, visit, caller, places.router.max_body_bytes)
        visit.caller = caller.name
        match = places.router.find(request.method, visit.path)
        visit.endpoint, visit.operation = match.endpoints[0], match.operation.name
        caller.check_route(match.route)
        asked = read_headers(request, match.operation)
        joins = self._join_retries and asked.invocation_id is not None and not match.operation.streams
        if self._roster.draining and not joins:
            raise leaving()
        match = places.router.narrow(match, asked.headers)
        # Who asks before sending a body is told before, where it is certain; a retry may have a place.
        if hdrs.EXPECT in request.headers and asked.invocation_id is None:
            Admission(match, places.endpoints, self._balances[match.route], self._roster).check()
        body, digest = content or await self._read(request, visit, caller, match.max_body_bytes)
        check_size(len(body), match.max_body_bytes)
        order = Order(match, asked, body, digest)
        if not joins:
            return await self._make(request, visit, order, places.endpoints)
        make = partial(self._make, request, visit, order, places.endpoints)
        key = asked.invocation_id, caller.name, match.route, match.operation.name, digest, asked.headers, asked.patience
        if self._roster.draining and not self._flights.under_way(key):
            raise leaving()  # another replica may run it; what runs here it would run twice
        return await self._flights.fly(key, visit, make)

    async def _read(self, request: Request, visit: Visit, caller: Caller, max_bytes: int) -> tuple[bytes, str]:
        """The body and its digest; a caller who has signed is proven by them."""
        visit.memory = memory = Reservation(self._buffers)
        found = body_at_hand(request, limit=max_bytes, memory=memory)
        if found is None:
            with self._roster.reading():
                found = await read_body(request, limit=max_bytes, seconds=self._body_seconds, memory=memory)
        body, digest = found
        visit.bytes_in = len(body)
        if not caller.proven:
            caller.check_signature(
                method=request.method, target=request.raw_path, headers=request.headers, body_sha256=digest
            )
        return body, digest

    async def _make(
        self,
        request: Request,
        visit: Visit,
        order: Order,
        endpoints: Mapping[str, Endpoint],
        since: float | None = None,
    ) -> Answer:
        """The answer of a call, by whichever endpoint takes it."""
        match, limit = order.match, order.asked.patience
        balance = self._balances[match.route]
        admission = Admission(match, endpoints, balance, self._roster, since=since, limit=limit)
        outcome: Answer | Refusal | None = None  # of the last call, which no model has seen
        while True:
            try:
                endpoint, permit = await admission.admit()
            except Refusal as refusal:
                if outcome is not None and refusal.row is errors.QUEUE_FULL:
                    return final(outcome)
                visit.go_on(admission.failovers)
                raise
            finally:
                visit.queue = admission.waited
            visit.go_on(admission.failovers)
            visit.endpoint = endpoint.name
            frames = order.asked.frames
            parts = None if frames is None else Parts(frames=frames)
            attempt = Attempt.to(endpoint, permit, parts, admission.patience)
            outcome = await self._attempt(request, visit, order, attempt)
            unseen = unseen_of(outcome)
            if visit.orphaned and unseen is not None:
                visit.forsake(outcome)
                raise asyncio.CancelledError
            if unseen is None or not admission.pass_over(endpoint, unseen, visit.upstream_error):
                return final(outcome)

    async def _attempt(self, request: Request, visit: Visit, order: Order, attempt: Attempt) -> Answer | Refusal:
        """What becomes of one call to one endpoint; a refusal is of a call that no model has seen."""
        if self._roster.stopped:
            if attempt.permit is not None:
                attempt.permit.release()
            raise leaving()
        try:
            if attempt.stream is None:
                return await self._run(request, visit, order, attempt)
            return await self._follow(request, visit, order, attempt, attempt.stream.pipe)
        except Refusal as refusal:
            if refusal.row not in UNSEEN:
                raise
            return refusal

    async def _run(self, request: Request, visit: Visit, order: Order, attempt: Attempt) -> Answer:
        """The whole answer of a call. If the caller hangs up, it goes on without one, in this very task."""

        def orphan() -> None:
            visit.orphaned = True
            if attempt.permit is not None and attempt.permit.held:
                attempt.permit.orphan()

        request.on_hang_up = orphan
        task = request.task
        self._roster.calls.add(task)
        try:
            return await self._dispatcher.call(attempt, order, visit)
        except asyncio.CancelledError:
            raise _cut_off(visit, attempt.permit) from None
        finally:
            self._roster.calls.discard(task)
            request.on_hang_up = None

    async def _follow(self, request: Request, visit: Visit, order: Order, attempt: Attempt, pipe: Pipe) -> Answer:
        """The head of an answer in parts, which have been sent by then; or a whole answer, where it is no stream."""
        call = asyncio.create_task(self._dispatcher.call(attempt, order, visit))
        self._roster.start(call)
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
            if call.cancelled():
                raise _cut_off(visit, attempt.permit) from None
            if not call.done():
                if attempt.permit is not None:
                    attempt.permit.orphan()
                visit.orphaned, visit.goes_on = True, call
            raise
        return head

    def _end(self, visit: Visit, status: int, answer: Answer | None) -> None:
        """The request is over: have it told, and give back what it had."""
        if visit.flight is not None and status != CALLER_GONE:
            self._flights.delivered(visit.flight)
        try:
            self._tell(visit.record(status, answer))
        finally:
            if visit.memory is not None:
                visit.memory.release()
            self._roster.leave()

    def _end_without_caller(self, visit: Visit, answer: Answer | None) -> None:
        """Nobody is there to be told. What became of the call is recorded nonetheless, a stream's at its end."""
        if visit.goes_on is None:
            self._end(visit, CALLER_GONE, answer)
        else:
            visit.goes_on.add_done_callback(partial(self._end_stream, visit))

    def _end_stream(self, visit: Visit, call: asyncio.Task[Answer]) -> None:
        outcome = outcome_of(call)
        if isinstance(outcome, Refusal):
            visit.refuse(outcome)
        self._end(visit, CALLER_GONE, outcome if isinstance(outcome, Answer) else None)


def _cut_off(visit: Visit, permit: Permit | None) -> Refusal:
    """What becomes of a call that was cut off. One whose task had not begun has not given its permit back."""
    if permit is not None and permit.held:
        permit.release()
    return stopped() if visit.called else leaving()
