"""How the gateway bears crowds: what one more connection, waiter or stream takes of its memory and of its time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

import aiohttp

from .instances import SECONDS_PATH
from .load import SECONDS, Callers, WrongAnswer, open_callers
from .processes import Server, serving
from .stream_load import open_stream_callers
from .systems import ENDPOINT, PATH, STREAM_PATH, serving_gateway

INSTANCES = 100
BODY_BYTES = 1_000
AT_ONCE = 100
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 600
BETWEEN_MILLISECONDS = 500
LOOK_SECONDS = 2.0
PARTS = 16
"""So many that no stream ends while it is looked at."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a crowd of waiters came to.

    Attributes:
        connection: bytes of memory for each connection that idles after its first request.
        waiter: bytes of memory for each waiter beside its body and its connection.
        whole: bytes of memory for each waiter beside its body, its connection included.
        join: microseconds of CPU for each to come into the queue, its body read.
        admit: microseconds of CPU for each to be admitted, called and answered.
    """

    connection: float
    waiter: float
    whole: float
    join: float
    admit: float


@dataclass(frozen=True, slots=True)
class Streaming:
    """What a crowd of streams came to.

    Attributes:
        stream: bytes of memory for each, its connections to both sides included.
        part: microseconds of CPU for each part.
    """

    stream: float
    part: float


async def waiting(directory: Path, number: int) -> Waiting:
    """So many callers in the queue of one endpoint whose instances are all busy.

    Args:
        directory: where configs and logs may be put.
        number: how many.
    """
    async with _instances(directory) as fleet, _gateway(directory, fleet, instances=INSTANCES, most=number) as gateway:
        crowd = number + INSTANCES
        async with open_callers(gateway.port, PATH, body_bytes=BODY_BYTES, connections=AT_ONCE) as callers:
            await _settle(fleet, callers)
            empty = gateway.resident_bytes()
            for _ in range(crowd // AT_ONCE - 1):
                await callers.open(gateway.port, AT_ONCE)
                await callers.run(AT_ONCE, first=len(callers.connections) - AT_ONCE)
            idle, before = gateway.resident_bytes(), gateway.cpu_seconds()
            await _set_seconds(fleet, inf)
            run = asyncio.create_task(callers.run(crowd))
            await _until_waiting(gateway, number, run)
            full, joined = gateway.resident_bytes(), gateway.cpu_seconds()
            await _set_seconds(fleet, 0)
            await run
            admitted = gateway.cpu_seconds()
    return Waiting(
        connection=(idle - empty) / (crowd - AT_ONCE),
        waiter=(full - idle) / number - BODY_BYTES,
        whole=(full - empty) / number - BODY_BYTES,
        join=(joined - before) / number * 1e6,
        admit=(admitted - joined) / crowd * 1e6,
    )


async def streaming(directory: Path, number: int) -> Streaming:
    """So many streams at a time, each with a part every now and then.

    Args:
        directory: where configs and logs may be put.
        number: how many.
    """
    async with (
        serving(["-m", "tests.bench.upstream"], log=directory / "streams.log") as upstream,
        _gateway(directory, upstream, instances=number, most=number) as gateway,
        open_callers(gateway.port, PATH, body_bytes=BODY_BYTES, connections=1) as warm,
    ):
        await warm.run(AT_ONCE)
        empty = gateway.resident_bytes()
        stagger = BETWEEN_MILLISECONDS / 1000 / number
        async with open_stream_callers(
            gateway.port, STREAM_PATH, parts=PARTS, between=BETWEEN_MILLISECONDS, connections=number
        ) as callers:
            run = asyncio.create_task(callers.run(1, stagger=stagger))
            while len(callers.first_parts) < number and not run.done():
                await asyncio.sleep(POLL_SECONDS)
            before = gateway.cpu_seconds()
            await asyncio.sleep(LOOK_SECONDS)
            used, full = gateway.cpu_seconds() - before, gateway.resident_bytes()
            if run.done():
                raise WrongAnswer("the streams were over before they were looked at")
            await run
    parts = number * LOOK_SECONDS * 1000 / BETWEEN_MILLISECONDS
    return Streaming(stream=(full - empty) / number, part=used / parts * 1e6)


@asynccontextmanager
async def _instances(directory: Path) -> AsyncIterator[Server]:
    arguments = ["-m", "tests.bench.instances", str(INSTANCES), "0"]
    async with serving(arguments, log=directory / "crowd-instances.log") as fleet:
        yield fleet


@asynccontextmanager
async def _gateway(directory: Path, upstream: Server, *, instances: int, most: int) -> AsyncIterator[Server]:
    settings = {
        "listen": {"port": 0, "max_connections": most + 2 * INSTANCES},
        "endpoints": {
            ENDPOINT: {
                "instances": instances,
                "queue": {"max_waiting": most, "timeout_seconds": PATIENCE_SECONDS},
                "timeout_seconds": PATIENCE_SECONDS,
            }
        },
    }
    url = f"http://127.0.0.1:{upstream.port}"
    async with serving_gateway(directory / "crowd", url, settings=settings) as gateway:
        yield gateway


async def _settle(fleet: Server, callers: Callers) -> None:
    """Have everything there once that is there once."""
    await _set_seconds(fleet, 0)
    await callers.run(10 * AT_ONCE)


async def _set_seconds(fleet: Server, seconds: float) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{fleet.port}{SECONDS_PATH}", data=str(seconds).encode()) as answer,
    ):
        answer.raise_for_status()


async def _until_waiting(gateway: Server, number: int, run: "asyncio.Task[float]") -> None:
    """Wait until so many are in the queue, or somebody got an answer too early."""
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession(f"http://127.0.0.1:{gateway.port}") as session:
        waiting = 0
        while waiting < number:
            if run.done():
                await run
                raise WrongAnswer("nobody had to wait")
            await asyncio.sleep(POLL_SECONDS)
            async with session.get("/status") as answer:
                waiting = (await answer.json())["endpoints"][ENDPOINT]["waiting"]
