"""The listener: slow heads, crowds, callers that do not read; bounded, told and counted (faults 18, 19 and 21)."""

import asyncio
import gc
import logging
from collections import deque
from contextlib import AsyncExitStack, suppress
from typing import Any, cast

import pytest
from aiohttp import StreamReader, web
from aiohttp.http_parser import HttpRequestParser

from gateway.listener.limits import Crowd, Limits
from gateway.models import Connections, Record
from gateway.request import Whole
from tests.doorstep import CALL, CHUNKED, GET, LIVEZ, SERVED, Gate, connected, listening, open_doorstep, post
from tests.doubles import TimerLoop
from tests.waiting import until

PATIENT = 60.0


@pytest.mark.parametrize(
    "parts",
    [[], [b"GE"], [b"GET / HTTP/1.1\r\n"], [b"GET / HTTP/1.1\r\nHost: a\r\n"], [GET[:-1]]],
    ids=["nothing", "half a method", "a line", "a header", "all but a byte"],
)
async def test_a_head_that_does_not_come_is_not_waited_for(parts: list[bytes]) -> None:
    """Row 19: slow headers and empty connections are closed at the header timeout, however long others may idle."""
    async with listening(head_seconds=0.05, keepalive_seconds=PATIENT) as listener:
        async with connected(listener.url) as caller:
            await caller.send(*parts)
            rest = await caller.rest()
        now = listener.statistics()

    assert (rest, now.open, now.slow) == (b"", 0, 1)


async def test_who_sends_no_head_takes_nothing_from_others() -> None:
    """Row 19: with both kinds waiting to be closed a call is served, at once and after; they count as slow."""
    async with open_doorstep(listen={"header_timeout_seconds": 1}) as door, AsyncExitStack() as stack:
        empty, slow = [await stack.enter_async_context(connected(door.gateway.url)) for _ in range(2)]
        await slow.send(CALL[:-5])
        during = await door.outcome(CALL)
        rests = [await empty.rest(), await slow.rest()]
        after = await door.outcome(CALL)
        metrics = await door.metrics()

    assert (during, rests, after, len(door.server.requests)) == (SERVED, [b"", b""], SERVED, 2)
    assert metrics["connections_closed_total", frozenset({"listen", "slow"})] == 2


@pytest.mark.parametrize(
    ("request_", "left"),
    [(post(b"Content-Length: 4", body=b"body"), set()), (post(CHUNKED, body=b"0\r\n\r\n"), {HttpRequestParser})],
    ids=["plain", "parsed"],
)
async def test_an_idle_connection_holds_no_more_than_it_needs(request_: bytes, left: set[type]) -> None:
    """Row 21: what a body is read by is a kilobyte for each of thousands that idle, and so are a parser and a deque."""
    async with listening() as listener, connected(listener.url) as caller:
        await caller.send(request_)
        await caller.answer()
        await until(lambda: listener.statistics().idle == 1)
        (connection,) = listener.connections
        held = {type(each) for each in gc.get_referents(connection)}

    assert held & {StreamReader, Whole, HttpRequestParser, deque} == left


async def test_a_new_connection_has_its_time_and_then_its_head_has() -> None:
    """Row 19: who connects ahead, as balancers do, has as much for the first head as for any other."""
    async with listening(head_seconds=1.0, keepalive_seconds=PATIENT) as listener, connected(listener.url) as caller:
        await asyncio.sleep(0.6)
        await caller.send(GET[:9])
        await asyncio.sleep(0.5)
        await caller.send(GET[9:])
        answer = await caller.answer()
        now = listener.statistics()

    assert (answer.status, now.slow) == (200, 0)


async def test_a_head_that_drips_is_not_waited_for() -> None:
    """Row 19: a byte now and then does not prolong its time, on a new connection or on one that was good before."""
    async with listening(head_seconds=0.1, keepalive_seconds=PATIENT) as listener:
        for before in ([], [GET]):
            async with connected(listener.url) as caller:
                await caller.send(*before)
                for _ in before:
                    assert (await caller.answer()).status == 200
                    await asyncio.sleep(0.15)  # the time of a first head is over
                await caller.send(GET[:-2] + b"X-A: ")
                async with asyncio.timeout(5):
                    while not (caller.reader.at_eof() or caller.reader.exception()):
                        with suppress(ConnectionError):
                            await caller.send(b"a")
                        await asyncio.sleep(0.01)
        now = listener.statistics()

    assert (now.open, now.slow) == (0, 2)


@pytest.mark.parametrize("bound", ["line_bytes", "field_bytes", "head_bytes", "headers"])
async def test_bounds_are_those_that_are_set(bound: str) -> None:
    """Row 28: for each way by which a request is read."""
    long = post(b"X-A: " + b"a" * 200, b"Content-Length: 3", body=b"abc", path=b"/" + b"a" * 200)
    limits: dict[str, Any] = {bound: 2 if bound == "headers" else 100}
    for request in (long, long.replace(b"POST", b"PUT", 1)):
        async with listening(**limits) as listener, connected(listener.url) as caller:
            await caller.send(request)
            answer, rest = await caller.answer(), await caller.rest()
        assert (answer.status, rest) == (400, b"")


