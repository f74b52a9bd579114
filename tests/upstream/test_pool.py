"""The connections to one origin: used again, last in first out, kept for seconds, and gone as soon as they are over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.upstream.connection import Connection
from gateway.upstream.opening import Opener, Origin, default_context
from gateway.upstream.pool import KEEPALIVE_SECONDS, Pool
from tests.raw import OK, Peer, RawServer, raw_server, serve_ok
from tests.upstream.calls import call_to
from tests.waiting import until

HEAD = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n"


@asynccontextmanager
async def pool_of(server: RawServer) -> AsyncIterator[Pool]:
    """The connections to a server."""
    opener = Opener(default_context())
    pool = Pool(opener, Origin("127.0.0.1", server.port, secure=False))
    try:
        yield pool
    finally:
        await pool.close()
        await opener.close()


async def use(connection: Connection) -> None:
    """One call, to its end."""
    await connection.begin(HEAD, call_to("http://x"), by_parts=False)
    connection.answer(0)


async def used(pool: Pool) -> Connection:
    """A new connection that has carried a call."""
    connection = await pool.open()
    await use(connection)
    return connection


async def test_the_one_that_was_used_last_is_the_next() -> None:
    """So that those there are too many of grow old, and go."""
    async with raw_server(serve_ok) as server, pool_of(server) as pool:
        first, second, third = [await used(pool) for _ in range(3)]
        for connection in (second, third, first):
            pool.give_back(connection)
        assert [pool.take() for _ in range(4)] == [first, third, second, None]


async def test_one_that_ends_while_idle_leaves_at_once() -> None:
    """It is not found when it is wanted: it is not there any more."""
    leave = asyncio.Event()

    async def serve_once(peer: Peer) -> None:
        await peer.answer(OK)
        await leave.wait()

    async with raw_server(serve_once) as server, pool_of(server) as pool:
        pool.give_back(await used(pool))
        assert len(pool._idle) == 1
        leave.set()
        await until(lambda: not pool._idle)
        assert (pool.take(), pool._open) == (None, set())


async def test_one_whose_end_is_not_told_yet_is_not_handed_out() -> None:
    """Closed in this very turn of the loop."""
    async with raw_server(serve_ok) as server, pool_of(server) as pool:
        connection = await used(pool)
        pool.give_back(connection)
        connection.abort()
        assert pool.take() is None


async def test_what_cannot_be_used_again_is_closed() -> None:
    """An answer that asks for it, or a call that has not ended."""

    async def close(peer: Peer) -> None:
        await peer.answer(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await peer.gone()

    async with raw_server(close) as server, pool_of(server) as pool:
        pool.give_back(await used(pool))
        assert pool.take() is None
        running = await pool.open()
        running.begin(HEAD, call_to("http://x"), by_parts=False)
        pool.give_back(running)
        assert pool.take() is None
        await until(lambda: not pool._open)


async def test_idle_ones_are_dropped_before_sagemaker_drops_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """SageMaker's front door closes them after 60 s; one that dies under a request is a call of unknown outcome."""
    assert KEEPALIVE_SECONDS <= 30
    monkeypatch.setattr("gateway.upstream.pool.KEEPALIVE_SECONDS", 0.05)
    async with raw_server(serve_ok) as server, pool_of(server) as pool:
        for connection in [await used(pool) for _ in range(3)]:
            pool.give_back(connection)
            await asyncio.sleep(0.01)
        await asyncio.wait_for(server.idle.wait(), 5)
        assert (pool._idle, pool._open, pool._sweeper) == ({}, set(), None)
        pool.give_back(await used(pool))
        await asyncio.wait_for(server.idle.wait(), 5)
        assert server.connections == 4


async def test_one_timer_serves_all() -> None:
    """It is set with the first that is idle, and not again for each of them."""
    async with raw_server(serve_ok) as server, pool_of(server) as pool:
        connections = [await used(pool) for _ in range(3)]
        timers = set()
        for connection in connections:
            pool.give_back(connection)
            timers.add(pool._sweeper)
        for _ in range(3):
            connection = pool.take() or await pool.open()
            await use(connection)
            pool.give_back(connection)
            timers.add(pool._sweeper)
    assert len(timers) == 1


async def test_a_process_that_was_halted_trusts_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its timers come late, and SageMaker has closed its end long ago: they are too old to be handed out."""
    async with raw_server(serve_ok) as server, pool_of(server) as pool:
        pool.give_back(await used(pool))
        loop = asyncio.get_running_loop()
        now = loop.time()
        with monkeypatch.context() as patch:
            patch.setattr(pool, "_loop", _Later(now + KEEPALIVE_SECONDS))
            assert pool.take() is None


class _Later:
    """A clock that shows this time."""

    def __init__(self, now: float) -> None:
        self._now = now

    def time(self) -> float:
        """Now."""
        return self._now


async def test_closing_waits_until_all_are_closed() -> None:
    """Idle or busy; and what is opened meanwhile, or given back, is closed too."""
    async with raw_server(serve_ok) as server, pool_of(server) as pool:
        idle, busy = [await used(pool) for _ in range(2)]
        pool.give_back(idle)
        busy.begin(HEAD, call_to("http://x"), by_parts=False)
        opening = asyncio.create_task(pool.open())
        await asyncio.sleep(0)
        await pool.close()
        assert pool._open == set()
        with pytest.raises(OSError):  # noqa: PT011 - whichever it is
            await opening
        pool.give_back(busy)
        assert pool._idle == {}
        await asyncio.wait_for(server.idle.wait(), 5)
