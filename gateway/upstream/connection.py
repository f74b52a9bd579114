"""One connection to SageMaker: it carries a call and its answer, then the next; and it says itself when it is over."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

from gateway.models import Answer, Call
from gateway.upstream.outbox import Outbox
from gateway.upstream.reading import Reader, WireError

READ_BUFFER_BYTES = 256 * 1024
"""How much of a stream may wait for its reader; then no more is read."""

COPIED_BYTES = 16 * 1024
"""Up to this size a body is copied behind the head: cheaper than a second buffer on the way to the socket."""

SLICE_BYTES = 64 * 1024
"""How much of a body is encrypted at a time, and how much of that may wait to be sent."""

NOTHING = memoryview(b"")


class UnsentError(Exception):
    """There is no answer, since nothing of the request has left."""


class Owner(Protocol):
    """Who is told of a connection's beginning and end."""

    def opened(self, connection: "Connection") -> None:
        """It is open."""

    def lost(self, connection: "Connection") -> None:
        """It is closed; said after `opened`, if it was open at all."""


class Connection(asyncio.Protocol):
    """Idle, or busy with one call: from `begin` until its answer is whole, or there will be none.

    Args:
        owner: is told of its beginning and end.
    """

    __slots__ = (
        "_answered",
        "_busy",
        "_choked",
        "_failure",
        "_held",
        "_loop",
        "_owner",
        "_paused",
        "_reader",
        "_secure",
        "_transport",
        "_unsent",
        "_waiter",
        "_wakeful",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._reader = Reader()
        self._transport: asyncio.Transport
        self._busy = False
        self._secure = False
        self._choked = False
        self._paused = False
        self._wakeful = False
        self._unsent = NOTHING
        self._held = b""
        self._waiter: asyncio.Future[None] | None = None
        self._answered: Callable[[int], None] | None = None
        self._failure: WireError | TimeoutError | UnsentError | None = None

    # What a call does with it

    @property
    def usable(self) -> bool:
        """Whether it can take a call: it is open, and nothing was said on it since its last answer."""
        return not self._busy and not self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether it can take another call after this one."""
        # An answer may come early: the next call would queue behind the rest of this body.
        is_sent = not self._unsent and not self._transport.get_write_buffer_size()
        return is_sent and self._reader.reusable and not self._transport.is_closing()

    def begin(
        self,
        head: bytes,
        call: Call,
        *,
        by_parts: bool,
        outbox: Outbox | None = None,
        answered: Callable[[int], None] | None = None,
    ) -> asyncio.Future[None]:
        """Send a request; the connection has to be `usable`.

        Args:
            head: its line and headers.
            call: its body, and what is taken as its answer.
            by_parts: whether the body of a 200 is wanted as it comes.
            outbox: where the request waits for others, if it is small; None where it goes out at once.
            answered: told the status with the last byte of a whole answer, before whoever waits for it goes on.

        Returns:
            Done when the answer is whole, or will not be; or, where it is wanted in parts, when there are news of it.
        """
        self._busy = True
        self._wakeful, self._answered = by_parts, answered
        self._reader.begin(call.response_headers, call.max_response_bytes, by_parts=by_parts)
        self._waiter = waiter = self._loop.create_future()
        if len(call.body) <= COPIED_BYTES:
            self._held = head + call.body
            if outbox is None:
                self._send_held()
            else:
                outbox.put(self._send_held)
        elif not self._secure:
            self._transport.writelines((head, call.body))
        else:
            # A transport of TLS encrypts at once all that it is given, and does not tell how much of it is sent.
            self._transport.write(head)
            self._unsent = memoryview(call.body)
            self._send_on()
        return waiter

    def answer(self, started: float) -> Answer:
        """The answer: whole once it is, and the head alone of one that comes in parts.

        Raises:
            WireError: there is none.
            TimeoutError: there was none in time.
            UnsentError: the connection was over before the request could be sent.
        """
        reader = self._reader
        if not reader.parted:
            self._raise_failure()
        return Answer(reader.status, reader.headers, b"" if reader.parted else reader.take(), reader.at - started)

    async def head(self) -> bool:
        """Wait for the head of an answer; whether its body comes in parts. Else it is whole by then, or will not be."""
        reader = self._reader
        while not (reader.parted or reader.done or self._failure):
            await self._news()
        return reader.parted

    async def read(self) -> bytes:
        """The next part of the body; empty at its end.

        Raises:
            WireError: it will not be whole. All that came before has been handed out.
        """
        while True:
            part = self._reader.take()
            if part:
                self._go_on()
                return part
            self._raise_failure()
            if self._reader.done:
                return b""
            await self._news()

    def give_up(self) -> None:
        """Take that the time is up."""
        self._fail(TimeoutError())

    def abort(self) -> None:
        """Close it at once. What is left of a request is not sent: a part of one runs no model."""
        self._unsent, self._held, self._answered = NOTHING, b"", None
        self._transport.abort()

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from asyncio's
        wire = transport.get_extra_info("socket")
        with suppress(OSError):  # closed already
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._secure = transport.get_extra_info("sslcontext") is not None
        if self._secure:
            self._transport.set_write_buffer_limits(SLICE_BYTES)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if not self._busy:
            self.abort()  # unasked: what comes next would be the answer to something else
            return
        if self._held:
            self._fail(WireError("something came unasked"))
            return
        reader = self._reader
        try:
            reader.feed(data)
        except WireError as error:
            self._fail(error)
            return
        if reader.done:
            self._end()
        elif self._wakeful:
            if reader.parted and reader.size > READ_BUFFER_BYTES:
                self._paused = True
                self._transport.pause_reading()
            self._wake()

    def eof_received(self) -> None:
        """The other side says no more. It closes with that."""
        if self._busy:
            try:
                self._reader.end()
            except WireError as error:
                self._fail(error)
            else:
                self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed. One that ends without `eof_received` was cut."""
        self._fail(WireError("it was closed" if exc is None else type(exc).__name__))
        self._unsent = NOTHING
        self._reader.close()
        self._owner.lost(self)

    def pause_writing(self) -> None:
        """What was written waits to be sent."""
        self._choked = True

    def resume_writing(self) -> None:
        """It has been sent."""
        self._choked = False
        self._send_on()

    # State

    def _send_held(self) -> None:
        """Send a small request, unless there is no need any more."""
        if self._held and not self._transport.is_closing():  # else it is kept: so it is known that nothing has left
            held, self._held = self._held, b""
            self._transport.write(held)

    def _send_on(self) -> None:
        """Send of the body what there is room for."""
        while self._unsent and not self._choked:
            part, self._unsent = self._unsent[:SLICE_BYTES], self._unsent[SLICE_BYTES:]
            self._transport.write(part)

    def _end(self) -> None:
        """The answer is whole. Nobody takes the connection before whoever waits for it has given it back."""
        self._busy = False
        answered, self._answered = self._answered, None
        try:
            if answered is not None:
                answered(self._reader.status)
        finally:
            self._wake()

    def _fail(self, failure: WireError | TimeoutError) -> None:
        """There will be no whole answer."""
        if self._busy:
            self._busy = False
            self._failure = UnsentError() if self._held and isinstance(failure, WireError) else failure
            self.abort()
            self._wake()

    def _raise_failure(self) -> None:
        """Say it once: kept, it would hold its traceback, and that the connection."""
        if self._failure is not None:
            try:
                raise self._failure
            finally:
                self._failure = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _news(self) -> None:
        if self._waiter is None or self._waiter.done():
            self._waiter = self._loop.create_future()
        await self._waiter

    def _go_on(self) -> None:
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
