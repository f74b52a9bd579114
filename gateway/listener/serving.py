"""One request after another on a connection: taken in order, handed to its handler, answered.

aiohttp has a task and a context of its own for each request. Here the task of the connection answers them all: of what
a request costs in aiohttp's server that is a third, and its answer goes out two turns of the event loop earlier.
"""

import asyncio
from typing import Any

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.web_protocol import ERROR, _ErrInfo
from yarl import URL

from gateway.request import Request, Sent

UNREADABLE = ERROR._replace(method="-", path="-", url=URL("-", encoded=True), version=HttpVersion11)
"""What stands for a request that could not be read."""


class Serving(web.RequestHandler):
    """aiohttp's connection, but for how it gets from one request to the next; and it has a parser once it needs one."""

    __slots__ = ()

    def __init__(self, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        # Of each of thousands of connections these would be a third of its memory, and few of them need either.
        self._parser = None
        self._messages = []  # type: ignore[assignment] # aiohttp's deque is made with room for 64

    def data_received(self, data: bytes) -> None:
        """Have the parser read what came; it is made for the first that it is needed for."""
        if data and self._parser is None:
            self._parser = HttpRequestParser(
                self,
                self._loop,
                self._read_bufsize,
                max_line_size=self.max_line_size,
                max_field_size=self.max_field_size,
                max_headers=self.max_headers,
                payload_exception=web.RequestPayloadError,
                auto_decompress=False,
                max_msg_queue_size=self._max_msg_queue_size,
            )
        super().data_received(data)

    async def start(self) -> None:
        """Answer what comes until the connection ends. It is aiohttp's name of it, and its task runs it."""
        try:
            while not self._force_close:
                if not self._messages:
                    self._waiter = self._loop.create_future()
                    try:
                        await self._waiter
                    finally:
                        self._waiter = None
                if not await self._answer(*self._next()):
                    break
                if self._messages:
                    await asyncio.sleep(0)  # others have a turn between two of one caller's
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception as error:  # noqa: BLE001 - the next connection is none the worse for it
            self.log_exception("Unhandled exception", exc_info=error)
            self.force_close()
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    def taken(self, message: RawRequestMessage, content: StreamReader, writer: StreamWriter) -> Request:
        """The request that has come, now that it is its turn."""
        raise NotImplementedError

    def answered(self) -> None:
        """The turn of a request is over."""

    async def _answer(self, message: RawRequestMessage | _ErrInfo, content: StreamReader) -> bool:
        """Answer one request; whether there may be another one."""
        writer = StreamWriter(self, self._loop)
        failed = message if isinstance(message, _ErrInfo) else None
        request = self.taken(UNREADABLE if isinstance(message, _ErrInfo) else message, content, writer)
        self._current_request, self._request_in_progress = request, True
        try:
            if failed is None:
                try:
                    response = await self._request_handler(request)  # type: ignore[misc] # it is there, as the caller is
                except Exception as error:  # noqa: BLE001 - the answer says so, and the log
                    response = self.handle_error(request, 500, error)
            else:
                response = self.handle_error(request, failed.status, failed.exc, failed.message)
            if not isinstance(response, Sent):
                await response.prepare(request)
                await response.write_eof()
        except ConnectionError:
            return False  # the caller has gone
        finally:
            self._current_request, self._request_in_progress = None, False
            request.let_go()
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)
            self.answered()
        self._keepalive = bool(response.keep_alive)
        if not content.is_eof():
            await self._linger(content)
        return self._keepalive and not self._close and not self._force_close

    def _next(self) -> tuple[RawRequestMessage | _ErrInfo, StreamReader]:
        message, content = self._messages[0]
        del self._messages[0]
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        return message, content

    async def _linger(self, content: StreamReader) -> None:
        """Read what is left of a refused body, and throw it away, so that its sender reads the refusal."""
        try:
            async with asyncio.timeout(self._lingering_time):
                while not content.is_eof() and not self._force_close:
                    await content.readany()
        except (TimeoutError, web.RequestPayloadError):  # or what is left cannot be read
            pass
        if not content.is_eof() and not self._force_close:
            self.close()
