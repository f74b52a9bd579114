"""Endpoints without capacity, end to end: callers wait in the queue, one at a time tries, and waking up serves all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from gateway import errors
from gateway.app import Gateway
from tests.raw import OK, Peer, RawServer, Script
from tests.stand import MakeStand, StandSettings, in_front_of
from tests.waiting import until

NO_CAPACITY = (
    b"HTTP/1.1 400 Bad Request\r\nx-amzn-ErrorType: ValidationError:http://internal.amazon.com/coral/\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)
TEXT = (
    b'{"ErrorCode":"VALIDATION_ERROR","Message":"Inference Component has no capacity to process this request. '
    b"ApplicationAutoScaling may be in-progress (if configured) or try to increase the capacity by invoking "
    b'UpdateInferenceComponentRuntimeConfig API."}'
)
ZERO = NO_CAPACITY % (len(TEXT), TEXT)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have less time than fleets."""
    monkeypatch.setattr("gateway.health.FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("gateway.health.LONGEST_PAUSE_SECONDS", {errors.NO_CAPACITY: 0.1})


def waking_after(refusals: int) -> Script:
    """A SageMaker that has no capacity so many times, and then has."""
    left = [refusals]

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            left[0] -= 1
            await peer.send(OK if left[0] < 0 else ZERO)

    return serve


@asynccontextmanager
async def asleep(script: Script, **endpoint: Any) -> AsyncIterator[tuple[Gateway, RawServer, Callable[[int], Any]]]:
    """A gateway before a SageMaker, and callers, each with a number as body."""
    async with (
        in_front_of(script, **endpoint) as (gateway, server),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):

        async def call(number: int) -> tuple[int, dict[str, str], bytes]:
            async with session.post(f"{gateway.url}/endpoints/raw/invocations", data=b"%d" % number) as response:
                return response.status, dict(response.headers), await response.read()

        yield gateway, server, call


async def test_callers_wait_in_order_while_one_tries() -> None:
    """The first asks until there is capacity; then all are served, first come, first served, each by one call."""
    async with asleep(waking_after(3)) as (gateway, server, call):
        calls = []
        for number in range(4):
            calls.append(asyncio.create_task(call(number)))
            await until(lambda number=number: gateway.limiters["raw"].waiting >= number)  # type: ignore[misc]
        answers = await asyncio.gather(*calls)

    assert [status for status, _, _ in answers] == [200] * 4
    assert [request.body for request in server.requests] == [b"0", b"0", b"0", b"0", b"1", b"2", b"3"]


async def test_whose_time_is_up_gets_503() -> None:
    """Neither SageMaker's 400 nor our 429 says it right; the refusal tells when to come back, and no model ran."""
    async with asleep(waking_after(1000), queue={"timeout_seconds": 0.3}) as (gateway, _, call):
        answers = await asyncio.gather(*[call(number) for number in range(3)])
        async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/metrics") as response:
            metrics = await response.text()

    assert [(status, headers["x-amzn-ErrorType"]) for status, headers, _ in answers] == [
        (503, "ServiceUnavailable")
    ] * 3
    assert {headers["Retry-After"] for _, headers, _ in answers} == {"30"}
    assert b"no capacity" in answers[0][2]
    assert 'sagemaker_gateway_refusals_total{endpoint="raw",reason="no_capacity"} 3.0' in metrics
    assert 'sagemaker_gateway_no_capacity{endpoint="raw"} 1.0' in metrics


async def test_it_is_tried_at_a_pace() -> None:
    """Between two tries there is a pause: a fleet that sleeps is not flooded."""
    async with asleep(waking_after(1000), queue={"timeout_seconds": 0.5}) as (_, server, call):
        await asyncio.gather(*[call(number) for number in range(20)])

    # At 0.05 s, then 0.1 s, give or take a tenth.
    assert 2 <= len(server.requests) <= 7


async def test_where_nobody_may_wait_it_is_said_at_once() -> None:
    """`max_waiting: 0` holds here too."""
    async with asleep(waking_after(1), queue={"max_waiting": 0}) as (_, server, call):
        status, headers, _ = await call(1)

    assert (status, headers["x-amzn-ErrorType"], len(server.requests)) == (503, "ServiceUnavailable", 1)


async def test_a_caller_who_leaves_in_the_pause_is_never_sent() -> None:
    """The next in the queue tries in their place."""
    async with asleep(waking_after(1)) as (gateway, server, call):
        first = asyncio.create_task(call(1))
        await until(lambda: len(server.requests) == 1)
        second = asyncio.create_task(call(2))
        await until(lambda: gateway.limiters["raw"].waiting == 2)
        first.cancel()
        status, _, _ = await second

    assert (status, [request.body for request in server.requests]) == (200, [b"1", b"2"])


@pytest.mark.parametrize(
    "message",
    [
        b"Variant has no such name",
        b"Failed to download model data (key: Inference Component has no capacity to process this request)",
    ],
    ids=["another", "quoted"],
)
async def test_other_validation_errors_are_the_callers(message: bytes) -> None:
    """A 400 that says something else passes as it came, and nobody waits; also where it quotes a caller's own words."""
    text = b'{"ErrorCode":"VALIDATION_ERROR","Message":"%b"}' % message
    other = NO_CAPACITY % (len(text), text)

    async def serve(peer: Peer) -> None:
        await peer.answer(other)
        await peer.gone()

    async with asleep(serve) as (_, server, call):
        status, headers, body = await call(1)

    assert (status, body, len(server.requests)) == (400, text, 1)
    assert headers["x-amzn-ErrorType"] == "ValidationError:http://internal.amazon.com/coral/"


async def test_waking_up_serves_everybody(make_stand: MakeStand) -> None:
    """A fleet scaled to zero and back: no caller is lost, and no more calls run at once than there are instances."""
    stand = await make_stand(StandSettings({"seed": {"instances": 1, "model": {"seconds": 0.02}}}))
    await stand.emulator.scale("seed", 0)
    calls = [asyncio.create_task(stand.invoke("seed")) for _ in range(10)]
    await until(lambda: stand.counters("seed").no_capacity > 1)

    await stand.emulator.scale("seed", 1)
    replies = await asyncio.gather(*calls)

    assert [reply.status for reply in replies] == [200] * 10
    assert stand.counters("seed").peak_work == 1
