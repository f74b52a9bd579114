"""A caller on a socket of its own, which reads what comes byte for byte."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Raw:
    """An answer as it came.

    Attributes:
        head: status line and headers.
        status: HTTP status; 0 where none came.
        headers: by lower-case name.
        body: what came of the body, without the transfer coding.
        cut: whether the connection ended before the answer was whole.
    """

    head: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool


class Caller:
    """One connection, for one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received = bytearray()
        """What `read` has read."""

    @classmethod
    async def connect(cls, url: str, *, buffer_bytes: int | None = None) -> Self:
        """A caller who is connected.

        Args:
            url: where the gateway listens.
            buffer_bytes: how much the system may take for somebody who does not read; None leaves it to the system.
        """
        address = urlsplit(url)
        connection = socket.socket()
        if buffer_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        connection.setblocking(False)  # noqa: FBT003 - the standard library's
        try:
            await asyncio.get_running_loop().sock_connect(connection, (address.hostname, address.port))
            return cls(*await asyncio.open_connection(sock=connection, limit=1_048_576))
        except BaseException:
            connection.close()
            raise

    def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send one request, the last on this connection."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(f"{head}{lines}\r\n".encode() + body)

    async def read(self) -> Raw:
        """The answer, up to the end of the connection."""
        try:
            while part := await self._reader.read(1_048_576):
                self.received += part
        except ConnectionError:
            pass
        self.hang_up()
        return _parsed(bytes(self.received))

    async def first(self, mark: bytes) -> None:
        """Wait until these bytes have come. What came so far is gone then."""
        await self._reader.readuntil(mark)

    def hang_up(self) -> None:
        """Be gone at once."""
        self._writer.transport.abort()


async def get(url: str, path: str) -> Raw:
    """What the gateway says to a GET."""
    caller = await Caller.connect(url)
    caller.send("GET", path)
    return await caller.read()


def _parsed(data: bytes) -> Raw:
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return Raw(head, 0, {}, b"", cut=True)
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in fields)}
    if headers.get("transfer-encoding") == "chunked":
        body, whole = _unchunked(rest)
    else:
        body, whole = rest, len(rest) == int(headers["content-length"])
    return Raw(head, int(line.split()[1]), headers, body, cut=not whole)


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """The body without the transfer coding, and whether the last chunk came."""
    chunks: list[bytes] = []
    place = 0
    while (end := data.find(b"\r\n", place)) >= 0:
        size = int(data[place:end], 16)
        if size == 0:
            return b"".join(chunks), data[end:] == b"\r\n\r\n"
        chunks.append(data[end + 2 : end + 2 + size])
        place = end + 2 + size + 2
    return b"".join(chunks), False
