"""Bytes in, outcome out: bodies that are malformed, slow, cut off, too long or not wanted (faults 20, 22 to 25)."""

import asyncio

import pytest

from tests.doorstep import CALL, CHUNKED, HOST, LENGTH, PATH, SERVED, connected, open_doorstep, post, raw
from tests.faults.crowd import counted
from tests.raw import OK, Peer, serve_ok
from tests.waiting import until

LIMIT = 1000
EXPECT = b"Expect: 100-continue"
REFUSED = "HTTP/1.1 400, closed"
NOT_FOR_OPS = 405
"""What is answered at an ops path to a POST."""

CHUNKS = {
    "0x3": b"0x3\r\nabc\r\n0\r\n\r\n",
    "+3": b"+3\r\nabc\r\n0\r\n\r\n",
    "-3": b"-3\r\nabc\r\n0\r\n\r\n",
    "a space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a space after the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "no hexadecimal digit": b"g\r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "beyond 64 bits": b"1" + b"0" * 16 + b"\r\nabc\r\n0\r\n\r\n",
    "no line end after the data": b"3\r\nabcd\r\n0\r\n\r\n",
    "bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "bare LF at the end": b"3\r\nabc\r\n0\r\n\n",
    "bare CR": b"3\rabc\r0\r\r",
    "bare LF in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;a\0\r\nabc\r\n0\r\n\r\n",
    "a trailer that is no header": b"3\r\nabc\r\n0\r\nX T: a\r\n\r\n",
    "a length as trailer": b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    "200 trailers": b"3\r\nabc\r\n0\r\n" + b"X-T: a\r\n" * 200 + b"\r\n",
}

ODD_CHUNKS = {
    "an extension": b"3;a=b\r\nabc\r\n0\r\n\r\n",
    "a quoted extension": b'3;a="b;c"\r\nabc\r\n0;d\r\n\r\n',
    "zeros": b"00003\r\nabc\r\n000\r\n\r\n",
    "trailers": b"3\r\nabc\r\n0\r\nX-T: a\r\n\r\n",
    "capital digits": b"A\r\n" + b"a" * 10 + b"\r\n0\r\n\r\n",
}


async def test_malformed_chunks_are_refused_with_the_head() -> None:
    """Row 25: where head and body come together, 400 and close."""
    async with open_doorstep() as door:
        found = await door.outcomes({name: post(CHUNKED, body=body) for name, body in CHUNKS.items()})

    assert found == dict.fromkeys(CHUNKS, REFUSED)


@pytest.mark.parametrize("before", [(), (b"3\r\nabc\r\n",)], ids=["first chunk", "second chunk"])
async def test_malformed_chunks_are_refused_in_the_middle(before: tuple[bytes, ...]) -> None:
    """Row 25: a body that goes wrong while it is read is refused at once, once, and not at the body timeout."""
    found, logged = {}, []
    async with open_doorstep() as door:
        for name, body in CHUNKS.items():
            async with connected(door.gateway.url) as caller:
                await caller.send(post(CHUNKED))
                await until(lambda: len(door.gateway.roster.readers) == 1)
                await caller.send(*before, body)
                answer = await caller.answer()
                found[name] = (answer.status, answer.headers["connection"], await caller.rest())
        logged = [line["status"] for line in door.requests()]
        after = await door.outcome(CALL)
        runs = len(door.server.requests)

    assert found == dict.fromkeys(CHUNKS, (400, "close", b""))
    assert logged == [400] * len(CHUNKS)
    assert (after, runs) == (SERVED, 1)


async def test_a_malformed_body_in_a_pipeline_is_refused_in_its_turn() -> None:
    """Row 25: those before it are served, it gets 400, and nothing after it is looked at."""
    proceed = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await proceed.wait()
        await peer.send(OK)
        await serve_ok(peer)

    async with open_doorstep(serve) as door, connected(door.gateway.url) as caller:
        await caller.send(CALL)
        await until(lambda: len(door.server.requests) == 1)
        await caller.send(post(CHUNKED, body=b"3\r\nabc\r\n"), b"x\r\n" + CALL)
        proceed.set()
        answers = [await caller.answer(), await caller.answer()]
        rest = await caller.rest()

    assert [answer.status for answer in answers] == [200, 400]
    assert rest == b""
    assert len(door.server.requests) == 1


