"""One connection: busy, idle or over; and an end that is a cut is never taken for the end of an answer."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.upstream.connection import COPIED_BYTES, Connection, UnsentError
from gateway.upstream.outbox import Outbox
from gateway.upstream.reading import WireError
from tests.certificates import make_certificate
from tests.upstream.calls import call_to
from tests.waiting import until

HEAD = b"POST / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Diary:
    """Who is told of a connection.

    Attributes:
        told: what.
    """

    told: list[str] = field(default_factory=list)

    def opened(self, connection: Connection) -> None:
        """Its beginning."""
        assert connection.usable
        self.told.append("opened")

    def lost(self, connection: Connection) -> None:
        """Its end."""
        assert not connection.usable
        self.told.append("lost")


@dataclass
class Far:
    """The other end.

    Attributes:
        reader: what came.
        writer: what goes.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send."""
        self.writer.write(data)
        await self.writer.drain()


@asynccontextmanager
async def connected(diary: Diary) -> AsyncIterator[tuple[Connection, Far]]:
    """A connection, and its other end."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=far)
    transport, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(diary), sock=near)
    try:
        yield connection, Far(reader, writer)
    finally:
        transport.abort()
        writer.close()
        await until(lambda: "lost" in diary.told)


async def test_it_is_idle_then_busy_then_idle() -> None:
    """A call is begun on an idle one only; while it is busy it takes none, and after the answer it takes the next."""
    diary = Diary()
    async with connected(diary) as (connection, far):
        states = [(connection.usable, diary.told == ["opened"])]
        for _ in range(2):
            ended = connection.begin(HEAD, call_to("http://x", b"body"), by_parts=False)
            states.append((connection.usable, ended.done()))
            assert await far.reader.readexactly(len(HEAD) + 4) == HEAD + b"body"
            await far.send(OK)
            await ended
            states.append((connection.usable, connection.reusable))
            assert connection.answer(0).body == b"ok"

    assert states == [(True, True), (False, False), (True, True), (False, False), (True, True)]
    assert diary.told == ["opened", "lost"]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("size", [0, 1, COPIED_BYTES, COPIED_BYTES + 1, 10 * COPIED_BYTES])
async def test_head_and_body_leave_in_order(size: int, *, waits: bool) -> None:
    """Copied together or not, at once or with others."""
    body = bytes(number % 251 for number in range(size))
    outbox = Outbox(asyncio.get_running_loop()) if waits else None
    async with connected(Diary()) as (connection, far):
        connection.begin(HEAD, call_to("http://x", body), by_parts=False, outbox=outbox)
        assert await far.reader.readexactly(len(HEAD) + size) == HEAD + body


async def test_a_request_that_is_given_up_before_it_is_sent_never_leaves() -> None:
    """In the turn in which it waits for others: no model runs for nobody."""
    async with connected(Diary()) as (connection, far):
        connection.begin(HEAD, call_to("http://x"), by_parts=False, outbox=Outbox(asyncio.get_running_loop()))
        connection.abort()
        assert await far.reader.read() == b""


async def test_a_request_whose_connection_is_closed_before_it_is_sent_is_known_not_to_have_left() -> None:
    """Whether the close is noticed before the end of the turn or after it."""
    async with connected(Diary()) as (connection, _):
        outbox = Outbox(asyncio.get_running_loop())
        ended = connection.begin(HEAD, call_to("http://x"), by_parts=False, outbox=outbox)
        connection._transport.close()
        await ended
        with pytest.raises(UnsentError):
            connection.answer(0)


async def test_what_comes_before_the_request_is_sent_is_not_its_answer() -> None:
    """Whoever closes an idle connection may say so first. The request does not leave then, and that is said."""
    async with connected(Diary()) as (connection, far):
        outbox = Outbox(asyncio.get_running_loop())
        ended = connection.begin(HEAD, call_to("http://x"), by_parts=False, outbox=outbox)
        connection.data_received(OK)
        assert ended.done()
        with pytest.raises(UnsentError):
            connection.answer(0)
        assert await far.reader.read() == b""
        assert not connection.usable


async def test_the_answer_is_there_in_the_turn_of_its_last_byte() -> None:
    """Whoever waits goes on with the next turn of the loop: nothing is handed from task to task."""
    async with connected(Diary()) as (connection, _):
        ended = connection.begin(HEAD, call_to("http://x"), by_parts=False)
        connection.data_received(OK[:-1])
        assert not ended.done()
        connection.data_received(OK[-1:])
        assert ended.done()
        assert connection.usable


async def test_an_idle_one_that_the_far_end_closes_is_over_at_once() -> None:
    """It says so itself, before anybody wants to use it."""
    diary = Diary()
    async with connected(diary) as (connection, far):
        far.writer.close()
        await until(lambda: diary.told == ["opened", "lost"])
        assert not connection.usable


