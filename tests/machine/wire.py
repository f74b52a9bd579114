"""A caller's connection, in memory: what it sends and reads, and how it goes."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

PEER = ("127.0.0.1", 40_000)


@dataclass(frozen=True)
class Reply:
    """An answer as it came.

    Attributes:
        status: HTTP status.
        headers: by lower-case name.
        body: what has come of it.
        whole: whether that is all of it.
        more: what came after it.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    more: bytes

    @property
    def own(self) -> bool:
        """Whether it is an answer of the gateway's own."""
        return "proxy-status" in self.headers


class Wire(asyncio.Transport):
    """The gateway's end of the connection, with the caller's end beside it.

    Args:
        protocol: what listens.
    """

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = cast("asyncio.Protocol", protocol)
        self._read = bytearray()
        self._unsent = bytearray()
        self._high = 65_536
        self._paused = self._closing = self._lost = self._stalled = False
        self._protocol.connection_made(self)

    @property
    def lost(self) -> bool:
        """Whether the connection is no more."""
        return self._lost

    @property
    def stalled(self) -> bool:
        """Whether the caller reads nothing while there is something to read."""
        return bool(self._unsent)

    @property
    def reply(self) -> Reply | None:
        """What the caller has read so far; None before the head is there."""
        return parse(bytes(self._read))

    # --- the caller's end

    def send(self, data: bytes) -> None:
        """Send something."""
        if not self._lost:
            self._protocol.data_received(data)

    def hang_up(self) -> None:
        """Close, and read no more."""
        self._unsent.clear()
        self._closing = True
        self._lose()

    def stall(self) -> None:
        """Read nothing until told otherwise."""
        self._stalled = True

    def resume(self) -> None:
        """Read what is there, and what comes."""
        self._stalled = False
        self._read += self._unsent
        self._unsent.clear()
        if self._paused:
            self._paused = False
            self._protocol.resume_writing()
        if self._closing:
            self._lose()

    # --- the gateway's end

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send to the caller."""
        if self._lost:
            return
        if not self._stalled:
            self._read += data
            return
        self._unsent += data
        if len(self._unsent) > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send several things."""
        self.write(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say when to pause."""
        del low
        self._high = 65_536 if high is None else high

    def get_write_buffer_size(self) -> int:
        """How much has not been sent."""
        return len(self._unsent)

    def close(self) -> None:
        """Close once everything has been sent."""
        self._closing = True
        if not self._unsent:
            self._lose()

    def abort(self) -> None:
        """Close at once."""
        self._unsent.clear()
        self._closing = True
        self._lose()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing

    def can_write_eof(self) -> bool:
        """It cannot be closed by half."""
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Where the caller is."""
        return PEER if name == "peername" else default

    def pause_reading(self) -> None:
        """What a test sends is small."""

    def resume_reading(self) -> None:
        """Likewise."""

    def is_reading(self) -> bool:
        """Always."""
        return True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Somebody else listens from now on."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who listens."""
        return self._protocol

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._protocol.connection_lost, None)


def parse(data: bytes) -> Reply | None:
    """The answer that has come; None before its head is there."""
    head, mark, rest = data.partition(b"\r\n\r\n")
    if not mark:
        return None
    first, *lines = head.decode().split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    headers = {name.lower(): value for name, value in pairs}
    assert len(headers) == len(pairs), f"a header stands there twice: {pairs}"
    status = int(first.split()[1])
    if "content-length" in headers:
        length = int(headers["content-length"])
        return Reply(status, headers, rest[:length], len(rest) >= length, rest[length:])
    return _parts(status, headers, rest)


def _parts(status: int, headers: dict[str, str], rest: bytes) -> Reply:
    assert headers.get("transfer-encoding") == "chunked", f"an answer without a length: {headers}"
    body = b""
    while True:
        size, mark, after = rest.partition(b"\r\n")
        if not mark or len(after) < int(size, 16) + 2:
            return Reply(status, headers, body, whole=False, more=b"")
        length = int(size, 16)
        body, rest = body + after[:length], after[length + 2 :]
        if not length:
            return Reply(status, headers, body, whole=True, more=rest)
