"""The platform's side of a built-in model: short calls without a task, a request in one write, its answer whole.

It reads only what `model` writes. What is not short is left to the ways of any container, whose answers can be
anything that HTTP allows.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from gateway.emulator.container import Container
from gateway.emulator.headers import CUSTOM_ATTRIBUTES
from gateway.emulator.outcome import Answer, Failure, Invocation, Outcome

SHORT_BYTES = 65_536
"""The largest body of a short call; the kernel takes as much in one go."""

END_OF_HEAD = b"\r\n\r\n"
STATUS = slice(9, 12)
"""Where the status stands in a status line."""


class BuiltIn(Container):
    """A process of the built-in model, with a connection for each call that it was ever sent at a time."""

    def __init__(self, session: aiohttp.ClientSession, base: URL, *, max_body_bytes: int) -> None:
        super().__init__(session, base, max_body_bytes=max_body_bytes)
        self._host, self._port = base.host or "", base.port or 0
        self._lines: set[Line] = set()
        self._idle: list[Line] = []

    def start(self, invocation: Invocation, done: Callable[[Outcome], None]) -> bool:
        """Send a short call now if there is a connection for it, and have its outcome told later."""
        if not (self._idle and _is_short(invocation)):
            return False
        self._idle.pop().send(self.request(invocation), done)
        return True

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Send a call once, and read the whole answer."""
        if not _is_short(invocation):
            return await super().invoke(invocation)
        loop = asyncio.get_running_loop()
        try:
            _, line = await loop.create_connection(self._line, self._host, self._port)
        except OSError:
            return Failure.LOST
        outcome: asyncio.Future[Outcome] = loop.create_future()
        line.send(self.request(invocation), partial(_resolve, outcome))
        return await outcome

    def close(self) -> None:
        """Close all connections; who waits for an answer is told that it is lost."""
        for line in self._lines:
            line.close()

    def _line(self) -> "Line":
        return Line(self._lines, self._idle, max_body_bytes=self.max_body_bytes)


class _Head(NamedTuple):
    raw: bytes
    status: int
    headers: CIMultiDictProxy[str]
    length: int


class Line(asyncio.Protocol):
    """One connection, for one call at a time.

    Args:
        lines: Where it stands while it is open.
        idle: Where it stands while it has nothing to do.
        max_body_bytes: The largest body that it takes.
    """

    def __init__(self, lines: set["Line"], idle: list["Line"], *, max_body_bytes: int) -> None:
        self._lines = lines
        self._idle = idle
        self._max_body_bytes = max_body_bytes
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._head: _Head | None = None
        self._last_head: _Head | None = None  # a model says the same again and again
        self._done: Callable[[Outcome], None] | None = None

    def send(self, request: bytes, done: Callable[[Outcome], None]) -> None:
        """Send a request. How it ended is told once, in a later turn of the event loop."""
        self._done = done
        if self._transport is not None:
            self._transport.write(request)

    def close(self) -> None:
        """End the connection; an answer that is awaited is lost."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can be used."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from asyncio's
        self._lines.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The model has gone, or the connection was closed."""
        del error
        self._lines.discard(self)
        if self in self._idle:
            self._idle.remove(self)
        self._tell(Failure.LOST if self._head is None else Failure.CUT)

    def data_received(self, data: bytes) -> None:
        """Something of the answer came."""
        received = self._received
        received += data
        if self._head is None:
            end = received.find(END_OF_HEAD)
            if end < 0:
                return
            self._head = self._read(bytes(received[:end]))
            del received[: end + len(END_OF_HEAD)]
        head = self._head
        if head.length > self._max_body_bytes:
            self.close()
            self._tell(Failure.CUT)
        elif len(received) >= head.length:
            answer = Answer(head.status, head.headers, bytes(received))
            received.clear()
            self._head = None
            self._idle.append(self)
            self._tell(answer)

    def _read(self, raw: bytes) -> _Head:
        if self._last_head is None or self._last_head.raw != raw:
            first, *lines = raw.decode("latin-1").split("\r\n")
            headers = CIMultiDict(_field(line) for line in lines)
            length = int(headers.get("Content-Length", "0"))
            self._last_head = _Head(raw, int(first[STATUS]), CIMultiDictProxy(headers), length)
        return self._last_head

    def _tell(self, outcome: Outcome) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(outcome)


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip()


def _is_short(invocation: Invocation) -> bool:
    """Whether it goes out in one write, and is not asked to be answered in parts."""
    return len(invocation.body) <= SHORT_BYTES and "parts" not in invocation.headers.get(CUSTOM_ATTRIBUTES, "")


def _resolve(future: "asyncio.Future[Outcome]", outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)
