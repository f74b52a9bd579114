"""Thousands of connections that ask for nothing, or never finish asking: others are served as ever (fault 21)."""

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest

from tests.doorstep import CALL, LIVEZ, Doorstep, connected, open_doorstep
from tests.waiting import until

SPARE_FILES = 600
"""Files that are open besides."""

BYTES_EACH = 40_000
"""The most that one idle connection may cost, in bytes of resident memory; 6,000 were measured."""


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def files() -> int:
    """Files that this process has open: two for each connection of a crowd, once it is accepted."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def room() -> int:
    """How many connections this process may hold both ends of."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES) // 2


@asynccontextmanager
async def crowd(door: Doorstep, *, idle: int, dripping: int = 0) -> AsyncIterator[list[socket.socket]]:
    """Connections without a loop of their own: those that drip have sent half a head."""
    port = int(door.gateway.url.rsplit(":", 1)[1])
    sockets: list[socket.socket] = []
    try:
        for number in range(idle + dripping):
            connection = socket.create_connection(("127.0.0.1", port))
            sockets.append(connection)
            if number < dripping:
                connection.send(b"POST / HTTP/1.1\r\nX-")
            if number % 200 == 0:
                await until(lambda: files() >= 2 * len(sockets))  # else the backlog is full, and connecting takes long
        await until(lambda: files() >= 2 * len(sockets))
        yield sockets
    finally:
        for connection in sockets:
            connection.close()


async def typical(door: Doorstep, request: bytes, times: int) -> float:
    """Seconds that half of some requests, one after another on one connection, take at most."""
    async with connected(door.gateway.url) as caller:
        seconds = []
        for _ in range(times):
            started = perf_counter()
            await caller.send(request)
            assert (await caller.answer()).status == 200
            seconds.append(perf_counter() - started)
    return median(seconds)


async def drip(sockets: list[socket.socket]) -> None:
    """A byte of each now and then, for ever."""
    while True:
        for number, connection in enumerate(sockets):
            with contextlib.suppress(OSError):
                connection.send(b"a")
            if number % 50 == 0:
                await asyncio.sleep(0.005)


@pytest.mark.skipif(room() < 2500, reason="needs 5,600 open files")
async def test_a_crowd_does_not_slow_down_a_caller() -> None:
    """Row 21: with 2,000 idle and 500 dripping connections a call takes what it takes without them."""
    async with open_doorstep() as door:
        alone = await typical(door, CALL, 100)
        async with crowd(door, idle=2000, dripping=500) as sockets:
            dripping = asyncio.create_task(drip(sockets[:500]))
            crowded = await typical(door, CALL, 100)
            live = await typical(door, LIVEZ, 20)
            dripping.cancel()

    assert crowded < 3 * alone + 0.002
    assert live < 0.1


@pytest.mark.skipif(room() < 2500, reason="needs 5,600 open files")
async def test_idle_connections_cost_little() -> None:
    """Row 21: as many as the machine lets us hold, up to 9,000: a probe is prompt, and memory is bounded."""
    count = min(9000, room())
    async with open_doorstep() as door:
        await typical(door, LIVEZ, 5)
        before = resident()
        async with crowd(door, idle=count):
            live = await typical(door, LIVEZ, 20)
            each = (resident() - before) / count
        await until(lambda: files() < SPARE_FILES, seconds=30)

    assert live < 0.1
    assert each < BYTES_EACH
