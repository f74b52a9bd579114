"""The reply: an answer as it stands on the wire, whatever the version, the method and the status."""

import asyncio
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import uvloop
from aiohttp import web

from gateway.models import Answer
from gateway.reply import send_whole
from gateway.request import Request, Sent
from tests.doorstep import Answer as Reply
from tests.doorstep import connected, listening

MARKS = {"X-Request-Id": "the-request"}


async def replied(answer: Answer, line: bytes = b"POST / HTTP/1.1", *fields: bytes, close: bool = False) -> Reply:
    """What a caller reads who asks like this."""

    async def handle(request: Request) -> web.StreamResponse | Sent:
        return await send_whole(request, answer, MARKS, close=close)

    async with listening(handle) as listener, connected(listener.url) as caller:
        await caller.send(b"\r\n".join([line, b"Host: gateway", b"Content-Length: 0", *fields]) + b"\r\n\r\n")
        return await caller.answer()


async def test_an_answer_goes_out_with_the_headers_of_both() -> None:
    """SageMaker's and the gateway's own, each once; and date, length and server, as HTTP asks for."""
    answer = Answer(200, [("Content-Type", "text/csv"), ("x-amzn-RequestId", "the-call")], b"a,b\n")
    reply = await replied(answer)

    headers = dict(reply.headers)
    assert parsedate_to_datetime(headers.pop("date")).tzinfo is not None
    assert headers == {
        "content-type": "text/csv",
        "x-amzn-requestid": "the-call",
        "x-request-id": "the-request",
        "content-length": "4",
        "server": "sagemaker-gateway",
    }
    assert (reply.status, reply.body) == (200, b"a,b\n")


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 5_000_000])
async def test_a_body_of_any_size_is_whole(size: int) -> None:
    """Copied behind its head or not."""
    reply = await replied(Answer(200, [("Content-Type", "text/plain")], b"x" * size))

    assert (reply.body, reply.headers["content-length"]) == (b"x" * size, str(size))


async def test_it_has_gone_out_when_it_is_said_to_have() -> None:
    """All of it is the kernel's by then: until a caller has taken so much of a long one, its request is open."""
    left: list[int] = []

    async def handle(request: Request) -> web.StreamResponse | Sent:
        sent = await send_whole(request, Answer(200, [], b"x" * 50_000_000), MARKS, close=False)
        assert request.transport is not None
        left.append(request.transport.get_write_buffer_size())
        return sent

    async with listening(handle) as listener, connected(listener.url) as caller:
        await caller.send(b"POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n")
        assert len((await caller.answer()).body) == 50_000_000

    assert left == [0]


@pytest.mark.parametrize(
    ("line", "field", "close", "connection"),
    [
        (b"POST / HTTP/1.1", b"X-A: b", False, None),
        (b"POST / HTTP/1.1", b"X-A: b", True, "close"),
        (b"POST / HTTP/1.1", b"Connection: close", False, "close"),
        (b"POST / HTTP/1.0", b"X-A: b", False, "close"),
        (b"POST / HTTP/1.0", b"Connection: keep-alive", False, "keep-alive"),
    ],
)
async def test_it_says_whether_the_connection_goes_on(
    line: bytes, field: bytes, *, close: bool, connection: str | None
) -> None:
    """RFC 9112, section 9.3."""
    reply = await replied(Answer(200, [], b"ok"), line, field, close=close)

    assert reply.headers.get("connection") == connection


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_caller_that_says_no_more_gets_its_answer(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Its end may be read before the answer is sent, and closes the connection: `nc -N` does so."""
    request = b"POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n"

    async def handle(request: Request) -> web.StreamResponse | Sent:
        return await send_whole(request, Answer(200, [], b"ok"), MARKS, close=False)

    async def ask() -> list[tuple[int, bytes]]:
        found = []
        async with listening(handle) as listener:
            for _ in range(10):
                async with connected(listener.url) as caller:
                    caller.writer.write(request)
                    caller.writer.write_eof()
                    reply = await caller.answer()
                    found.append((reply.status, reply.body))
        return found

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(ask()) == [(200, b"ok")] * 10


@pytest.mark.parametrize("status", [204, 304])
async def test_what_has_no_body_has_no_length(status: int) -> None:
    """RFC 9110, section 8.6: a length would be that of something else."""
    reply = await replied(Answer(status, [], b""))

    assert (reply.status, reply.headers.get("content-length"), reply.body) == (status, None, b"")


@pytest.mark.parametrize("evil", ["a\r\nX-Forged: 1", "a\nX-Forged: 1", "a\rb"])
@pytest.mark.parametrize("where", ["name", "value"])
async def test_a_header_cannot_become_two(evil: str, where: str) -> None:
    """It is a bug of ours that lets it come so far; the caller gets a 500, and nothing of it."""
    header: tuple[str, Any] = (evil, "b") if where == "name" else ("X-A", evil)
    reply = await replied(Answer(200, [header], b"ok"))

    assert (reply.status, reply.headers.get("x-forged")) == (500, None)