async def test_an_idle_connection_is_kept_as_long_as_it_may() -> None:
    """Row 21: the header timeout is not for who asks for nothing more; the keep-alive timeout is."""
    async with listening(head_seconds=0.05, keepalive_seconds=0.3) as listener, connected(listener.url) as caller:
        await caller.send(GET)
        await caller.answer()
        await asyncio.sleep(0.1)
        end = await caller.end()
        rest = await caller.rest()
        now = listener.statistics()

    assert (end, rest, now.slow) == ("kept", b"", 0)


async def test_one_too_many_takes_the_place_of_the_longest_idle() -> None:
    """Row 21: a crowd that asks for nothing keeps nobody out."""
    async with listening(connections=2) as listener, connected(listener.url) as first:
        await first.send(GET)
        await first.answer()
        async with connected(listener.url) as second:
            await second.send(GET)
            await second.answer()
            async with connected(listener.url) as third:
                await third.send(GET)
                answer = await third.answer()
                rest = await first.rest()
                kept = [await second.end(), await third.end()]
                now = listener.statistics()

    assert (answer.status, rest, kept) == (200, b"", ["kept", "kept"])
    assert (now.open, now.idle, now.evicted, now.refused) == (2, 2, 1, 0)


class Guest:
    """A connection of a crowd.

    Attributes:
        asked: how often it was asked to leave.
    """

    def __init__(self, *, leaves: bool) -> None:
        self._leaves = leaves
        self.asked = 0

    def leave(self) -> bool:
        """Leave, or not."""
        self.asked += 1
        return self._leaves


def test_who_has_got_a_request_meanwhile_is_not_asked_to_leave() -> None:
    """Row 21: then the next one goes, in the order in which they became idle."""
    crowd = Crowd(Limits(connections=3), cast(Any, TimerLoop()))
    worked, stays, goes = Guest(leaves=True), Guest(leaves=False), Guest(leaves=True)
    for guest in (worked, stays, goes):
        assert crowd.admit(guest)
    crowd.work(worked)
    crowd.rest(worked)

    assert crowd.admit(Guest(leaves=False))  # in place of `goes`
    assert crowd.admit(Guest(leaves=False))  # in place of `worked`
    assert not crowd.admit(Guest(leaves=True))
    assert crowd.statistics() == Connections(open=3, idle=3, refused=1, evicted=2, slow=0, stalled=0)


def test_each_idles_for_its_time_with_one_timer_for_all() -> None:
    """Row 21: from its last answer on; who works, has yet to ask for something, or has gone is left alone."""
    loop: Any = TimerLoop()
    crowd = Crowd(Limits(keepalive_seconds=10), loop)
    new, first, second, busy, gone = guests = [Guest(leaves=True) for _ in range(5)]
    for guest in guests:
        crowd.admit(guest)
    for guest in guests[1:]:
        crowd.work(guest)
        crowd.rest(guest)
        loop.move(loop.now + 1)
        assert len(loop.pending) == 1
    crowd.work(busy)
    crowd.forget(gone)
    asked = []
    for _ in range(15):
        loop.move(loop.now + 0.5)
        asked.append((loop.now, [first.asked, second.asked]))

    assert asked[:15:3] == [(4.5, [0, 0]), (6, [0, 0]), (7.5, [0, 0]), (9, [0, 0]), (10.5, [1, 0])]
    loop.move(100)
    assert [guest.asked for guest in guests] == [0, 1, 1, 0, 0]
    assert (new.asked, loop.pending) == (0, [])


def test_a_crowd_that_leaves_at_the_end_leaves_no_timer() -> None:
    """Whoever idles is asked to leave at once."""
    loop: Any = TimerLoop()
    crowd = Crowd(Limits(), loop)
    guest = Guest(leaves=True)
    crowd.admit(guest)
    crowd.work(guest)
    crowd.rest(guest)
    crowd.close()

    assert (guest.asked, loop.pending) == (1, [])


def test_a_sweep_that_comes_early_is_the_only_one() -> None:
    """Row 21: uvloop's timers do; to look again and again until it is time would take a core."""
    loop: Any = TimerLoop(early=0.0005)
    crowd = Crowd(Limits(keepalive_seconds=10), loop)
    guests = [Guest(leaves=True) for _ in range(10)]
    for guest in guests:
        crowd.admit(guest)
        crowd.work(guest)
        crowd.rest(guest)
        loop.move(loop.now + 1)
    loop.move(100)

    assert ([guest.asked for guest in guests], loop.fired) == ([1] * 10, 10)


def test_who_cannot_leave_is_not_asked_again_and_again() -> None:
    """Row 21: it has a request that is only not begun; after its answer it idles anew."""
    loop: Any = TimerLoop()
    crowd = Crowd(Limits(keepalive_seconds=10), loop)
    guest = Guest(leaves=False)
    crowd.admit(guest)
    for asked in (1, 2):
        crowd.work(guest)
        crowd.rest(guest)
        loop.move(loop.now + 50)
        assert (guest.asked, loop.pending) == (asked, [])


