"""A caller's body: whole, bounded in bytes and seconds, and asked for only where it is wanted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.body import body_at_hand, read_body
from gateway.buffers import Buffers, Reservation
from gateway.errors import BODY_TIMEOUT, TOO_LARGE, Refusal

HEAD = b"POST / HTTP/1.1\r\nHost: gateway\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
EXPECT = b"Expect: 100-continue\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PATIENT = 30.0
LIMIT = 1000


def declared(length: int, *headers: bytes) -> bytes:
    """The head of a request that says how long its body is."""
    return HEAD + b"".join(headers) + b"Content-Length: %d\r\n\r\n" % length


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks, without its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


END = b"0\r\n\r\n"


@dataclass
class Caller:
    """A caller on a raw socket, and what the gateway made of its requests.

    Attributes:
        reader: what the gateway sends.
        writer: what the caller sends.
        bodies: the bodies that were read, with their digests.
        refusals: the refusals instead.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    bodies: list[tuple[bytes, str]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    async def send(self, *parts: bytes) -> None:
        """Send bytes, each part in a segment of its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def status(self) -> int:
        """Read the head of the next answer: its status."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        return int(head.split(b" ", 2)[1])

    async def read(self, *parts: bytes) -> bytes:
        """Send a whole request: its body as the gateway read it. The digest has to be right."""
        await self.send(*parts)
        assert await self.status() == 200
        body, digest = self.bodies[-1]
        assert digest == sha256(body).hexdigest()
        return body

    async def refused(self, *parts: bytes) -> Refusal:
        """Send as much as it takes to be refused: the refusal, which comes at once and without a 100."""
        await self.send(*parts)
        status = await self.status()
        (refusal,) = self.refusals
        assert (status, self.bodies) == (refusal.row.status, [])
        return refusal


@asynccontextmanager
async def open_caller(*, limit: int = LIMIT, seconds: float = PATIENT) -> AsyncIterator[Caller]:
    """A caller who is connected to aiohttp's own server, whose handler does nothing but read the body."""
    caller: Caller

    async def handle(request: web.BaseRequest) -> web.Response:
        try:
            memory = Reservation(Buffers(2**30))
            found = body_at_hand(request, limit=limit, memory=memory)
            caller.bodies.append(found or await read_body(request, limit=limit, seconds=seconds, memory=memory))
        except Refusal as refusal:
            caller.refusals.append(refusal)
            return web.Response(status=refusal.row.status)
        return web.Response()

    runner = web.ServerRunner(web.Server(handle, handler_cancellation=True, access_log=None))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        caller = Caller(*await asyncio.open_connection("127.0.0.1", site.port))
        try:
            yield caller
        finally:
            caller.writer.close()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "parts",
    [
        [declared(6) + b"abcdef"],
        [declared(6), b"abcdef"],
        [declared(6), b"abc", b"def"],
        [declared(6), *[bytes([byte]) for byte in b"abcdef"]],
        [CHUNKED + b"\r\n" + chunked(b"abcdef") + END],
        [CHUNKED + b"\r\n", chunked(b"abc"), chunked(b"d", b"ef"), END],
        [CHUNKED + b"\r\n", b"6;ext=1\r\nab", b"cdef\r", b"\n0\r\nTrailer: x\r\n", b"\r\n"],
    ],
)
async def test_a_body_is_read_whole_however_it_comes(parts: list[bytes]) -> None:
    """With a length or in chunks, together with the head or after it, in pieces of any size."""
    async with open_caller() as caller:
        assert await caller.read(*parts) == b"abcdef"


@pytest.mark.parametrize("parts", [[HEAD + b"\r\n"], [declared(0)], [CHUNKED + b"\r\n", END], [declared(0, EXPECT)]])
async def test_an_empty_body_is_a_body(parts: list[bytes]) -> None:
    """However its emptiness is told."""
    async with open_caller(limit=0) as caller:
        assert await caller.read(*parts) == b""


async def test_one_connection_brings_many_bodies() -> None:
    """Nothing of one request is left over in the next."""
    async with open_caller() as caller:
        bodies = [await caller.read(declared(3), b"abc"), await caller.read(CHUNKED + b"\r\n", chunked(b"de"), END)]
    assert bodies == [b"abc", b"de"]


async def test_a_large_body_passes_unchanged() -> None:
    """25 MiB, SageMaker's limit."""
    body = bytes(range(256)) * (25 * 4096)
    async with open_caller(limit=len(body)) as caller:
        assert await caller.read(declared(len(body)), body) == body


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200), max_size=5))
def test_any_bytes_pass_in_any_pieces(chunks: list[bytes]) -> None:
    """Text or binary, chunked or not: what was sent is what is read and hashed."""

    async def both() -> list[bytes]:
        whole = b"".join(chunks)
        async with open_caller() as caller:
            return [
                await caller.read(CHUNKED + b"\r\n", chunked(*chunks), END),
                await caller.read(declared(len(whole)), *chunks),
            ]

    assert asyncio.run(both()) == [b"".join(chunks)] * 2


