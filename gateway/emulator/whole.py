"""An answer that is all there, on its way to the caller in one write."""

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

SHORT_BYTES = 65_536
"""The largest body that goes out with its head; a larger one has to wait for its caller to take it."""


class Whole(web.Response):
    """A 200 with a body in bytes. Where there is nothing out of the ordinary about it, it is written by hand.

    So it costs a third. All else, such as HTTP/1.0 or a connection that is to be closed, is aiohttp's to write.
    """

    _written = False

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection goes on."""
        return True if self._written else super().keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it, or its head."""
        transport, body = request.transport, self.body
        if (
            transport is None
            or transport.is_closing()
            or request.protocol.writing_paused
            or request.version != HttpVersion11
            or not request.keep_alive
            or not isinstance(body, bytes)
            or len(body) > SHORT_BYTES
        ):
            return await super().prepare(request)
        headers = self.headers
        if body:
            headers.setdefault("Content-Type", "application/octet-stream")
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        transport.write(
            f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(body)}\r\n"
            f"Date: {rfc822_formatted_time()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n".encode()
            + body
        )
        self._written = True
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the rest of it."""
        if not self._written:
            await super().write_eof(data)
