"""Who is told of an answer with its last byte may send the next call at once, but never into a closing connection."""

import asyncio
from dataclasses import replace

import pytest

from gateway.errors import TIMEOUT, Refusal
from gateway.handover import Handover
from gateway.models import Answer
from gateway.upstream import Upstream
from tests.raw import OK, Peer, raw_server, serve_held, serve_ok
from tests.upstream.calls import Collector, call_to, connections, opened

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"


class Relay:
    """Sends a second call as soon as the first has its answer, before whoever waits for that goes on.

    Args:
        upstream: sends them.
        url: where they go.
        seconds: how long the second may take.
        leaves: whether whoever waits for the first is cancelled in that moment.
    """

    def __init__(self, upstream: Upstream, url: str, *, seconds: float = 10, leaves: bool = False) -> None:
        self._upstream = upstream
        self._url = url
        self._seconds = seconds
        self._leaves = leaves
        self._turn: Handover[None] = Handover()
        self._second = asyncio.create_task(self._follow())
        self.told: list[str] = []
        """What happened, in order."""
        self.first = asyncio.create_task(self._run())
        """The first call."""

    async def second(self) -> Answer:
        """The answer of the second call."""
        return await self._second

    async def _follow(self) -> Answer:
        await self._turn
        return await self._upstream.send(call_to(self._url, timeout_seconds=self._seconds))

    async def _run(self) -> Answer:
        answer = await self._upstream.send(call_to(self._url), answered=self._answered)
        self.told.append("goes on")
        return answer

    def _answered(self, status: int) -> None:
        self.told.append(f"answered: {status}")
        self._turn.hand(None)
        if self._leaves:
            self.first.cancel()


async def test_it_is_told_before_whoever_waits_goes_on() -> None:
    """What is sent next has its own connection and its own answer; later calls have the use of both."""
    async with raw_server(serve_ok) as server, opened() as upstream:
        relay = Relay(upstream, server.url)
        answers = await relay.first, await relay.second()
        for _ in range(3):
            await upstream.send(call_to(server.url))
        assert (server.connections, len(server.requests)) == (2, 5)

    assert relay.told == ["answered: 200", "goes on"]
    assert [answer.body for answer in answers] == [b"ok", b"ok"]


async def test_whatever_the_status() -> None:
    """It is for whoever is told to judge an answer."""

    async def refuse(peer: Peer) -> None:
        await peer.answer(BUSY)

    async with raw_server(refuse, serve_ok) as server, opened() as upstream:
        relay = Relay(upstream, server.url)
        statuses = (await relay.first).status, (await relay.second()).status

    assert relay.told[0] == "answered: 503"
    assert statuses == (503, 200)


async def test_who_leaves_then_takes_nothing_from_the_next() -> None:
    """The second call is not cut off with the first, and the connection of that is kept: its answer was whole."""
    async with raw_server(serve_ok) as server, opened() as upstream:
        relay = Relay(upstream, server.url, leaves=True)
        with pytest.raises(asyncio.CancelledError):
            await relay.first
        assert (await relay.second()).body == b"ok"
        assert len(connections(upstream)) == 2

    assert relay.told == ["answered: 200"]


async def test_the_next_call_keeps_its_deadline() -> None:
    """That of the first is lifted, not that of the second."""
    async with raw_server(serve_held) as server, opened() as upstream:
        relay = Relay(upstream, server.url, seconds=0.05)
        server.gate.release()
        await relay.first
        with pytest.raises(Refusal) as caught:
            await relay.second()

    assert caught.value.row is TIMEOUT


async def test_a_deadline_ends_with_its_call() -> None:
    """A stream that comes next on the connection, and lasts for longer than that, is whole."""
    ended = asyncio.Event()

    async def two(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.answer(OK[:-1])
        await ended.wait()
        await peer.send(OK[-1:])

    async with raw_server(two) as server, opened() as upstream:
        loop = asyncio.get_running_loop()
        await upstream.send(call_to(server.url, timeout_seconds=0.05))
        loop.call_later(0.1, ended.set)
        collector = Collector()
        await upstream.send(call_to(server.url), collector)
        assert server.connections == 1

    assert collector.body == b"ok"


async def test_each_call_has_its_own_headers_back() -> None:
    """Those of another operation, which the connection carried before, stay behind."""

    async def serve(peer: Peer) -> None:
        while True:
            await peer.answer(b"HTTP/1.1 200 OK\r\nX-One: 1\r\nX-Other: 2\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(serve) as server, opened() as upstream:
        found = []
        for name in ("x-one", "x-other", "x-one"):
            call = replace(call_to(server.url), response_headers=frozenset({name}))
            found.append((await upstream.send(call)).headers)
        assert server.connections == 1

    assert found == [[("X-One", "1")], [("X-Other", "2")], [("X-One", "1")]]


@pytest.mark.parametrize("said", [False, True])
async def test_no_call_is_sent_into_a_connection_that_ends(*, said: bool) -> None:
    """SageMaker closes it with its answer, and says so or not: no call goes there, and none is lost."""

    async def close(peer: Peer) -> None:
        await peer.answer(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if said else OK)

    async with raw_server(close, serve_ok) as server, opened() as upstream:
        relay = Relay(upstream, server.url)
        answers = await relay.first, await relay.second()
        assert server.connections == 2

    assert [answer.body for answer in answers] == [b"ok", b"ok"]


async def test_of_an_answer_in_parts_nobody_is_told() -> None:
    """Its end is for whoever takes the parts to judge."""
    told: list[int] = []
    async with raw_server(serve_ok) as server, opened() as upstream:
        await upstream.send(call_to(server.url), Collector(), answered=told.append)

    assert told == []