async def test_odd_chunks_are_taken() -> None:
    """Row 25: what RFC 9112, section 7.1, allows is a body, and SageMaker gets it with a length."""
    async with open_doorstep() as door:
        found = await door.outcomes({name: post(CHUNKED, body=body) for name, body in ODD_CHUNKS.items()})
        sent = [request.body for request in door.server.requests[::2]]

    assert found == dict.fromkeys(ODD_CHUNKS, SERVED)
    assert sent == [b"abc"] * 4 + [b"a" * 10]


@pytest.mark.parametrize(
    "parts", [[post(b"Content-Length: 6", body=b"abc")], [post(CHUNKED, body=b"3\r\nab")], [post(CHUNKED)]]
)
async def test_a_body_that_is_cut_off_reaches_nobody(parts: list[bytes]) -> None:
    """Row 25: half a body is no body: the caller has gone, and nothing is sent."""
    async with open_doorstep() as door:
        async with connected(door.gateway.url) as caller:
            await caller.send(*parts)
            await until(lambda: len(door.gateway.roster.readers) == 1)
            caller.writer.write_eof()
            rest = await caller.rest()
        await until(lambda: len(door.requests()) == 1)
        after = await door.outcome(CALL)

    assert (rest, door.requests()[0]["status"]) == (b"", 499)
    assert (after, len(door.server.requests)) == (SERVED, 1)


@pytest.mark.parametrize("body", [b"", b"ab", b"3\r\nab"])
async def test_a_slow_body_is_refused_and_its_connection_ends(body: bytes) -> None:
    """Row 20: 408 at the body timeout, with the word that the connection closes."""
    framing = CHUNKED if body.startswith(b"3") else LENGTH
    async with open_doorstep(listen={"body_timeout_seconds": 0.05}) as door:
        async with connected(door.gateway.url) as caller:
            await caller.send(post(framing, body=body))
            answer = await caller.answer()
            caller.writer.write_eof()
            rest = await caller.rest()
        after = await door.outcome(CALL)
        counts = await counted(door.gateway.url)

    assert (answer.status, answer.headers["connection"], rest) == (408, "close", b"")
    assert answer.headers["x-amzn-errortype"] == "requesttimeoutexception"
    assert (after, len(door.server.requests)) == (SERVED, 1)
    assert counts == {"requests 408": 1, "refusals body_timeout": 1, "requests 200": 1}


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"Content-Length: 99999999"),
        post(b"Content-Length: %d" % (LIMIT + 1), body=b"a" * (LIMIT + 1)),
        post(CHUNKED, body=b"%x\r\n" % (LIMIT + 1) + b"a" * (LIMIT + 1)),
        post(CHUNKED, body=b"ffffffffffffffff\r\n" + b"a" * (LIMIT + 1)),
        post(CHUNKED, body=b"1\r\na\r\n" * (LIMIT + 1)),
    ],
    ids=["declared", "declared and sent", "one chunk", "the longest chunk", "many chunks"],
)
async def test_an_oversize_body_is_refused(request_bytes: bytes) -> None:
    """Row 22: 413 before a byte is read, or when the count passes; nothing reaches a model."""
    async with open_doorstep(max_body_bytes=LIMIT) as door:
        async with connected(door.gateway.url) as caller:
            await caller.send(request_bytes)
            answer = await caller.answer()
        after = await door.outcome(CALL)
        counts = await counted(door.gateway.url)

    assert (answer.status, after, len(door.server.requests)) == (413, SERVED, 1)
    assert answer.headers["x-amzn-errortype"] == "requestentitytoolargeexception"
    assert counts == {"requests 413": 1, "refusals too_large": 1, "requests 200": 1}


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(EXPECT, b"Content-Length: 99999999"), 413),
        (post(EXPECT, LENGTH, path=b"/nowhere"), 404),
        (post(EXPECT, LENGTH, path=b"/livez"), 405),
        (post(EXPECT, LENGTH, b"Content-Encoding: gzip"), 415),
        (post(EXPECT, LENGTH, b"X-Amzn-SageMaker-Target-Variant: -"), 400),
        (post(EXPECT, b"Transfer-Encoding: gzip, chunked"), 501),
        (post(EXPECT, LENGTH, b"Upgrade: websocket"), 400),
        (post(b"Expect: 200-ok", LENGTH), 417),
        (post(b"Expect: 100-continue, 200-ok", LENGTH), 417),
    ],
)
async def test_who_asks_first_is_refused_before_the_body(request_bytes: bytes, status: int) -> None:
    """Row 23: the final answer and no 100, and the connection ends: whether the body still comes nobody knows."""
    async with open_doorstep() as door:
        async with connected(door.gateway.url) as caller:
            await caller.send(request_bytes)
            answer = await caller.answer()
            caller.writer.write_eof()
            rest = await caller.rest()
        runs = len(door.server.requests)
        after = await door.outcome(CALL)
        counts = await counted(door.gateway.url)

    assert (answer.status, answer.headers["connection"], rest, runs) == (status, "close", b"", 0)
    assert after == SERVED
    # What is asked of the ops paths counts nowhere.
    assert counts.get(f"requests {status}", 0) == (status != NOT_FOR_OPS)


