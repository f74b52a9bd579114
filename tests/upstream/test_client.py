"""Answers in parts: as they come, no faster than they are taken, and never on a connection that may be garbled."""

import asyncio

import pytest

from gateway.errors import BROKEN, TIMEOUT, Refusal
from gateway.upstream.connection import READ_BUFFER_BYTES
from tests.raw import OK, Peer, raw_server, serve_ok
from tests.upstream.calls import Collector, call_to, connections, opened
from tests.waiting import until

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
READ_AT_ONCE = 256 * 1024
"""What the loop reads at a time, at most."""


def chunk(part: bytes) -> bytes:
    """A part of a body, on the wire."""
    return b"%x\r\n%b\r\n" % (len(part), part)


async def test_parts_are_put_as_they_come() -> None:
    """The head first, each part when it is there; and the connection serves on."""
    sink = Collector()

    async def stream(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        await until(lambda: sink.head is not None)
        for number in range(3):
            await peer.send(chunk(b"%d" % number))
            await until(lambda number=number: len(sink.parts) == number + 1)  # type: ignore[misc]
        await peer.send(LAST)
        await serve_ok(peer)

    async with raw_server(stream) as server, opened() as upstream:
        answer = await upstream.send(call_to(server.url), sink)
        assert (await upstream.send(call_to(server.url))).body == b"ok"
        assert server.connections == 1

    assert sink.parts == [b"0", b"1", b"2"]
    assert sink.head == answer
    assert (answer.status, answer.headers, answer.body) == (200, [("Content-Type", "a/b")], b"")


async def test_a_stream_in_one_segment_is_a_stream_too() -> None:
    """Head, parts and end at once; with a length as well as in chunks."""
    for wire in (CHUNKED + chunk(b"a") + chunk(b"b") + LAST, OK.replace(b"ok", b"ab")):
        sink = Collector()

        async def stream(peer: Peer, wire: bytes = wire) -> None:
            await peer.answer(wire)
            await peer.gone()

        async with raw_server(stream) as server, opened() as upstream:
            await upstream.send(call_to(server.url), sink)
        assert sink.body == b"ab"


async def test_what_is_no_200_comes_whole() -> None:
    """An error is one answer, however many segments it takes."""
    sink = Collector()

    async def fail(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 424 Failed\r\nContent-Length: 4\r\n\r\n", b"fa", b"il")
        await peer.gone()

    async with raw_server(fail) as server, opened() as upstream:
        answer = await upstream.send(call_to(server.url), sink)

    assert (answer.status, answer.body, sink.head) == (424, b"fail", None)


async def test_a_large_error_is_read_in_spite_of_the_bound_on_streams() -> None:
    """What waits for its end is not waited for."""
    body = b"x" * 60_000

    async def fail(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 500 Error\r\nContent-Length: %d\r\n\r\n" % len(body), body)
        await peer.gone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.upstream.connection.READ_BUFFER_BYTES", 10)
        async with raw_server(fail) as server, opened() as upstream:
            assert (await upstream.send(call_to(server.url), Collector())).body == body


async def test_no_more_is_read_than_is_taken() -> None:
    """While a part waits to be taken, a bounded buffer is filled, and SageMaker feels the rest; nothing is lost."""
    sink = Collector()
    sink.gate.clear()
    part, number = b"x" * 100_000, 100

    async def stream(peer: Peer) -> None:
        await peer.answer(CHUNKED)
        for _ in range(number):
            await peer.send(chunk(part))
        await peer.send(LAST)
        await peer.gone()

    async with raw_server(stream) as server, opened() as upstream:
        call = asyncio.create_task(upstream.send(call_to(server.url), sink))
        await until(lambda: any(connection._paused for connection in connections(upstream)))
        (connection,) = connections(upstream)
        for _ in range(20):
            await asyncio.sleep(0)
        assert connection._reader.size <= READ_BUFFER_BYTES + READ_AT_ONCE
        assert len(sink.parts) == 1
        sink.gate.set()
        await call

    assert sink.body == part * number


async def test_what_came_before_a_stream_broke_is_handed_out() -> None:
    """All of it, even what came in the segment that broke it; then it is broken."""
    for more in (b"zz", b""):
        sink = Collector()

        async def stream(peer: Peer, more: bytes = more) -> None:
            await peer.answer(CHUNKED + chunk(b"first"), chunk(b"second") + more)
            await peer.leave()

        async with raw_server(stream) as server, opened() as upstream:
            with pytest.raises(Refusal) as caught:
                await upstream.send(call_to(server.url), sink)
        assert (caught.value.row, sink.body) == (BROKEN, b"firstsecond")


async def test_a_stream_has_its_time_and_no_more() -> None:
    """Whether SageMaker is late with a part, or somebody is with taking one."""

    async def stream(peer: Peer) -> None:
        await peer.answer(CHUNKED + chunk(b"part"))
        await peer.gone()

    for is_taken in (True, False):
        sink = Collector()
        if not is_taken:
            sink.gate.clear()
        async with raw_server(stream) as server, opened() as upstream:
            with pytest.raises(Refusal) as caught:
                await upstream.send(call_to(server.url, timeout_seconds=0.1), sink)
            await asyncio.wait_for(server.idle.wait(), 5)
        assert (caught.value.row, sink.body) == (TIMEOUT, b"part")


async def test_a_stream_without_an_end_is_not_begun() -> None:
    """Its last byte would look like any other."""
    sink = Collector()

    async def stream(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 200 OK\r\n\r\npart")
        await peer.leave()

    async with raw_server(stream) as server, opened() as upstream:
        with pytest.raises(Refusal) as caught:
            await upstream.send(call_to(server.url), sink)

    assert (caught.value.row, sink.head) == (BROKEN, None)


async def serve_streams(peer: Peer) -> None:
    """Answer every request of the connection with a stream."""
    while True:
        await peer.answer(CHUNKED + chunk(b"part") + LAST)


async def test_a_garbled_stream_takes_its_connection_with_it() -> None:
    """Its bytes came whole, but what they say did not: nobody else's answer is looked for behind them."""
    async with raw_server(serve_streams) as server, opened() as upstream:
        answer = await upstream.send(call_to(server.url), Collector(is_sound=False))
        await upstream.send(call_to(server.url), Collector())
        await upstream.send(call_to(server.url), Collector())
        assert server.connections == 2

    assert answer.status == 200


async def test_who_fails_to_take_a_part_is_told_so() -> None:
    """It is a bug, and no fault of SageMaker's; its connection is closed in the middle of the answer."""
    sink = Collector()
    sink.error = KeyError("a bug")

    async with raw_server(serve_streams) as server, opened() as upstream:
        with pytest.raises(KeyError):
            await upstream.send(call_to(server.url), sink)
        await asyncio.wait_for(server.idle.wait(), 5)
        assert connections(upstream) == []


async def test_nothing_is_sent_where_nobody_can_be_told() -> None:
    """Who is to know that a byte leaves fails: none does, and the connection is closed."""

    def fail() -> None:
        raise KeyError("a bug")

    async with raw_server(serve_ok) as server, opened() as upstream:
        with pytest.raises(KeyError):
            await upstream.send(call_to(server.url), connected=fail)
        await asyncio.wait_for(server.idle.wait(), 5)
        assert (connections(upstream), server.requests) == ([], [])
