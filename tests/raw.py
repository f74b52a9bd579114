"""A scripted HTTP server on a real socket: each connection is played by a coroutine, byte for byte."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
"""The plainest answer there is."""


@dataclass(frozen=True)
class RawRequest:
    """One request as it came.

    Attributes:
        head: request line and headers, with the empty line.
        body: as long as its `Content-Length` says.
    """

    head: bytes
    body: bytes


@dataclass
class Peer:
    """The server's end of one connection.

    Attributes:
        server: whose connection it is.
        reader: what came.
        writer: what goes.
    """

    server: "RawServer"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        """Read a request's line and headers."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> RawRequest:
        """Read one whole request, and note it."""
        head = await self.head()
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        request = RawRequest(head, await self.reader.readexactly(int(fields[b"Content-Length"])))
        self.server.requests.append(request)
        return request

    async def send(self, *parts: bytes) -> None:
        """Send bytes, each part in a segment of its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(self, *parts: bytes) -> None:
        """Read one request and send bytes."""
        await self.request()
        await self.send(*parts)

    async def gone(self) -> None:
        """Wait until the other end has closed."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionError:
            pass

    async def leave(self) -> None:
        """Close politely, and wait until the other end has noticed."""
        self.writer.write_eof()
        await self.gone()

    def reset(self) -> None:
        """Close with a reset."""
        connection: socket.socket = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class RawServer:
    """What the server has seen.

    Attributes:
        port: where it listens, on 127.0.0.1.
        requests: all whole requests.
        connections: how many connections were opened.
        open: how many of them are.
        idle: set while none is.
        gate: lets `serve_held` answer one request for each release.
        working: how many requests `serve_held` has at hand.
        peak: the most of those at once.
    """

    port: int = 0
    requests: list[RawRequest] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    working: int = 0
    peak: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


async def serve_ok(peer: Peer) -> None:
    """Answer every request of the connection with `OK`."""
    while True:
        await peer.answer(OK)


async def serve_held(peer: Peer, answer: bytes = OK) -> None:
    """Answer every request of the connection alike, each when the gate lets it: a model that works till then."""
    server = peer.server
    while True:
        await peer.request()
        server.working += 1
        server.peak = max(server.peak, server.working)
        try:
            await server.gate.acquire()
        finally:
            server.working -= 1
        await peer.send(answer)


@asynccontextmanager
async def raw_server(*scripts: Script, port: int = 0) -> AsyncIterator[RawServer]:
    """A server that plays one script per connection, and the last of them for all that follow.

    A script that ends has its connection closed, and one that fails because the other end has gone has ended.
    Port 0 takes a free one.
    """
    state = RawServer()
    errors: list[Exception] = []
    tasks: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = scripts[min(state.connections, len(scripts) - 1)]
        state.connections += 1
        state.open += 1
        state.idle.clear()
        try:
            await script(Peer(state, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:  # noqa: BLE001 - told at the end
            errors.append(error)
        finally:
            writer.close()
            state.open -= 1
            if not state.open:
                state.idle.set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(play(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", port, backlog=1024)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
    assert errors == []
