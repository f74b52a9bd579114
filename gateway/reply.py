"""How an answer goes back to its caller: whole, or in parts as they come, and never as a silent success."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web
from multidict import CIMultiDict

from gateway.errors import PROXY_NAME, Refusal, stopped
from gateway.models import Answer

BUFFERED_BYTES = 256 * 1024
"""How far SageMaker may be ahead of a slow caller; then it is not read from until the caller has caught up."""

STALL_SECONDS = 60.0
"""How long a caller may take nothing of a stream before it counts as gone: meanwhile it keeps an instance busy."""


class Translator(Protocol):
    """Turns what SageMaker sends into what the caller is to get."""

    def head(self, answer: Answer) -> Answer:
        """Status and headers."""

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the body."""


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

    def end(self, call: asyncio.Task[Answer]) -> None:
        """The call is over: nothing more comes, and where it failed, that is why."""
        failure = stopped() if call.cancelled() else call.exception()
        self._failure = failure if isinstance(failure, Refusal) else None
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


def whole(answer: Answer, marks: dict[str, str], *, close: bool) -> web.Response:
    """An answer that is all there.

    Args:
        answer: the answer.
        marks: headers of the gateway's own.
        close: whether the connection ends with it.
    """
    response = web.Response(status=answer.status, headers=_headers(answer, marks), body=answer.body)
    if close:
        response.force_close()
    return response


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an answer in parts.

    Attributes:
        response: aiohttp's handle of it.
        size: how many bytes of a body were sent.
        failure: why it was cut off; None where it came to its end.
    """

    response: web.StreamResponse
    size: int
    failure: Refusal | None


async def in_parts(request: web.BaseRequest, head: Answer, pipe: Pipe, marks: dict[str, str]) -> Sent:
    """Send an answer as it comes.

    Where SageMaker's answer ends before it is whole, the caller's connection is cut off, without a last chunk: nobody
    shall take that for an end.

    Raises:
        CancelledError: the caller has gone, or has taken nothing for `STALL_SECONDS`, which comes to the same.
    """
    response = web.StreamResponse(status=head.status, headers=_headers(head, marks))
    size = 0
    try:
        await response.prepare(request)
        while part := await pipe.get():
            async with asyncio.timeout(STALL_SECONDS):
                await response.write(part)
            size += len(part)
        await response.write_eof()
    except Refusal as failure:
        if request.transport is not None:
            request.transport.close()  # what was written still goes out; the last chunk does not
        return Sent(response, size, failure)
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
        raise asyncio.CancelledError from None
    return Sent(response, size, None)


def _headers(answer: Answer, marks: dict[str, str]) -> CIMultiDict[str]:
    headers = CIMultiDict(answer.headers)
    headers["Server"] = PROXY_NAME
    headers.update(marks)
    return headers
