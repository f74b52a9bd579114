"""More than can be done: bounded in count, seconds and bytes, refused early, told when to come back."""

import asyncio
import gc
import io
import tracemalloc
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from gateway.app import Gateway
from gateway.buffers import Buffers, Reservation
from gateway.errors import BUFFER_FULL, Refusal
from tests.faults.crowd import counted
from tests.faults.far_end import CHUNKED, STREAMED, answers, chunk
from tests.parts import part
from tests.raw import Peer, serve_held, serve_ok
from tests.stand import MakeStand, Reply, StandSettings, in_front_of
from tests.waiting import until

PATIENCE = "X-Gateway-Queue-Timeout"


async def call(gateway: Gateway, body: Any = b"{}", **headers: str) -> Reply:
    """InvokeEndpoint."""
    url = f"{gateway.url}/endpoints/raw/invocations"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=named) as response:
        return Reply(response.status, response.headers.copy(), await response.read())


def test_what_bodies_take_is_bounded() -> None:
    """To the byte; what is given back can be used again, and what was only announced takes nothing."""
    buffers = Buffers(10)
    first, second = Reservation(buffers), Reservation(buffers)
    first.grow(7)
    second.announce(3)
    for ask in (second.announce, second.grow):
        with pytest.raises(Refusal) as refused:
            ask(4)
        assert (refused.value.row, buffers.used) == (BUFFER_FULL, 7)
    second.grow(3)
    first.release()
    first.release()
    assert buffers.used == 3


async def test_a_slow_body_takes_no_more_than_has_come() -> None:
    """Twenty callers announce 20 MB each and send nothing: another one is served all the same."""
    config = {"listen": {"port": 0, "max_buffered_bytes": 25_000_000}}
    head = b"POST /endpoints/raw/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n."
    async with in_front_of(serve_ok, config=config) as (gateway, _):
        port = int(gateway.url.rpartition(":")[2])
        writers = []
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            await writer.drain()
            writers.append(writer)
        reply = await call(gateway)
        for writer in writers:
            writer.close()

    assert reply.status == 200


async def test_refusals_hold_nothing() -> None:
    """A refused caller's body is gone with its request, also without the collector's help, and so is a retry's."""
    async with in_front_of(serve_held, queue={"max_waiting": 0}) as (gateway, server):
        running = asyncio.create_task(call(gateway))
        await until(lambda: len(server.requests) == 1)
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for number in range(8):
                headers = {"amz_sdk_invocation_id": f"id-{number}"} if number % 2 else {}
                assert (await call(gateway, io.BytesIO(bytes(4_000_000)), **headers)).status == 429
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
        server.gate.release()
        await running

    assert held < 4_000_000


@pytest.mark.parametrize("path", ["invocations", "invocations-response-stream"])
@pytest.mark.parametrize(
    "begun",
    [b"", CHUNKED + chunk(b"half"), STREAMED + chunk(part(b"half"))],
    ids=["before an answer", "in a body", "in a stream"],
)
async def test_broken_calls_hold_nothing(path: str, begun: bytes) -> None:
    """Nor does a call that SageMaker breaks off keep its body until the collector comes, which may be long."""
    async with in_front_of(answers(begun, then=Peer.leave)) as (gateway, server), aiohttp.ClientSession() as session:

        async def broken() -> None:
            url = f"{gateway.url}/endpoints/raw/{path}"
            with suppress(aiohttp.ClientPayloadError):
                async with session.post(url, data=io.BytesIO(bytes(4_000_000))) as response:
                    await response.read()
                    assert response.status == 424
            server.requests.clear()  # which is no part of the gateway, and holds bodies

        await broken()
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(8):
                await broken()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()

    assert held < 8_000_000


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
async def test_bodies_of_all_callers_together_are_bounded(*, chunked: bool) -> None:
    """Row 33: the third of 100 kB is refused, before its body is read if that is declared; later there is room."""

    async def parts() -> Any:
        for _ in range(10):
            yield bytes(10_000)

    config = {"listen": {"port": 0, "max_buffered_bytes": 250_000}}
    async with in_front_of(serve_held, config=config) as (gateway, server):
        calls = [asyncio.create_task(call(gateway, bytes(100_000))) for _ in range(2)]
        await until(lambda: len(server.requests) + gateway.limiters["raw"].waiting == 2)
        refused = await call(gateway, parts() if chunked else bytes(100_000))
        for _ in range(3):
            server.gate.release()
        done = [reply.status for reply in await asyncio.gather(*calls)]
        again = await call(gateway, bytes(100_000))
        left, counts = gateway.limiters["raw"].statistics(), await counted(gateway.url)

    assert (refused.status, refused.headers["x-amzn-ErrorType"]) == (429, "ThrottlingException")
    assert "Retry-After" in refused.headers
    assert (done, again.status, len(server.requests)) == ([200, 200], 200, 3)
    assert (left.running, left.waiting) == (0, 0)
    assert counts == {"requests 429": 1, "refusals buffer_full": 1, "requests 200": 3}


