"""How an answer goes back to its caller: whole, or in parts as they come, and never as a silent success."""

import asyncio
from collections import deque
from http import HTTPStatus
from itertools import chain
from typing import Protocol

from aiohttp import HttpVersion10, web
from aiohttp.helpers import rfc822_formatted_time
from multidict import CIMultiDict

from gateway.errors import PROXY_NAME, Refusal, stopped
from gateway.models import Answer
from gateway.request import Sent

BUFFERED_BYTES = 256 * 1024
"""How far SageMaker may be ahead of a slow caller; then it is not read from until the caller has caught up."""

JOINED_BYTES = 64 * 1024
"""Up to here an answer is copied behind its headers, which takes less time than handing over two pieces."""

BODILESS = frozenset({204, 304})
"""RFC 9110, section 6.4.1."""

_LAST_LINES = f"Server: {PROXY_NAME}\r\n\r\n"

REASONS = {status.value: status.phrase for status in HTTPStatus}
"""What stands behind the status; clients ignore it (RFC 9112, section 4)."""

SLICE_BYTES = 64 * 1024
"""How much is written at a time: a caller that takes so much within `STALL_SECONDS` is slow, and not gone."""

STALL_SECONDS = 60.0
"""How long a caller may take nothing of a stream before it counts as gone: meanwhile it keeps an instance busy."""


class Translator(Protocol):
    """Turns what SageMaker sends into what the caller is to get."""

    def head(self, answer: Answer) -> Answer:
        """Status and headers."""

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the body."""

    def sound(self) -> bool:
        """Whether all that came is what it should be, and ends where it may."""


class Pipe:
    """An answer in parts on its way from a call to its caller. Without a caller, what still comes is thrown away.

    Args:
        translator: what becomes of it on the way.
        limit: bytes that may stand in it before `put` waits.
    """

    def __init__(self, translator: Translator, limit: int = BUFFERED_BYTES) -> None:
        self._translator = translator
        self._limit = limit
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._failure: Refusal | None = None
        self._abandoned = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self.head: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        """Status and headers, as soon as they are there."""

    def begin(self, head: Answer) -> None:
        """Hand over status and headers."""
        self.head.set_result(self._translator.head(head))

    async def put(self, data: bytes) -> None:
        """Hand over a part; wait while the caller is too far behind."""
        part = self._translator.feed(data)
        if self._abandoned or not part:
            return
        self._parts.append(part)
        self._size += len(part)
        self._readable.set()
        while self._size > self._limit:
            self._writable.clear()
            await self._writable.wait()

    def sound(self) -> bool:
        """All of it is there: whether it is what it should be."""
        return self._translator.sound()

    def end(self, call: asyncio.Task[Answer]) -> None:
        """The call is over: nothing more comes, and where it failed, that is why."""
        failure = stopped() if call.cancelled() else call.exception()
        if failure is not None:
            self._failure = failure if isinstance(failure, Refusal) else stopped()
        self._ended = True
        self._readable.set()

    async def get(self) -> bytes:
        """All that has come since; empty at the proper end.

        Raises:
            Refusal: the answer ended before it was whole. All that came before has been handed out.
        """
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return b""
            self._readable.clear()
            await self._readable.wait()
        parts = b"".join(self._parts)
        self._empty()
        return parts

    def abandon(self) -> None:
        """Say that nobody reads any more."""
        self._abandoned = True
        self._empty()

    def _empty(self) -> None:
        self._parts.clear()
        self._size = 0
        self._writable.set()


async def send_whole(request: web.BaseRequest, answer: Answer, marks: dict[str, str], *, close: bool) -> Sent:
    """Send an answer that is all there.

    Args:
        request: what is answered.
        answer: the answer.
        marks: headers of the gateway's own.
        close: whether the connection ends with it.

    Raises:
        ConnectionError: the caller has gone.
    """
    transport, writer = request.transport, request.writer
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the caller has gone")
    keep_alive = request.keep_alive and not close
    head = _head(request, answer, marks, keep_alive=keep_alive)
    body = b"" if request.method == "HEAD" else answer.body
    if len(body) > JOINED_BYTES:
        transport.writelines((head, body))
    else:
        transport.write(head + body)
    writer.output_size += len(head) + len(body)
    if transport.get_write_buffer_size():
        await writer.drain()
    return Sent(answer.status, keep_alive=keep_alive)


def _head(request: web.BaseRequest, answer: Answer, marks: dict[str, str], *, keep_alive: bool) -> bytes:
    """Status line and headers: RFC 9112, sections 4 and 9.3."""
    old, status = request.version == HttpVersion10, answer.status
    lines = list(map(": ".join, chain(answer.headers, marks.items())))
    text = "".join(lines)
    if "\n" in text or "\r" in text:
        raise ValueError("a header of the answer has a line break in it")
    if status not in BODILESS:
        lines.append(f"Content-Length: {len(answer.body)}")
    if not keep_alive:
        lines.append("Connection: close")
    elif old:
        lines.append("Connection: keep-alive")
    start = f"HTTP/{'1.0' if old else '1.1'} {status} {REASONS.get(status, '')}"
    return "\r\n".join((start, *lines, f"Date: {rfc822_formatted_time()}", _LAST_LINES)).encode()


def open_parts(head: Answer, marks: dict[str, str], *, close: bool) -> web.StreamResponse:
    """The beginning of an answer in parts; the arguments are those of `send_whole`."""
    response = web.StreamResponse(status=head.status, headers=_headers(head, marks))
    if close:
        response.force_close()
    return response


async def send_parts(request: web.BaseRequest, response: web.StreamResponse, pipe: Pipe) -> int:
    """Send an answer as it comes; how many bytes of a body it had.

    Raises:
        Refusal: SageMaker's answer ended before it was whole.
        CancelledError: the caller has gone, or has taken nothing for `STALL_SECONDS`, which comes to the same.
    """
    size = 0
    try:
        await response.prepare(request)
        while part := await pipe.get():
            for start in range(0, len(part), SLICE_BYTES):
                async with asyncio.timeout(STALL_SECONDS):
                    await response.write(part[start : start + SLICE_BYTES])
            size += len(part)
        async with asyncio.timeout(STALL_SECONDS):
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
        raise asyncio.CancelledError from None
    return size


def cut_off(request: web.BaseRequest) -> None:
    """End the caller's connection without a last chunk, so that nobody takes what came for the whole."""
    transport = request.transport
    if transport is not None:
        transport.close()  # what was written still goes out, if the caller reads it
        asyncio.get_running_loop().call_later(STALL_SECONDS, transport.abort)


def _headers(answer: Answer, marks: dict[str, str]) -> CIMultiDict[str]:
    headers = CIMultiDict(answer.headers)
    headers["Server"] = PROXY_NAME
    headers.update(marks)
    return headers
