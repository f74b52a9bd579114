"""The callers of the bench are not taken in: a wrong answer is an error, never a figure."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from .load import WrongAnswer, open_callers
from .open_loop import Arrivals, open_loop
from .stream_load import open_stream_callers
from .wire import Chunks, Reader

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


class Answering(asyncio.Protocol):
    """Answers each request of a connection by its body."""

    def __init__(self, answer: Callable[[bytes], bytes], open_now: set[asyncio.Transport]) -> None:
        self._answer = answer
        self._open_now = open_now
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the others."""
        self._transport = cast(asyncio.Transport, transport)
        self._open_now.add(self._transport)

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        request = self._reader.feed(data)
        if request is not None and self._transport is not None:
            self._transport.write(self._answer(request[1]))


@asynccontextmanager
async def server(answer: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """A server that answers each request by its body; its port."""
    open_now: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Answering(answer, open_now), "127.0.0.1", 0) as listening:
        try:
            yield listening.sockets[0].getsockname()[1]
        finally:
            for transport in open_now:
                transport.abort()
            await asyncio.sleep(0)  # one turn, in which they close


def echo(body: bytes) -> bytes:
    """The right answer."""
    return OK % (len(body), body)


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "error": lambda body: echo(body).replace(b"200 OK", b"500 No"),
    "body": lambda _: OK % (3, b"no!"),
    "stale": lambda body: OK % (16, b"%016d" % 1) if b"2" in body[:16] else echo(body),
    "longer": lambda body: echo(body) + b"!",
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_closed_loop_does_not_count_a_wrong_answer(name: str) -> None:
    """Status, length and every byte of the body have to be right."""
    async with (
        server(WRONG[name]) as port,
        open_callers(port, "/", body_bytes=16, connections=2) as callers,
    ):
        with pytest.raises(WrongAnswer):
            await callers.run(10)


@pytest.mark.parametrize("name", WRONG)
async def test_an_open_loop_does_not_time_a_wrong_answer(name: str) -> None:
    """It, too, ends in an error."""

    def drive(port: int) -> None:
        with open_loop(port, "/", body_bytes=16, connections=2) as callers:
            callers.run(Arrivals(1_000, 0.01, seed=1))

    async with server(WRONG[name]) as port:
        with pytest.raises((WrongAnswer, ValueError)):
            await asyncio.to_thread(drive, port)


async def test_an_open_loop_times_each_request() -> None:
    """One latency for each arrival, in order, also where there are fewer connections than requests at a time."""
    arrivals = Arrivals(2_000, 0.05, seed=1)

    def drive(port: int) -> tuple[list[float], list[float]]:
        with open_loop(port, "/", body_bytes=16, connections=1) as callers:
            timed = callers.run(arrivals)
        return list(timed.latencies), list(timed.delays)

    async with server(echo) as port:
        latencies, delays = await asyncio.to_thread(drive, port)

    assert len(latencies) == len(delays) == len(list(arrivals))
    assert latencies == sorted(latencies)


async def test_a_stream_has_to_be_the_one_that_was_asked_for() -> None:
    """Whole, and of the right number."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\n0\r\n\r\n"

    async with (
        server(lambda _: answer) as port,
        open_stream_callers(port, "/", parts=2, between=0, connections=1) as callers,
    ):
        with pytest.raises(WrongAnswer):
            await callers.run(1)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_messages_are_put_together_however_they_are_cut(size: int) -> None:
    """Head and body come out whole, one message after the other."""
    reader, text = Reader(), OK % (5, b"a\r\n\r\n")

    for _ in range(2):
        *before, last = [reader.feed(text[at : at + size]) for at in range(0, len(text), size)]
        assert not any(before)
        assert last == (text[: -len(b"\r\n\r\na\r\n\r\n")], b"a\r\n\r\n")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_are_taken_apart_however_they_are_cut(size: int) -> None:
    """The content comes out whole, and the end is seen."""
    chunks = Chunks()
    text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"

    content = b"".join(chunks.feed(text[at : at + size]) for at in range(0, len(text), size))

    assert content == b"\r\n0123456789"
    assert chunks.over