async def test_who_would_wait_in_vain_is_refused_on_arrival(make_stand: MakeStand) -> None:
    """After some calls it is known how long they take: who has 0.9 s for a wait of 1.1 s is told so at once."""
    stand = await make_stand(
        StandSettings({"slow": {"model": {"seconds": 0.2}}}, {"slow": {"queue": {"timeout_seconds": 20}}})
    )
    await asyncio.gather(*[stand.invoke("slow") for _ in range(12)])
    busy = [asyncio.create_task(stand.invoke("slow")) for _ in range(6)]
    await until(lambda: stand.gateway.limiters["slow"].waiting == 5)
    started = asyncio.get_running_loop().time()

    impatient = await stand.invoke("slow", X_Gateway_Queue_Timeout="0.9")
    took = asyncio.get_running_loop().time() - started
    patient = await stand.invoke("slow", X_Gateway_Queue_Timeout="10")

    assert (impatient.status, impatient.json["code"], took < 0.5) == (429, "ThrottlingException", True)
    assert "is expected in 1 s" in impatient.json["message"]
    assert 1 <= int(impatient.headers["Retry-After"]) <= 2
    assert patient.status == 200
    assert {reply.status for reply in await asyncio.gather(*busy)} == {200}
    key = ("sagemaker_gateway_refusals_total", (("endpoint", "slow"), ("reason", "long_wait")))
    assert (await stand.metrics())[key] == 1


async def test_a_caller_may_wait_shorter_but_not_longer_than_the_config_says() -> None:
    """It names its own limit in seconds; what is no number is a mistake of its own, and loses nothing."""
    async with in_front_of(serve_held, queue={"timeout_seconds": 0.2}) as (gateway, server):
        running = asyncio.create_task(call(gateway))
        await until(lambda: len(server.requests) == 1)
        shorter = await call(gateway, X_Gateway_Queue_Timeout="0")
        longer = await asyncio.wait_for(call(gateway, X_Gateway_Queue_Timeout="60"), 5)
        wrong = [await call(gateway, X_Gateway_Queue_Timeout=value) for value in ("soon", "-1", "1e3", "nan", "")]
        server.gate.release()
        assert (await running).status == 200

    assert (shorter.status, longer.status) == (429, 429)
    assert "within 0 s" in shorter.json["message"]
    assert "within 0.2 s" in longer.json["message"]
    assert {(reply.status, PATIENCE in reply.json["message"]) for reply in wrong} == {(400, True)}
    assert len(server.requests) == 1


async def test_retry_after_is_the_expected_wait(make_stand: MakeStand) -> None:
    """With 10 waiting for calls of 0.5 s on one instance that is some 5 s, give or take a fifth."""
    stand = await make_stand(
        StandSettings(
            {"slow": {"model": {"seconds": 0}}}, {"slow": {"queue": {"max_waiting": 10, "timeout_seconds": 60}}}
        )
    )
    steer = {"X_Amzn_SageMaker_Custom_Attributes": "seconds=0.5"}
    endpoint = stand.gateway.limiters["slow"]
    await asyncio.gather(*[stand.invoke("slow", X_Amzn_SageMaker_Custom_Attributes="seconds=0.5") for _ in range(10)])
    busy = [asyncio.create_task(stand.invoke("slow", b"{}", **steer)) for _ in range(11)]
    await until(lambda: endpoint.waiting == 10)

    refused = await stand.invoke("slow")
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)

    assert refused.status == 429
    assert 4 <= int(refused.headers["Retry-After"]) <= 7
