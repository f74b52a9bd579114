"""Where SageMaker can be reached as long as it is there, and the connections that come in by it."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

BACKLOG = 1024


class Door:
    """An address that may be closed, and opened again; closed, it refuses connections, and loses none that has come.

    Args:
        take: is given each connection.
    """

    def __init__(self, take: Callable[[socket.socket], None]) -> None:
        self._take = take
        self._listener: socket.socket | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it is, on 127.0.0.1."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def is_open(self) -> bool:
        """Whether anybody can come in."""
        return self._listener is not None

    def open(self) -> None:
        """Let connections in."""
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=BACKLOG)
        self._listener.setblocking(False)  # noqa: FBT003 - the standard library's
        self._port = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._let_in)

    def close(self) -> None:
        """Refuse them. Who is there already comes in first: it may have sent a call."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._let_in()
            self._listener.close()
            self._listener = None

    def _let_in(self) -> None:
        with suppress(BlockingIOError):
            while self._listener is not None:
                self._take(self._listener.accept()[0])


@dataclass(slots=True, eq=False)
class Line:
    """A connection that came in by a door, and may end while it idles.

    Attributes:
        writer: its end here.
        door: by which it came.
        dead: whether it has ended; what still comes on it is not served.
    """

    writer: asyncio.StreamWriter
    door: Door
    dead: bool = False
    _leaves: bool = False
    _idle: bool = True
    _timer: asyncio.TimerHandle | None = None

    def work(self) -> None:
        """A call has come."""
        self._idle = False
        if self._timer is not None:
            self._timer.cancel()

    def rest(self, seconds: float | None) -> None:
        """It is answered; after so many idle seconds the connection ends, or at once if it is to leave."""
        self._idle = True
        if self._leaves or not self.door.is_open:
            self._end()
        elif seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._end)

    def leave(self) -> None:
        """End now if it is idle, or else once it is."""
        self._leaves = True
        self._end()

    def _end(self) -> None:
        """Send nothing more, if it is idle. It is still read from: a call may have been under way."""
        if self._idle and not self.dead and not self.writer.is_closing():
            self.dead = True
            with suppress(RuntimeError):  # uvloop's, where the other end has closed it this moment
                self.writer.write_eof()