async def test_who_still_sends_a_refused_body_makes_room() -> None:
    """Row 21: it asks for nothing that is not answered, and keeps neither others out nor the end waiting."""
    refused = post(b"Content-Length: 1000", body=b"a")

    async def refuse(request: web.BaseRequest) -> web.Response:
        return web.Response(status=200 if request.method == "GET" else 413)

    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as callers:  # who are still there when the listener closes
        async with listening(refuse, connections=2) as listener:
            for _ in range(2):
                caller = await callers.enter_async_context(connected(listener.url))
                await caller.send(refused)
                assert (await caller.answer()).status == 413
            third = await callers.enter_async_context(connected(listener.url))
            await third.send(GET)
            assert (await third.answer()).status == 200
            now = listener.statistics()
            closing = loop.time()
        closed = loop.time()

    assert (now.evicted, now.refused) == (1, 0)
    assert closed - closing < 1.0  # of the 2 s that open requests would have


async def test_where_all_are_busy_one_too_many_is_told_so_at_once() -> None:
    """Row 21: 503 with Retry-After for whatever it sends; those inside are served, and then there is room again."""
    gate = Gate()
    async with listening(gate.handle, connections=2) as listener, AsyncExitStack() as stack:
        inside = [await stack.enter_async_context(connected(listener.url)) for _ in range(2)]
        for caller in inside:
            await caller.send(GET)
        await until(lambda: gate.entered == 2)
        async with connected(listener.url) as silent, connected(listener.url) as eager:
            await eager.send(CALL)
            refused = [await silent.answer(), await eager.answer()]
            rests = [await silent.rest(), await eager.rest()]
        gate.open()
        served = [await caller.answer() for caller in inside]
        async with connected(listener.url) as late:
            await late.send(GET)
            served.append(await late.answer())
        now = listener.statistics()

    assert [answer.status for answer in refused] == [503, 503]
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert {answer.headers["x-amzn-errortype"] for answer in refused} == {"serviceunavailable"}
    assert rests == [b"", b""]
    assert [answer.status for answer in served] == [200, 200, 200]
    assert now.refused == 2


async def test_who_takes_nothing_of_an_answer_is_dropped() -> None:
    """Row 18: after its time, and not before it: who takes a little now and then is slow, and gets all of it."""
    size = 30_000_000

    async def serve(_: web.BaseRequest) -> web.Response:
        return web.Response(body=bytes(size))

    async with listening(serve, stall_seconds=0.5) as listener, AsyncExitStack() as stack:
        deaf, slow = [await stack.enter_async_context(connected(listener.url)) for _ in range(2)]
        await deaf.send(GET)
        await slow.send(GET)
        await slow.reader.readuntil(b"\r\n\r\n")
        got = 0
        while got < size and (part := await slow.reader.read(500_000)):
            got += len(part)
            await asyncio.sleep(0.006)
        await until(lambda: listener.statistics().stalled == 1)
        await until(lambda: listener.statistics().open == 1)

    assert got == size


async def test_what_is_left_of_an_answer_does_not_stay_for_ever() -> None:
    """Row 18: nor is a caller kept of whose last answer the kernel took nearly all, though the request is over."""

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        transport = request.transport
        assert transport is not None
        while not transport.get_write_buffer_size():
            transport.write(b"a" * 1000)
            await asyncio.sleep(0)
        return response

    async with listening(serve, stall_seconds=0.1, keepalive_seconds=0.1) as listener, connected(listener.url) as deaf:
        cast("asyncio.Transport", deaf.writer.transport).pause_reading()
        await deaf.send(GET)
        await until(lambda: listener.statistics().stalled == 1)
        await until(lambda: listener.statistics().open == 0)


async def test_what_cannot_be_read_is_recorded_once() -> None:
    """One record as of any request, with nothing of what was sent in it."""
    records: list[Record] = []
    async with listening(records=records) as listener, connected(listener.url) as caller:
        await caller.send(b"SECRET\r\n\r\n")
        answer = await caller.answer()

    (record,) = records
    assert (answer.status, record.status, record.reason) == (400, 400, "bad_request")
    assert (record.method, record.path, record.endpoint, record.remote) == ("-", "-", None, "127.0.0.1")
    assert answer.headers["x-request-id"] == record.request_id
    assert b"SECRET" not in answer.body


async def test_a_handler_that_fails_is_a_500_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """In the form of every refusal, recorded, with the traceback in the log and not in the answer."""
    records: list[Record] = []

    async def fail(_: web.BaseRequest) -> web.Response:
        raise RuntimeError("a bug")

    with caplog.at_level(logging.ERROR):
        async with listening(fail, records=records) as listener, connected(listener.url) as caller:
            await caller.send(LIVEZ)
            answer = await caller.answer()

    assert (answer.status, answer.headers["server"]) == (500, "sagemaker-gateway")
    assert b"a bug" not in answer.body
    assert [record.reason for record in records] == ["internal"]
    assert [entry.exc_info is not None for entry in caplog.records] == [True]
