"""A caller's connection: one request at a time, and its answer to the last byte, however it ends."""

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import cast

HEAD_END = b"\r\n\r\n"
LINE_END = b"\r\n"
NO_LINGER = struct.pack("ii", 1, 0)
"""A socket that is closed with this sends a reset."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: the status.
        headers: by name in lower case.
        body: what came of it.
        whole: whether it came to its proper end.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def closes(self) -> bool:
        """Whether the connection serves no other request."""
        return not self.whole or self.headers.get("connection", "").lower() == "close"


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.surplus = 0
        """How often something came that nobody had asked for."""
        self.used_at = 0.0
        """When the last answer was there, by the loop's clock."""
        self.open = False
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer | None] | None = None
        self._clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where requests go."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from asyncio's
        self.open = True

    def ask(self, request: bytes) -> "asyncio.Future[Answer | None]":
        """Send a request; its answer, or None where the connection ends without the beginning of one."""
        self._clear()
        self._waiting = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.open:
            self._finish(None)
        else:
            self._transport.write(request)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        """Take what comes; the answer is there as soon as it is complete."""
        if self._waiting is None or self._waiting.done():
            self.surplus += 1
            return
        self._buffer += data
        if self._status or self._read_head():
            done = self._read_chunks() if self._length is None else self._read_body(self._length)
            if done:
                self._finish(Answer(self._status, self._headers, bytes(self._body), whole=True))

    def connection_lost(self, exc: Exception | None) -> None:
        """What has not come by now never will."""
        del exc
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            cut = Answer(self._status, self._headers, bytes(self._body), whole=False)
            self._finish(cut if self._status else None)

    def close(self, *, reset: bool = False) -> None:
        """Hang up."""
        if self._transport is not None and self.open:
            if reset:
                connection: socket.socket = self._transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            (self._transport.abort if reset else self._transport.close)()
        self.open = False

    def _clear(self) -> None:
        self._buffer, self._body = bytearray(), bytearray()
        self._status, self._length = 0, cast("int | None", None)
        self._headers: dict[str, str] = {}

    def _finish(self, answer: Answer | None) -> None:
        self.used_at = asyncio.get_running_loop().time()
        if self._buffer:
            self.surplus += 1
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)

    def _read_head(self) -> bool:
        end = self._buffer.find(HEAD_END)
        if end < 0:
            return False
        line, *fields = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + len(HEAD_END)]
        self._headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        self._status = int(line.split(" ")[1])
        length = self._headers.get("content-length")
        self._length = None if length is None else int(length)
        return True

    def _read_body(self, length: int) -> bool:
        missing = length - len(self._body)
        self._body += self._buffer[:missing]
        del self._buffer[:missing]
        return len(self._body) == length

    def _read_chunks(self) -> bool:
        while (end := self._buffer.find(LINE_END)) >= 0:
            size = int(self._buffer[:end], 16)
            start = end + len(LINE_END)
            if len(self._buffer) < start + size + len(LINE_END):
                return False
            self._body += self._buffer[start : start + size]
            del self._buffer[: start + size + len(LINE_END)]
            if not size:
                return True
        return False