async def test_an_idle_one_on_which_something_comes_is_closed() -> None:
    """Even line ends: nobody asked."""
    diary = Diary()
    async with connected(diary) as (connection, far):
        await far.send(b"\r\n")
        await until(lambda: not connection.usable)
        assert await far.reader.read() == b""
    assert diary.told == ["opened", "lost"]


async def test_what_comes_between_an_answer_and_the_next_call_ends_it() -> None:
    """In the turn in which the answer is taken, too."""
    async with connected(Diary()) as (connection, _):
        connection.begin(HEAD, call_to("http://x"), by_parts=False)
        connection.data_received(OK)
        connection.data_received(OK)
        assert (connection.answer(0).body, connection.usable, connection.reusable) == (b"ok", False, False)


async def test_a_bug_is_told_and_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours while an answer is read reaches whoever looks after the loop; the call is broken."""
    told: list[BaseException | None] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context.get("exception")))
    monkeypatch.setattr("gateway.upstream.reading.perf_counter", lambda: 1 / 0)
    async with connected(Diary()) as (connection, far):
        ended = connection.begin(HEAD, call_to("http://x"), by_parts=False)
        await far.send(OK)
        await ended
        with pytest.raises(WireError):
            connection.answer(0)
    (error,) = told
    assert error is not None
    assert isinstance(error.__context__, ZeroDivisionError)


async def test_in_time_or_too_late_but_not_both() -> None:
    """Whichever comes first of the last byte and the end of the call's time, the other changes nothing."""
    async with connected(Diary()) as (connection, _):
        connection.begin(HEAD, call_to("http://x"), by_parts=False)
        connection.data_received(OK)
        connection.give_up()
        assert (connection.answer(0).body, connection.reusable) == (b"ok", True)

        connection.begin(HEAD, call_to("http://x"), by_parts=False)
        connection.give_up()
        connection.data_received(OK)
        assert (connection.usable, connection.reusable) == (False, False)
        with pytest.raises(TimeoutError):
            connection.answer(0)


async def test_a_body_may_end_with_the_connection_but_not_by_a_cut() -> None:
    """The far end says that no more comes: whole. It is gone without a word: broken."""
    for is_said in (True, False):
        async with connected(Diary()) as (connection, _):
            connection.begin(HEAD, call_to("http://x"), by_parts=False)
            connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            if is_said:
                connection.eof_received()
                assert (connection.answer(0).body, connection.reusable) == (b"half", False)
            else:
                connection._transport.abort()
                await until(lambda connection=connection: connection._failure is not None)  # type: ignore[misc]
                with pytest.raises(WireError):
                    connection.answer(0)


@asynccontextmanager
async def in_tls(folder: Path, serve: Callable[[Far], Awaitable[None]]) -> AsyncIterator[Connection]:
    """A connection in TLS, whose other end is served so."""
    files = make_certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    served = asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(Far(reader, writer))
        writer.transport.abort()
        served.set()

    server = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context)
    async with server:
        diary = Diary()
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(diary),
            *server.sockets[0].getsockname()[:2],
            ssl=ssl.create_default_context(cafile=files.certificate),
        )
        try:
            yield connection
        finally:
            connection.abort()
            await served.wait()
            await until(lambda: "lost" in diary.told)


async def test_a_large_body_passes_in_tls(tmp_path: Path) -> None:
    """Unchanged, and encrypted as fast as it is sent, not all at once; then the next call goes the same way."""
    body = bytes(range(251)) * 100_000
    waiting = []

    async def echo(far: Far) -> None:
        for _ in range(2):
            await far.reader.readexactly(len(HEAD))
            received = await far.reader.readexactly(len(body))
            waiting.append(received == body)
            await far.send(OK)
        await far.reader.read()

    async with in_tls(tmp_path, echo) as connection:
        for _ in range(2):
            ended = connection.begin(HEAD, call_to("http://x", body), by_parts=False)
            assert len(connection._unsent) > len(body) // 2
            await ended
            assert connection.answer(0).body == b"ok"
            assert connection.reusable

    assert waiting == [True, True]


async def test_an_answer_that_comes_early_in_tls_ends_the_connection(tmp_path: Path) -> None:
    """What is left of the body is not sent, and no other call waits behind it."""
    gone = asyncio.Event()

    async def refuse(far: Far) -> None:
        await far.reader.readexactly(len(HEAD))
        await far.send(OK)
        await gone.wait()

    async with in_tls(tmp_path, refuse) as connection:
        # More than what is on the way can be: buffers of both ends and of the system.
        await connection.begin(HEAD, call_to("http://x", bytes(50_000_000)), by_parts=False)
        state = connection.answer(0).body, connection.usable, connection.reusable
        gone.set()
    assert state == (b"ok", True, False)
