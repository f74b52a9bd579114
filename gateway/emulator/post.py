"""One POST to a container over a kept-alive connection: the request in one write, the answer as it comes.

Connections come from aiohttp's connector and answers from its parser; the request is written by hand, since the
session's objects for one cost more than all else that happens to a call here.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import StreamWriter
from multidict import CIMultiDictProxy
from yarl import URL

PIECE_BYTES = 1_048_576
"""Bodies up to this are written in one go; larger ones piece by piece, so that the loop is not held up."""

NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)
SWITCHING_PROTOCOLS = 101
FIRST_FINAL_STATUS = 200
OWN_FRAMING = {"content-length", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that has begun: its head, and where its body comes."""

    status: int
    headers: CIMultiDictProxy[str]
    content: aiohttp.StreamReader


class Target:
    """A URL to post to.

    Args:
        session: Whose connections are used.
        url: The URL.
        skip: Headers that aiohttp would add by itself, and must not.
    """

    def __init__(self, session: aiohttp.ClientSession, url: URL, *, skip: Iterable[str]) -> None:
        if session.connector is None:
            raise RuntimeError("the session is closed")
        self.connector = session.connector
        self.pattern = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop(), skip_auto_headers=skip)
        own = [(name, value) for name, value in self.pattern.headers.items() if name.lower() not in OWN_FRAMING]
        self._head = f"POST {url.raw_path_qs} HTTP/1.1\r\n{_lines(own)}"

    def head_of(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """How a request with these headers and this body begins, up to the body."""
        return f"{self._head}{_lines(headers.items())}Content-Length: {len(body)}\r\n\r\n".encode()


class Post:
    """A request that is sent once: `async with Post(...) as reply`, which then is to be read to its end.

    Args:
        target: Where it goes.
        headers: What it says of itself beside its host and length.
        body: As it is.

    Raises:
        aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError: On entering: there is no answer.
    """

    __slots__ = ("_body", "_connection", "_headers", "_rest", "_target")

    def __init__(self, target: Target, headers: Mapping[str, str], body: bytes) -> None:
        self._target = target
        self._headers = headers
        self._body = body
        self._connection: Connection | None = None
        self._rest: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Reply:
        target = self._target
        self._connection = connection = await target.connector.connect(target.pattern, [], NO_TIMEOUT)
        try:
            return await self._exchange(connection)
        except BaseException:
            self._leave(keep=False)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(keep=kind is None)

    async def _exchange(self, connection: Connection) -> Reply:
        protocol, transport, body = connection.protocol, connection.transport, self._body
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(read_until_eof=True, auto_decompress=False)
        head = self._target.head_of(self._headers, body)
        if len(body) <= PIECE_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            self._rest = asyncio.create_task(_write(StreamWriter(protocol, asyncio.get_running_loop()), body))
        while True:
            message, content = await protocol.read()
            if message.code >= FIRST_FINAL_STATUS or message.code == SWITCHING_PROTOCOLS:
                return Reply(message.code, message.headers, content)

    def _leave(self, *, keep: bool) -> None:
        """Give the connection back; one on which something is still under way is closed."""
        if self._rest is not None and not self._rest.done():
            self._rest.cancel()
            keep = False
        if self._connection is not None and keep:
            self._connection.release()
        elif self._connection is not None:
            self._connection.close()


async def _write(writer: StreamWriter, body: bytes) -> None:
    view = memoryview(body)
    try:
        for start in range(0, len(body), PIECE_BYTES):
            await writer.write(view[start : start + PIECE_BYTES])
    except (aiohttp.ClientError, OSError):
        pass  # whoever reads the answer is told


def _lines(headers: Iterable[tuple[str, str]]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers])
