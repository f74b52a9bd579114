"""The leanest SageMaker there is, as a process: it checks nothing and sends every body back at once."""

import asyncio
from typing import cast
from uuid import uuid4

import uvloop

from .wire import whole

ANSWER = (
    "HTTP/1.1 200 OK\r\n"
    f"x-amzn-RequestId: {uuid4()}\r\n"
    "x-Amzn-Invoked-Production-Variant: AllTraffic\r\n"
    "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    "Content-Type: application/octet-stream\r\n"
    "Content-Length: %d\r\n\r\n"
).encode()


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests come one after the other."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from asyncio's

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the request is complete."""
        self._buffer += data
        message = whole(self._buffer)
        if message is not None and self._transport is not None:
            self._buffer = b""
            self._transport.write(ANSWER % len(message[1]) + message[1])


async def main() -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
