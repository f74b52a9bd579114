"""The client pool: exactly these bytes out, exactly those bytes in, and every fault of the far end as its refusal."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from gateway.budget import Budget
from gateway.errors import BROKEN, TIMEOUT, UNREACHABLE, Refusal, Row
from gateway.models import Answer, Call
from gateway.upstream import Upstream, open_upstream
from gateway.upstream.connection import Connection, Owner
from gateway.upstream.opening import Opener, Origin
from gateway.upstream.outbox import Outbox
from tests.raw import OK, Peer, RawServer, Script, raw_server, serve_ok
from tests.waiting import until

HEADERS = (("Host", "models.example"), ("X-Amz-Date", "now"), ("Content-Type", "text/plain"))
LIMIT = 64 * 1024
LARGE = 25 * 1024 * 1024


def call_to(url: str, body: bytes = b"{}", timeout_seconds: float = 10) -> Call:
    """A call with little patience for large answers."""
    return Call(
        url=f"{url}/endpoints/m/invocations",
        headers=HEADERS,
        body=body,
        response_headers=frozenset({"content-type", "x-kept"}),
        max_response_bytes=LIMIT,
        connect_attempts=2,
        connect_seconds=5,
        timeout_seconds=timeout_seconds,
    )


async def refused(upstream: Upstream, call: Call) -> Refusal:
    """Why there was no answer."""
    with pytest.raises(Refusal) as caught:
        await upstream.send(call)
    return caught.value


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """The pool; when it is closed it has left no task behind."""
    before = asyncio.all_tasks()
    async with open_upstream("gateway-test/1", Budget()) as pool:
        yield pool
    assert asyncio.all_tasks() - before == {asyncio.current_task()}


def answers(*parts: bytes, then: Script = Peer.gone) -> Script:
    """A script that answers one request with these bytes, each part in a segment of its own."""

    async def script(peer: Peer) -> None:
        await peer.answer(*parts)
        await then(peer)

    return script


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer with a length."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, lines, len(body), body)


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


# What goes out


async def test_the_request_is_these_bytes(upstream: Upstream) -> None:
    """Method, path, `User-Agent`, the given headers, the length, the body; nothing is added."""
    async with raw_server(serve_ok) as server:
        await upstream.send(call_to(server.url, b"\x00\xff\r\n"))
    (request,) = server.requests
    assert request.head == (
        b"POST /endpoints/m/invocations HTTP/1.1\r\n"
        b"User-Agent: gateway-test/1\r\n"
        b"Host: models.example\r\n"
        b"X-Amz-Date: now\r\n"
        b"Content-Type: text/plain\r\n"
        b"Content-Length: 4\r\n\r\n"
    )
    assert request.body == b"\x00\xff\r\n"


async def test_an_empty_body_has_a_length_too(upstream: Upstream) -> None:
    """A POST without a body says so."""
    async with raw_server(serve_ok) as server:
        await upstream.send(call_to(server.url, b""))
    assert server.requests[0].head.endswith(b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("path", ["/a%2Fb", "/a/../b", "/%e3%81%82", "//a", "/a?b=%20&c"])
async def test_the_path_is_sent_as_it_stands(upstream: Upstream, path: str) -> None:
    """It was signed like this: encoding it again, or normalising it, would break the signature."""
    async with raw_server(serve_ok) as server:
        await upstream.send(replace(call_to(server.url), url=server.url + path))
    assert server.requests[0].head.startswith(f"POST {path} HTTP/1.1\r\n".encode())


async def test_nothing_of_an_answer_goes_into_the_next_request(upstream: Upstream) -> None:
    """Cookies are not kept: one caller's answer never shows in another's request."""
    async with raw_server(answers(whole(b"", b"Set-Cookie: a=b; Path=/"), then=serve_ok)) as server:
        first, second = [await upstream.send(call_to(server.url)) for _ in range(2)]
    assert server.requests[0] == server.requests[1]
    assert (first.headers, second.headers) == ([], [])


async def test_large_bodies_pass_unchanged_both_ways(upstream: Upstream) -> None:
    """25 MiB, SageMaker's limit, there and back."""
    body = bytes(range(256)) * (LARGE // 256)

    async def echo(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(whole(request.body))

    async with raw_server(echo) as server:
        answer = await upstream.send(replace(call_to(server.url, body), max_response_bytes=LARGE))
    assert answer.body == body


# Connections


async def test_a_connection_is_used_again(upstream: Upstream) -> None:
    """One connection serves calls one after the other."""
    async with raw_server(serve_ok) as server:
        for _ in range(3):
            await upstream.send(call_to(server.url))
    assert (server.connections, len(server.requests)) == (1, 3)


@pytest.mark.parametrize(
    "answer",
    [
        whole(b"ok", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
    ],
)
async def test_a_connection_that_ends_with_its_answer_is_not_used_again(upstream: Upstream, answer: bytes) -> None:
    """`Connection: close`, HTTP/1.0, and bodies that end where the connection does."""
    async with raw_server(answers(answer, then=Peer.leave), serve_ok) as server:
        bodies = [(await upstream.send(call_to(server.url))).body for _ in range(2)]
        assert (bodies, server.connections) == ([b"ok", b"ok"], 2)


async def test_a_connection_that_died_while_idle_is_replaced_unseen(upstream: Upstream) -> None:
    """Closed by the far end: the next call gets another, and is sent once."""
    ended = asyncio.Event()

    async def serve_and_leave(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.leave()
        ended.set()

    async with raw_server(serve_and_leave, serve_ok) as server:
        await upstream.send(call_to(server.url))
        await ended.wait()
        assert (await upstream.send(call_to(server.url))).body == b"ok"
        assert (server.connections, len(server.requests)) == (2, 2)


async def test_a_connection_that_ends_before_its_request_is_sent_is_replaced(upstream: Upstream) -> None:
    """In the turn in which the request waits for others: nothing of it has left, so that another one takes it, once."""
    async with raw_server(serve_ok) as server:
        call = replace(call_to(server.url), urgent=False)
        await upstream.send(call)
        (idle,) = open_connections(upstream)
        sending = asyncio.create_task(upstream.send(call))
        await asyncio.sleep(0)  # it has begun
        taken = not idle.usable
        idle.eof_received()
        answer = await sending

    assert (taken, answer.body) == (True, b"ok")
    assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("urgent", [True, False])
async def test_only_what_is_not_urgent_waits_for_others(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, *, urgent: bool
) -> None:
    """A call for which an instance idles is on its way before anything else happens."""
    put: list[object] = []

    def note(_: Outbox, send: Callable[[], None]) -> None:
        put.append(send)
        send()

    monkeypatch.setattr(Outbox, "put", note)
    async with raw_server(serve_ok) as server:
        assert (await upstream.send(replace(call_to(server.url), urgent=urgent))).body == b"ok"

    assert len(put) == (0 if urgent else 1)


async def test_bytes_that_came_while_idle_are_no_answer(upstream: Upstream) -> None:
    """What the far end says unasked ends the connection: nobody gets the answer to another's call, now or later."""
    said = asyncio.Event()

    async def chatter(peer: Peer) -> None:
        await peer.answer(whole(b"mine"))
        await said.wait()
        await peer.send(whole(b"whose?"))
        await peer.gone()

    async with raw_server(chatter, serve_ok) as server:
        bodies = [(await upstream.send(call_to(server.url))).body]
        (idle,) = open_connections(upstream)
        said.set()
        await until(lambda: not idle.usable)
        bodies += [(await upstream.send(call_to(server.url))).body for _ in range(2)]
    assert bodies == [b"mine", b"ok", b"ok"]


async def test_a_connection_with_half_a_request_is_not_used_again(upstream: Upstream) -> None:
    """An answer that came before the body was out ends the connection: the next call does not queue behind the rest."""

    async def refuse_early(peer: Peer) -> None:
        await peer.head()
        await peer.send(whole(b"too large", status=b"413 Content Too Large"))
        await peer.gone()

    async with raw_server(refuse_early, serve_ok) as server:
        early = await upstream.send(call_to(server.url, bytes(LARGE)))
        following = await upstream.send(call_to(server.url))
    assert (early.status, following.body) == (413, b"ok")


async def test_a_server_that_speaks_before_it_is_spoken_to_is_unreachable(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent on such a connection, and after two of them it is given up."""
    open_connection = Opener.open

    async def late(opener: Opener, origin: Origin, owner: Owner) -> Connection:
        connection = await open_connection(opener, origin, owner)
        await until(lambda: not connection.usable)
        return connection

    async def greet(peer: Peer) -> None:
        await peer.send(OK)
        await peer.request()

    monkeypatch.setattr(Opener, "open", late)
    async with raw_server(greet) as server:
        refusal = await refused(upstream, call_to(server.url))
        seen = server.connections, len(server.requests)
    assert (refusal.row, seen) == (UNREACHABLE, (2, 0))


async def test_a_reset_is_no_end_of_a_body(upstream: Upstream) -> None:
    """A body without a length ends when its connection closes, and is cut off when that is reset: never a short 200."""
    read = asyncio.Event()

    async def cut(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await read.wait()
        peer.reset()

    async with raw_server(cut) as server:
        call = asyncio.create_task(refused(upstream, call_to(server.url)))
        await until(lambda: [each._reader.size for each in open_connections(upstream)] == [len(b"half")])
        read.set()
        assert (await call).row is BROKEN


def open_connections(upstream: Upstream) -> list[Connection]:
    """All connections, whether they carry a call or not."""
    return [connection for pool in upstream._pools.values() for connection in pool._open]


async def test_a_second_answer_to_one_call_reaches_nobody(upstream: Upstream) -> None:
    """Bytes after the end of an answer end the connection: they are never the answer to the next caller."""
    async with raw_server(answers(whole(b"mine") + whole(b"whose?")), serve_ok) as server:
        bodies = [(await upstream.send(call_to(server.url))).body for _ in range(2)]
    assert bodies == [b"mine", b"ok"]


async def test_the_pool_bounds_nothing(upstream: Upstream) -> None:
    """200 calls run at once: permits bound them, and a second bound would be a queue that nobody sees."""
    everybody = asyncio.Event()

    async def when_all_are_here(peer: Peer) -> None:
        await peer.request()
        if len(peer.server.requests) == 200:
            everybody.set()
        await everybody.wait()
        await peer.send(OK)

    async with raw_server(when_all_are_here) as server:
        found = await asyncio.gather(*(upstream.send(call_to(server.url)) for _ in range(200)))
    assert [answer.body for answer in found] == [b"ok"] * 200


async def test_closing_the_pool_closes_its_connections() -> None:
    """Idle ones included."""
    async with raw_server(serve_ok) as server:
        async with open_upstream("test", Budget()) as upstream:
            await asyncio.gather(*(upstream.send(call_to(server.url)) for _ in range(5)))
        await asyncio.wait_for(server.idle.wait(), 5)


# Answers


WHOLE_ANSWERS = [
    (whole(b"\x00\xff\r\n\r\n"), 200, b"\x00\xff\r\n\r\n"),
    (whole(b""), 200, b""),
    (CHUNKED + chunked(b"a", b"\r\n0\r\n\r\n", b"c" * 1000), 200, b"a\r\n0\r\n\r\n" + b"c" * 1000),
    (CHUNKED + b"3;ext=1\r\nabc\r\n0\r\nTrailer: x\r\n\r\n", 200, b"abc"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
    (b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 307, b""),
    (whole(b"no", status=b"424 Failed Dependency"), 424, b"no"),
    (whole(b"no", status=b"530 "), 530, b"no"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
    (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, 200, b"ok"),
    (whole(b"ok", b"Upgrade: h2c", b"Connection: upgrade"), 200, b"ok"),
]


@pytest.mark.parametrize(("raw", "status", "body"), WHOLE_ANSWERS)
async def test_an_answer_arrives_as_it_was_sent(upstream: Upstream, raw: bytes, status: int, body: bytes) -> None:
    """Status and body; interim answers are skipped, redirects not followed, and the connection goes on serving."""
    async with raw_server(answers(raw, then=serve_ok)) as server:
        answer = await upstream.send(call_to(server.url))
        assert (answer.status, answer.body) == (status, body)
        assert (await upstream.send(call_to(server.url))).body == b"ok"
        assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + whole(b"\x00body\r\n", b"X-Kept: a"),
        CHUNKED + chunked(b"\x00bo", b"dy\r\n"),
    ],
)
async def test_an_answer_may_be_cut_into_segments_anywhere(upstream: Upstream, raw: bytes) -> None:
    """At every byte position, and into single bytes: the same body."""

    async def cut(peer: Peer) -> None:
        for place in range(1, len(raw)):
            await peer.answer(raw[:place], raw[place:])
        await peer.answer(*[bytes([byte]) for byte in raw])

    async with raw_server(cut) as server:
        bodies = {(await upstream.send(call_to(server.url))).body for _ in range(len(raw))}
        assert (bodies, server.connections) == ({b"\x00body\r\n"}, 1)


async def test_an_encoded_answer_is_not_decoded(upstream: Upstream) -> None:
    """Bytes are sacred: whoever compressed them meant it, and a bomb stays closed."""
    body = gzip.compress(b"a" * 1000)
    async with raw_server(answers(whole(body, b"Content-Encoding: gzip"))) as server:
        answer = await upstream.send(call_to(server.url))
    assert answer.body == body


async def test_headers_of_the_list_come_back_as_they_were_and_no_others(upstream: Upstream) -> None:
    """In their order and spelling, repeated ones too, with letters beyond ASCII where they are UTF-8."""
    lines = [
        b"x-KEPT: one",
        b"Server: any",
        b"Content-Type: a/b; c=\xc3\xa9",
        b"X-Kept:  two ",
        b"X-Kept:",
        b"X-Other: x",
    ]
    async with raw_server(answers(whole(b"", *lines))) as server:
        answer = await upstream.send(call_to(server.url))
    assert answer.headers == [("x-KEPT", "one"), ("Content-Type", "a/b; c=é"), ("X-Kept", "two"), ("X-Kept", "")]


async def test_first_byte_is_when_the_headers_came(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is read at dispatch and at the headers; only then does this body begin."""
    readings: list[float] = []
    headers_came = asyncio.Event()

    def clock() -> float:
        readings.append(10.0 * len(readings))
        if len(readings) == 2:
            headers_came.set()
        return readings[-1]

    async def slowly(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await headers_came.wait()
        await peer.send(b"ok")

    monkeypatch.setattr("gateway.upstream.client.perf_counter", clock)
    monkeypatch.setattr("gateway.upstream.reading.perf_counter", clock)
    async with raw_server(slowly) as server:
        answer = await upstream.send(call_to(server.url))
    assert (answer.first_byte, answer.body) == (10.0, b"ok")


async def test_an_answer_may_come_before_the_request_is_whole(upstream: Upstream) -> None:
    """A refusal of a body that nobody reads is the answer, not a broken pipe."""

    async def too_large(peer: Peer) -> None:
        await peer.head()
        await peer.send(whole(b"too large", b"Connection: close", status=b"413 Content Too Large"))
        await peer.gone()

    async with raw_server(too_large, serve_ok) as server:
        answer = await upstream.send(call_to(server.url, bytes(LARGE)))
        assert (answer.status, answer.body) == (413, b"too large")
        assert (await upstream.send(call_to(server.url))).body == b"ok"


async def test_an_answer_as_long_as_may_be_is_read(upstream: Upstream) -> None:
    """With a length and in chunks."""
    body = b"x" * LIMIT
    async with raw_server(answers(whole(body), then=answers(CHUNKED + chunked(body)))) as server:
        assert [(await upstream.send(call_to(server.url))).body for _ in range(2)] == [body, body]


# Faults after the request has left: it may have run


async def reset(peer: Peer) -> None:
    """End with a reset."""
    peer.reset()


async def drip_headers(peer: Peer) -> None:
    """Send a header that never ends."""
    await peer.answer(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        await peer.send(b"x")
        await asyncio.sleep(0.01)


async def drip_body(peer: Peer) -> None:
    """Send a body that never ends."""
    await peer.answer(CHUNKED)
    while True:
        await peer.send(b"1\r\nx\r\n")
        await asyncio.sleep(0.01)


async def interim_for_ever(peer: Peer) -> None:
    """Say "processing" for ever."""
    await peer.request()
    while True:
        await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 10)
        await asyncio.sleep(0.01)


async def endless(peer: Peer) -> None:
    """Send without end and without pause."""
    await peer.answer(CHUNKED)
    while True:
        await peer.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")


Fault: TypeAlias = tuple[str, Script, Row]

FAULTS: list[Fault] = [
    ("closed before a byte", answers(then=Peer.leave), BROKEN),
    ("reset before a byte", answers(then=reset), BROKEN),
    ("closed after an interim answer", answers(b"HTTP/1.1 100 Continue\r\n\r\n", then=Peer.leave), BROKEN),
    ("closed within the status line", answers(b"HTTP/1.1 20", then=Peer.leave), BROKEN),
    ("closed within the headers", answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", then=Peer.leave), BROKEN),
    ("closed within the body", answers(whole(b"whole")[:-1], then=Peer.leave), BROKEN),
    ("reset within the body", answers(whole(b"whole")[:-1], then=reset), BROKEN),
    ("closed before the body", answers(whole(b"whole")[:-5], then=Peer.leave), BROKEN),
    ("closed before a chunk", answers(CHUNKED, then=Peer.leave), BROKEN),
    ("closed within a chunk", answers(CHUNKED + b"5\r\nwho", then=Peer.leave), BROKEN),
    ("closed between chunks", answers(CHUNKED + b"5\r\nwhole\r\n", then=Peer.leave), BROKEN),
    ("closed before the last line end", answers(CHUNKED + b"5\r\nwhole\r\n0\r\n", then=Peer.leave), BROKEN),
    ("reset between chunks", answers(CHUNKED + b"5\r\nwhole\r\n", then=reset), BROKEN),
    ("silence", answers(), TIMEOUT),
    ("silence within the headers", answers(b"HTTP/1.1 200 OK\r\n"), TIMEOUT),
    ("silence within the body", answers(whole(b"whole")[:-1]), TIMEOUT),
    ("silence after an interim answer", answers(b"HTTP/1.1 100 Continue\r\n\r\n"), TIMEOUT),
    ("dripping headers", drip_headers, TIMEOUT),
    ("dripping body", drip_body, TIMEOUT),
    ("interim answers for ever", interim_for_ever, TIMEOUT),
    ("no HTTP", answers(b"220 mail.example ESMTP\r\n\r\n"), BROKEN),
    ("binary", answers(b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n"), BROKEN),
    ("HTTP/2", answers(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"), BROKEN),
    ("a request", answers(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), BROKEN),
    ("switching protocols", answers(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), BROKEN),
    ("header without a colon", answers(b"HTTP/1.1 200 OK\r\nwhat\r\nContent-Length: 0\r\n\r\n"), BROKEN),
    ("carriage return in a header", answers(whole(b"", b"X-Kept: a\rb")), BROKEN),
    ("NUL in a header", answers(whole(b"", b"X-Kept: a\x00b")), BROKEN),
    ("header that is not UTF-8", answers(whole(b"", b"X-Kept: \xff")), BROKEN),
    ("header of 100 kB", answers(whole(b"", b"X-Kept: " + b"x" * 100_000)), BROKEN),
    ("1,000 headers", answers(whole(b"", *[b"X-Any: x"] * 1000)), BROKEN),
    ("length with a sign", answers(b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"), BROKEN),
    ("length below zero", answers(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"), BROKEN),
    ("two lengths", answers(whole(b"ok", b"Content-Length: 3")), BROKEN),
    (
        "a length and chunks",
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + CHUNKED[17:] + chunked(b"a")),
        BROKEN,
    ),
    ("chunk size that is no number", answers(CHUNKED + b"zz\r\nab\r\n0\r\n\r\n"), BROKEN),
    ("chunk longer than its size", answers(CHUNKED + b"1\r\nab\r\n0\r\n\r\n"), BROKEN),
    ("declared too long", answers(whole(b"x" * (LIMIT + 1))), BROKEN),
    ("too long in chunks", answers(CHUNKED + chunked(b"x" * LIMIT, b"x")), BROKEN),
    ("too long until the end", answers(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LIMIT + 1)), BROKEN),
    ("endless", endless, BROKEN),
]


@pytest.mark.parametrize(("script", "row"), [pytest.param(script, row, id=name) for name, script, row in FAULTS])
async def test_a_fault_is_told_once_and_passes(upstream: Upstream, script: Script, row: Row) -> None:
    """The call is sent once; its connection is closed; and the next call is served as if nothing had been."""
    ended = asyncio.Event()

    async def play(peer: Peer) -> None:
        try:
            await script(peer)
            await peer.gone()
        finally:
            ended.set()

    async with raw_server(play, serve_ok) as server:
        # What is meant to run into the time limit gets little of it, and what is not, plenty.
        call = call_to(server.url, timeout_seconds=0.2 if row is TIMEOUT else 10)
        assert (await refused(upstream, call)).row is row
        assert len(server.requests) == 1
        await asyncio.wait_for(ended.wait(), 5)
        assert (await upstream.send(call_to(server.url))).body == b"ok"
        assert (server.connections, len(server.requests)) == (2, 2)


async def test_a_call_that_is_cancelled_closes_its_connection(upstream: Upstream) -> None:
    """Nobody else gets a connection on which an answer is still to come."""
    arrived = asyncio.Event()

    async def late(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.gone()

    async with raw_server(late, serve_ok) as server:
        task = asyncio.create_task(upstream.send(call_to(server.url)))
        await arrived.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert (await upstream.send(call_to(server.url))).body == b"ok"
        assert server.connections == 2


# Faults before a byte has left: it cannot have run


@contextmanager
def counted(before: Callable[[int], Awaitable[None]] | None = None) -> Iterator[list[Origin]]:
    """The connections that are tried for; something may happen before each of them."""
    tried: list[Origin] = []
    open_connection = Opener.open

    async def count(opener: Opener, origin: Origin, owner: Owner) -> Connection:
        tried.append(origin)
        if before is not None:
            await before(len(tried))
        return await open_connection(opener, origin, owner)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Opener, "open", count)
        yield tried


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port on which every connection is refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def deaf() -> Iterator[int]:
    """A port on which connections are never completed: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003 - the standard library's
            filler.connect_ex(("127.0.0.1", port))
        yield port


async def unreachable(call: Call) -> tuple[Row, int]:
    """The refusal, and how often it was tried to connect."""
    with counted() as tried:
        async with open_upstream("test", Budget()) as upstream:
            refusal = await refused(upstream, call)
    return refusal.row, len(tried)


async def test_a_refused_connection_is_tried_twice(refusing: int) -> None:
    """No byte has left, so another try is safe; then the caller is told that no model saw the call."""
    assert await unreachable(call_to(f"http://127.0.0.1:{refusing}")) == (UNREACHABLE, 2)


async def test_the_second_attempt_serves(upstream: Upstream) -> None:
    """The caller notices nothing of the first."""

    async def fail_once(attempt: int) -> None:
        if attempt == 1:
            raise ConnectionRefusedError

    async with raw_server(serve_ok) as server:
        with counted(before=fail_once) as tried:
            assert (await upstream.send(call_to(server.url))).body == b"ok"
        assert (len(tried), len(server.requests)) == (2, 1)


async def test_second_attempts_are_a_tenth_of_the_calls(upstream: Upstream, refusing: int) -> None:
    """Where nothing can be reached: 10 that were saved up, and then one for every ten calls."""
    with counted() as tried:
        for _ in range(60):
            await refused(upstream, call_to(f"http://127.0.0.1:{refusing}"))
    assert 60 + 14 <= len(tried) <= 60 + 16


async def test_a_connection_that_is_not_completed_in_time_is_unreachable() -> None:
    """Each of two attempts has `connect_seconds`, and the call was never sent."""
    with deaf() as port:
        call = replace(call_to(f"http://127.0.0.1:{port}"), connect_seconds=0.05)
        assert await unreachable(call) == (UNREACHABLE, 2)


async def test_a_connection_that_takes_the_whole_time_of_the_call_is_unreachable() -> None:
    """Not `timeout`: what was not sent cannot have run."""
    with deaf() as port:
        assert await unreachable(call_to(f"http://127.0.0.1:{port}", timeout_seconds=0.05)) == (UNREACHABLE, 1)


@pytest.mark.parametrize(("error", "connect_seconds"), [(socket.gaierror(-2, "unknown"), 5), (None, 0.05)])
async def test_a_name_that_does_not_resolve_is_unreachable(
    monkeypatch: pytest.MonkeyPatch, error: OSError | None, connect_seconds: float
) -> None:
    """Unknown, or the name service is silent."""

    async def getaddrinfo(*_: Any, **__: Any) -> None:
        if error is None:
            await asyncio.Event().wait()
        raise error or AssertionError

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    call = replace(call_to("http://models.example"), connect_seconds=connect_seconds)
    assert await unreachable(call) == (UNREACHABLE, 2)


async def test_a_failed_tls_handshake_is_unreachable() -> None:
    """The far end speaks no TLS: nothing of the call was shown to it."""
    seen: list[bytes] = []

    async def speak_plainly(peer: Peer) -> None:
        seen.append(await peer.reader.read(65_536))
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(speak_plainly) as server:
        assert await unreachable(call_to(server.url.replace("http", "https"))) == (UNREACHABLE, 2)
    assert [b"POST" in hello for hello in seen] == [False, False]


async def test_refusals_tell_no_secret(refusing: int) -> None:
    """Neither address nor headers are the caller's business."""
    async with open_upstream("test", Budget()) as upstream, raw_server(answers(then=Peer.leave)) as server:
        calls = [call_to(f"http://127.0.0.1:{refusing}"), call_to(server.url)]
        messages = " ".join([(await refused(upstream, call)).message for call in calls])
    assert [word in messages for word in ("127.0.0.1", str(refusing), "models.example")] == [False] * 3


async def test_calls_do_not_hinder_each_other(upstream: Upstream) -> None:
    """Faults and answers side by side: each call has its own end."""
    scripts = [script for _, script, row in FAULTS if row is BROKEN]

    async def one(server: RawServer) -> Answer | Row:
        try:
            return await upstream.send(call_to(server.url))
        except Refusal as refusal:
            return refusal.row

    async with raw_server(*scripts, serve_ok) as server:
        ends = await asyncio.gather(*(one(server) for _ in range(2 * len(scripts))))
    assert ends.count(BROKEN) == len(scripts)
    assert [end.body for end in ends if isinstance(end, Answer)] == [b"ok"] * len(scripts)