async def test_who_asks_first_is_not_let_on_to_a_full_queue() -> None:
    """Row 23: 429 and no 100 where no permit is free and nobody else may wait; who comes later is served."""
    proceed = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await proceed.wait()
        await peer.send(OK)
        await serve_ok(peer)

    async with (
        open_doorstep(serve, queue={"max_waiting": 0}) as door,
        connected(door.gateway.url) as first,
        connected(door.gateway.url) as caller,
    ):
        await first.send(CALL)
        await until(lambda: len(door.server.requests) == 1)
        await caller.send(post(EXPECT, LENGTH))
        refused = await caller.answer()
        proceed.set()
        served = await first.answer()
        after = await door.outcome(CALL)
        counts = await counted(door.gateway.url)

    assert (refused.status, refused.headers["retry-after"], served.status) == (429, "1", 200)
    assert (after, len(door.server.requests)) == (SERVED, 2)
    assert counts == {"requests 429": 1, "refusals queue_full": 1, "requests 200": 2}


async def test_who_asks_first_and_is_wanted_gets_100() -> None:
    """Row 23: and only then; the last answer follows, and the connection is kept."""
    async with open_doorstep() as door, connected(door.gateway.url) as caller:
        await caller.send(post(EXPECT, LENGTH))
        interim = await caller.answer()
        await caller.send(b"abc")
        answer, end = await caller.answer(), await caller.end()

    assert (interim.line, answer.status, end) == ("HTTP/1.1 100", 200, "kept")


async def test_http_1_0_expects_nothing() -> None:
    """RFC 9110, section 10.1.1: an expectation in HTTP/1.0 is ignored, whatever it is."""
    async with open_doorstep() as door:
        found = await door.outcome(raw(b"POST " + PATH + b" HTTP/1.0", HOST, b"Expect: 200-ok", LENGTH, body=b"abc"))

    assert found == "HTTP/1.0 200, closed, ran"


@pytest.mark.parametrize(
    ("coding", "outcome"),
    [
        (b"gzip", "HTTP/1.1 415, kept"),
        (b"br", "HTTP/1.1 415, kept"),
        (b"gzip, identity", "HTTP/1.1 415, kept"),
        (b"identity", SERVED),
    ],
)
async def test_an_encoded_body_is_refused(coding: bytes, outcome: str) -> None:
    """Row 24: SageMaker undoes no Content-Encoding, so it is 415; and no body is decoded on the way."""
    async with open_doorstep() as door:
        found = await door.outcome(post(b"Content-Encoding: " + coding, LENGTH, body=b"abc"))
        after = await door.outcome(CALL)
        counts = await counted(door.gateway.url)

    assert (found, after) == (outcome, SERVED)
    assert counts == (
        {"requests 200": 2} if outcome == SERVED else {"requests 415": 1, "refusals bad_request": 1, "requests 200": 1}
    )