@pytest.mark.parametrize(
    "parts", [[declared(LIMIT), b"x" * LIMIT], [CHUNKED + b"\r\n", chunked(b"x" * (LIMIT - 1), b"x"), END]]
)
async def test_a_body_as_long_as_may_be_is_read(parts: list[bytes]) -> None:
    """The limit itself is allowed."""
    async with open_caller() as caller:
        assert len(await caller.read(*parts)) == LIMIT


@pytest.mark.parametrize("headers", [[], [EXPECT]])
@pytest.mark.parametrize("length", [LIMIT + 1, 99_999_999_999])
async def test_a_declared_length_over_the_limit_is_refused_before_a_byte_is_read(
    length: int, headers: list[bytes]
) -> None:
    """The caller has sent nothing of the body, gets no 100, and learns the limit."""
    async with open_caller() as caller:
        refusal = await caller.refused(declared(length, *headers))
    assert (refusal.row, f" {LIMIT} bytes" in refusal.message) == (TOO_LARGE, True)


@pytest.mark.parametrize(
    "parts",
    [
        [CHUNKED + b"\r\n", chunked(b"x" * LIMIT, b"x")],
        [CHUNKED + b"\r\n" + chunked(b"x" * (LIMIT + 1))],
        [CHUNKED + b"\r\n" + chunked(b"x" * (LIMIT + 1)) + END],
    ],
)
async def test_a_chunked_body_over_the_limit_is_refused_when_the_count_passes(parts: list[bytes]) -> None:
    """Not at its end, which need never come."""
    async with open_caller() as caller:
        assert (await caller.refused(*parts)).row is TOO_LARGE


async def drip(caller: Caller) -> None:
    """Send a byte now and then, for ever."""
    while True:
        await caller.send(b"x")
        await asyncio.sleep(0.01)


async def keep_silent(_: Caller) -> None:
    """Send nothing."""


@pytest.mark.parametrize("how", [keep_silent, drip])
@pytest.mark.parametrize("head", [declared(LIMIT), CHUNKED + b"\r\n3e8\r\n"])
async def test_a_slow_body_is_refused_when_its_time_is_up(
    head: bytes, how: Callable[[Caller], Awaitable[None]]
) -> None:
    """The time is for the whole of it: a byte now and then does not prolong it."""
    async with open_caller(seconds=0.1) as caller:
        sending = asyncio.ensure_future(how(caller))
        refusal = await caller.refused(head)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert (refusal.row, "0.1 s" in refusal.message) == (BODY_TIMEOUT, True)


async def test_a_body_that_is_there_already_has_no_time_limit() -> None:
    """What came with the head was not slow."""
    async with open_caller(seconds=0) as caller:
        assert await caller.read(declared(3) + b"abc") == b"abc"


@pytest.mark.parametrize("expect", [EXPECT, EXPECT.upper(), b"expect:100-Continue\r\n"])
@pytest.mark.parametrize(
    ("head", "body"), [(HEAD + b"Content-Length: 3\r\n", b"abc"), (CHUNKED, chunked(b"abc") + END)]
)
async def test_a_caller_that_waits_for_100_gets_it_when_the_body_is_wanted(
    head: bytes, body: bytes, expect: bytes
) -> None:
    """Then it sends the body, and the answer follows."""
    async with open_caller() as caller:
        await caller.send(head + expect + b"\r\n")
        assert await asyncio.wait_for(caller.reader.readexactly(len(CONTINUE)), 10) == CONTINUE
        assert await caller.read(body) == b"abc"


async def test_http_1_0_gets_no_100() -> None:
    """RFC 9110, 10.1.1: a client of HTTP/1.0 would take the interim answer for the final one."""
    async with open_caller() as caller:
        body = await caller.read(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", b"abc")
    assert body == b"abc"


async def test_a_caller_that_does_not_ask_gets_no_100() -> None:
    """The first answer is the final one."""
    async with open_caller() as caller:
        assert await caller.read(declared(3), b"abc") == b"abc"


async def test_a_caller_that_waited_for_100_and_sends_nothing_is_refused_in_time() -> None:
    """The time runs from the 100 on."""
    async with open_caller(seconds=0.1) as caller:
        await caller.send(declared(3, EXPECT))
        assert await caller.status() == 100
        assert (await caller.refused()).row is BODY_TIMEOUT


async def test_a_caller_that_leaves_ends_the_reading() -> None:
    """Neither a body nor a refusal is made of half a body."""
    async with open_caller() as caller:
        await caller.send(declared(6), b"abc")
        caller.writer.close()
        await caller.writer.wait_closed()
    assert (caller.bodies, caller.refusals) == ([], [])
