"""Many requests at once on one connection: in order, one at a time, and whatever goes wrong in between (fault 27)."""

import asyncio
import tracemalloc
from collections import Counter

import pytest
from aiohttp import web

from gateway.body import read_body
from gateway.buffers import Buffers, Reservation
from tests.doorstep import CALL, CHUNKED, GET, Gate, connected, listening, open_doorstep, post
from tests.faults.crowd import counted
from tests.raw import OK, Peer
from tests.waiting import until

PATIENT = 60.0


async def test_a_thousand_pipelined_requests_are_served_in_order() -> None:
    """Row 27: each gets its own answer, one permit is enough for all, and the connection is as good as before."""
    numbers = [str(number) for number in range(1000)]
    requests = [post(b"Content-Length: 3", b"X-Request-Id: " + number.encode(), body=b"abc") for number in numbers]
    async with open_doorstep() as door, connected(door.gateway.url) as caller:
        sending = asyncio.create_task(caller.send(b"".join(requests)))
        answers = [await caller.answer() for _ in numbers]
        await sending
        end = await caller.end()
        counts = await counted(door.gateway.url)

    assert [answer.headers["x-request-id"] for answer in answers] == numbers
    assert {answer.status for answer in answers} == {200}
    assert (end, door.server.connections, len(door.server.requests)) == ("kept", 1, 1000)
    assert counts == {"requests 200": 1000}


@pytest.mark.parametrize("first", [len(GET) - 1, len(GET), len(GET) + 60_000, len(GET) + 70_000])
async def test_a_long_head_behind_another_request_is_refused(first: int) -> None:
    """However it comes: its beginning with the request before it, or its end alone."""
    long = GET[:-2] + b"".join(b"X-%d: %b\r\n" % (number, b"x" * 8000) for number in range(12)) + b"\r\n"
    wire = GET + long
    async with listening() as listener, connected(listener.url) as caller:
        await caller.send(wire[:first], wire[first:])
        answers = [await caller.answer() for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 400]
    assert b"The head is longer than 65536 bytes" in answers[1].body


async def test_a_pipeline_waits_outside() -> None:
    """Row 27: memory does not grow with what is sent ahead: 1,000 requests of 20 kB, and nobody reads the answers."""

    async def serve(request: web.BaseRequest) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    request = post(b"Content-Length: 20000", body=b"a" * 20_000)
    async with listening(serve) as listener, connected(listener.url) as caller:
        await caller.send(request)  # whatever is made once has been made
        await caller.answer()
        tracemalloc.start()
        try:
            for _ in range(1000):
                caller.writer.write(request)
                await caller.writer.drain()
            answers = [(await caller.answer()).body for _ in range(1000)]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert answers == [b"20000"] * 1000
    assert peak < 5_000_000


@pytest.mark.parametrize("sizes", [(100, 0), (1, 99)], ids=["all at once", "one and then the others"])
async def test_a_pipeliner_that_hangs_up_is_noticed(sizes: tuple[int, int]) -> None:
    """Row 27: though nothing more is read of it, its call becomes an orphan, and no model runs for what is left."""
    proceed = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await proceed.wait()
        await peer.send(OK)
        await peer.gone()

    async with open_doorstep(serve) as door:
        limiter = door.gateway.limiters["raw"]
        async with connected(door.gateway.url) as caller:
            await caller.send(CALL * sizes[0])
            await until(lambda: len(door.server.requests) == 1)
            await caller.send(CALL * sizes[1])
            caller.writer.close()
            await until(lambda: limiter.statistics().orphaned == 1, seconds=5)
        proceed.set()
        await until(lambda: limiter.statistics().running == 0)

    assert len(door.server.requests) == 1
    assert door.server.connections == 1


async def test_a_body_that_breaks_in_the_queue_is_refused_in_its_turn() -> None:
    """Row 25: those before it are served, it gets 400 though nobody was reading it, and nothing after it is heard."""
    gate = Gate()

    async def serve(request: web.BaseRequest) -> web.Response:
        await read_body(request, limit=1000, seconds=PATIENT, memory=Reservation(Buffers(2**30)))
        return await gate.handle(request)

    async with listening(serve) as listener, connected(listener.url) as caller:
        await caller.send(GET)
        await until(lambda: gate.entered == 1)
        (connection,) = listener.connections
        await caller.send(post(CHUNKED, body=b"3\r\nabc\r\n"))
        await until(lambda: len(connection._messages) == 1)
        await caller.send(b"x\r\n" + GET)
        gate.open()
        answers = [await caller.answer(), await caller.answer()]
        rest = await caller.rest()

    assert [answer.status for answer in answers] == [200, 400]
    assert (rest, gate.entered) == (b"", 1)


async def test_others_have_their_turns_between_those_of_a_pipeline() -> None:
    """Row 27: thousands of requests that are answered at once do not hold up the loop: one of them in each turn."""
    turns = 0
    served: list[int] = []

    async def serve(_: web.BaseRequest) -> web.Response:
        served.append(turns)
        return web.Response()

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with listening(serve) as listener, connected(listener.url) as caller:
        ticking = asyncio.create_task(tick())
        caller.writer.write(GET * 2000)
        for _ in range(2000):
            await caller.answer()
        ticking.cancel()

    assert len(served) == 2000
    assert max(Counter(served).values()) <= 2


async def test_garbage_after_a_refusal_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """Row 25: what is left of a refused body is thrown away, broken as it may be; nobody's log tells of a bug."""

    async def refuse(_: web.BaseRequest) -> web.Response:
        return web.Response(status=404)

    async with listening(refuse) as listener, connected(listener.url) as caller:
        await caller.send(post(CHUNKED, body=b"3\r\nabc\r\n"))
        answer = await caller.answer()
        await caller.send(b"zzzz\r\n")
        rest = await caller.rest()

    assert (answer.status, rest, caplog.records) == (404, b"", [])
