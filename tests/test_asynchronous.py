"""InvokeEndpointAsync: SageMaker queues there, so the gateway neither waits nor counts."""

import asyncio

import aiohttp

from tests.raw import Peer
from tests.stand import in_front_of

ACCEPTED = (
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nX-Amzn-SageMaker-OutputLocation: s3://out/1\r\n"
    b"X-Amzn-SageMaker-FailureLocation: s3://failed/1\r\nx-amzn-RequestId: r-1\r\nContent-Length: 19\r\n\r\n"
    b'{"InferenceId":"1"}'
)
REQUEST = {"X-Amzn-SageMaker-InputLocation": "s3://in/1", "X-Amzn-SageMaker-InvocationTimeoutSeconds": "900"}


async def accept(peer: Peer) -> None:
    """Take every request at once."""
    while True:
        await peer.answer(ACCEPTED)


async def never_answer(peer: Peer) -> None:
    """Keep a call running."""
    await peer.request()
    await peer.gone()


async def test_it_passes_a_full_endpoint() -> None:
    """While the only permit is taken and nobody may wait, it is accepted, with SageMaker's status and headers."""
    async with (
        in_front_of(never_answer, accept, queue={"max_waiting": 0}) as (gateway, server),
        aiohttp.ClientSession() as session,
    ):
        running = asyncio.create_task(session.post(f"{gateway.url}/endpoints/raw/invocations", data=b"{}"))
        async with asyncio.timeout(10):
            while not server.requests:
                await asyncio.sleep(0.002)
        async with session.post(f"{gateway.url}/endpoints/raw/async-invocations", headers=REQUEST) as response:
            got = response.status, response.headers.copy(), await response.json()
        now = gateway.limiters["raw"].statistics()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    status, headers, body = got
    assert (status, body) == (202, {"InferenceId": "1"})
    assert headers["X-Amzn-SageMaker-OutputLocation"] == "s3://out/1"
    assert headers["X-Amzn-SageMaker-FailureLocation"] == "s3://failed/1"
    assert (now.running, now.waiting) == (1, 0)
    assert server.requests[1].head.startswith(b"POST /endpoints/raw/async-invocations HTTP/1.1\r\n")
    assert b"X-Amzn-SageMaker-InputLocation: s3://in/1\r\n" in server.requests[1].head


async def test_its_inline_body_has_a_limit_of_its_own() -> None:
    """128,000 bytes, however long the bodies of real-time requests may be."""
    async with in_front_of(accept) as (gateway, _), aiohttp.ClientSession() as session:
        statuses = []
        for size in (128_000, 128_001):
            path = f"{gateway.url}/endpoints/raw/async-invocations"
            async with session.post(path, data=b"x" * size) as response:
                statuses.append(response.status)

    assert statuses == [202, 413]


async def test_its_headers_are_checked() -> None:
    """A location that is none is refused before anything is sent."""
    async with in_front_of(accept) as (gateway, server), aiohttp.ClientSession() as session:
        path = f"{gateway.url}/endpoints/raw/async-invocations"
        async with session.post(path, headers={"X-Amzn-SageMaker-InputLocation": "ftp://in/1"}) as response:
            status = response.status

    assert (status, server.requests) == (400, [])
