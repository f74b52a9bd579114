"""One connection of a caller: aiohttp's, with bounds on time and size, and an answer of ours to what it cannot read."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD

from gateway.errors import Refusal, failed
from gateway.listener.doorman import Arrival, Doorman
from gateway.listener.hanging_up import hung_up
from gateway.listener.limits import Crowd, Limits
from gateway.listener.plain import Plain
from gateway.listener.serving import Serving
from gateway.listener.strict import malformed, too_long
from gateway.request import Request

HANG_UP_SECONDS = 1.0
"""How often a caller is looked after who is not read from."""


class Connection(Arrival, Serving):
    """One connection of a caller.

    Args:
        server: aiohttp's name of the listener.
        loop: the event loop.
        crowd: all connections.
        doorman: says when a new request is heard.
        limits: the bounds.
        plain: reads what needs no parser.
        refuse: makes an answer of a refusal, and tells log and metrics.
        options: what aiohttp is told besides.
    """

    __slots__ = (
        "_content",
        "_crowd",
        "_due",
        "_head_bytes",
        "_head_since",
        "_limits",
        "_look_timer",
        "_over",
        "_plain",
        "_refuse",
        "_send_timer",
        "_too_long",
        "_unsent",
        "_wire",
        "came",
        "doorman",
    )

    def __init__(
        self,
        server: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        crowd: Crowd,
        doorman: Doorman,
        limits: Limits,
        plain: Plain,
        refuse: Callable[[web.BaseRequest, Refusal], web.Response],
        **options: Any,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=0,  # the crowd sees to that, with one timer for all
            lingering_time=limits.linger_seconds,
            max_line_size=limits.line_bytes,
            max_field_size=limits.field_bytes,
            max_headers=limits.headers,
            **options,
        )
        self._crowd = crowd
        self.doorman = doorman
        self._limits = limits
        self._plain = plain
        self._due = 0  # of what the parser was given; where it is not 0, the parser may be in the middle of something
        self._refuse = refuse
        self._wire: asyncio.Transport | None = None  # aiohttp forgets its own when it has closed it, but not sent all
        self._content: StreamReader = EMPTY_PAYLOAD  # of the last request
        self._over = True  # it is answered
        self.came: list[bytes] = []
        self._head_since: float | None = None
        self._head_bytes = 0
        self._too_long = False
        self._unsent = 0
        self._look_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller has come."""
        wire = cast("asyncio.Transport", transport)
        super().connection_made(wire)
        # An answer is over when the kernel has it. Else what nobody reads could outlive its request unseen.
        wire.set_write_buffer_limits(high=1, low=0)
        self._wire = wire

    def connection_lost(self, exc: BaseException | None) -> None:
        """The caller has gone, or was made to."""
        self._crowd.forget(self)
        self.came.clear()
        for timer in (self._look_timer, self._send_timer):
            if timer is not None:
                timer.cancel()
        # Nothing of it may hold it: what goes in circles stays in memory until it is looked for.
        self._wire = self._look_timer = self._send_timer = None
        self._content = EMPTY_PAYLOAD
        request, task = self._current_request, self._task_handler
        super().connection_lost(exc)
        if isinstance(request, Request) and request.on_hang_up is not None:
            request.on_hang_up()
        elif task is not None:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        """Something came, or, where it is empty, what came before is to be looked at again. A new request may wait."""
        if data and (self.came or (self._over and self._content.is_eof())):
            self.arrive(data)
        else:
            self.listen_to(data)

    def hold(self) -> None:
        """Read no more for now."""
        self._pause_transport_reading()

    def go_on(self) -> None:
        """Read on."""
        self._resume_transport_reading()

    def listen_to(self, data: bytes) -> None:
        """Take what came, now that it is its turn."""
        if data and self._read_plain(data):
            return
        in_head = bool(data) and self._over and self._content.is_eof()
        if in_head and self._head_since is None:
            self._head_since = self._loop.time()
        super().data_received(data)
        if data and not self._over and self._wire is not None and not self._wire.is_reading():
            self._look_after_silent_caller()
        if self._messages:
            if not isinstance(self._messages[-1][0], RawRequestMessage):
                self._break_body()
        elif in_head:
            if self._look_timer is None:
                self._look()
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes and not self._too_long:
                self._too_long = True
                super().data_received(b"\0")  # wrong anywhere in a head: aiohttp goes the way of what cannot be read

    def _read_plain(self, data: bytes) -> bool:
        """Have a request answered that needs no parser; whether it is one. Who sends ahead is not read so."""
        if not self._due and self._over and not (self._messages or self._close or self._force_close):
            found = self._plain.read(data)
            if not isinstance(found, int):
                self._messages.append(found)
                if self._waiter is not None and not self._waiter.done():
                    self._waiter.set_result(None)
                return True
            self._due = found  # where there is no telling, it is less than 0 from now on
        self._due -= len(data)
        return False

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's
        """Go on, if it had stopped. aiohttp asks for this, and looks for more to parse, at every body that was read."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def taken(self, message: RawRequestMessage, content: StreamReader, writer: StreamWriter) -> Request:
        """A request has come, and it is its turn."""
        self._over, self._content = False, content
        self._head_since, self._head_bytes = None, 0
        self._crowd.work(self)
        if self._wire is not None and not self._wire.is_reading():
            self._look_after_silent_caller()
        task = cast("asyncio.Task[None]", self._task_handler)  # in which this runs
        return Request(message, content, self, writer, task, self._loop)

    def answered(self) -> None:
        """It is answered."""
        self._over = True
        if self._content.is_eof():
            self._content = EMPTY_PAYLOAD  # a kilobyte, of use to the next request of any connection
        self._crowd.rest(self)

    def leave(self) -> bool:
        """Close at once, unless a request has come meanwhile; whether it did."""
        if self._messages or self.came:
            return False
        self.force_close()
        return True

    def pause_writing(self) -> None:
        """The caller takes less than it is given."""
        super().pause_writing()
        self._unsent = self._left()
        self._send_timer = self._loop.call_later(self._limits.stall_seconds, self._check_sending)

    def resume_writing(self) -> None:
        """It has taken all of it."""
        super().resume_writing()
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what was refused, could not be read, or where a handler failed."""
        if isinstance(exc, Refusal):
            return self._refuse(request, exc)
        if isinstance(exc, HttpProcessingError):
            limit = self._limits.head_bytes
            return self._refuse(request, too_long("The head", limit) if self._too_long else malformed(exc))
        self.log_exception("Error %s handling %s: %s", status, request.rel_url.raw_path, message, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun: all that can be done is to cut it off")
        return self._refuse(request, failed())

    def _break_body(self) -> None:
        """Something that cannot be read came in the middle of a body. aiohttp would let its reader wait for ever."""
        content = self._messages[-2][1] if len(self._messages) > 1 else self._content
        if not content.is_eof():
            content.set_exception(web.RequestPayloadError())
            content.feed_eof()

    def _look_in(self, seconds: float) -> None:
        self._look_timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """See whether a head takes too long, or a caller has gone who is not read from."""
        self._look_timer = None
        if self._head_since is not None and not self._messages:
            left = self._head_since + self._limits.head_seconds - self._loop.time()
            if left <= 0:
                self._crowd.slow += 1
                self.force_close()
            else:
                self._look_in(left)
        elif not self._over and self._wire is not None and not self._wire.is_reading():
            self._look_after_silent_caller()

    def _look_after_silent_caller(self) -> None:
        """Where many requests wait behind one another, nothing is read, and so a hang-up is not seen either."""
        if self._look_timer is not None:
            self._look_timer.cancel()
            self._look_timer = None
        if self._wire is not None and hung_up(self._wire):
            self.force_close()
        else:
            self._look_in(HANG_UP_SECONDS)

    def _check_sending(self) -> None:
        self._send_timer = None
        if self._wire is None:
            return
        left = self._left()
        if left >= self._unsent:
            self._crowd.stalled += 1
            self._wire.abort()
        else:
            self._unsent = left
            self._send_timer = self._loop.call_later(self._limits.stall_seconds, self._check_sending)

    def _left(self) -> int:
        return self._wire.get_write_buffer_size() if self._wire is not None else 0
