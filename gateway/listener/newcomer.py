"""A connection until its first byte: what a request needs is made for it only then, since none may ever come."""

import asyncio
from collections.abc import Callable
from typing import TypeAlias, cast
from uuid import uuid4

from gateway.errors import CROWDED, PROXY_NAME, Refusal
from gateway.listener.connection import Connection
from gateway.listener.doorman import Arrival, Doorman
from gateway.listener.limits import Crowd, Limits

TURNED_AWAY_SECONDS = 1.0
"""How long a caller who was turned away may take to read why."""

Make: TypeAlias = Callable[[], Connection]
"""Makes the connection proper."""


class Newcomer(Arrival, asyncio.Protocol):
    """Somebody who has said nothing yet, or waits to be heard.

    Args:
        crowd: all connections.
        doorman: says when who is heard.
        limits: the bounds.
        make: makes the connection proper.
    """

    __slots__ = ("_crowd", "_limits", "_make", "_timer", "_wire", "came", "doorman")

    def __init__(self, crowd: Crowd, doorman: Doorman, limits: Limits, make: Make) -> None:
        self._crowd = crowd
        self.doorman = doorman
        self._limits = limits
        self._make = make
        self.came: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller has come."""
        wire = cast("asyncio.Transport", transport)
        if not self._crowd.admit(self):
            farewell = TurnedAway()
            wire.set_protocol(farewell)
            farewell.connection_made(wire)
            return
        self._wire = wire
        self._timer = asyncio.get_running_loop().call_later(self._limits.head_seconds, self._give_up)

    def data_received(self, data: bytes) -> None:
        """The first bytes, and what comes while it is not their turn."""
        self.arrive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has gone, or was made to."""
        del exc
        self._crowd.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        self._wire = self._timer = None
        self.came.clear()

    def leave(self) -> bool:
        """Close at once, unless something has come meanwhile; whether it did."""
        if self.came or self._wire is None:
            return False
        self._wire.close()
        return True

    def hold(self) -> None:
        """Read no more for now."""
        if self._wire is not None:
            self._wire.pause_reading()

    def go_on(self) -> None:
        """Read on."""
        if self._wire is not None:
            self._wire.resume_reading()

    def listen_to(self, data: bytes) -> None:
        """Make way for the connection proper, which takes what came."""
        wire = self._wire
        if wire is None or self._timer is None:
            return  # gone, unheard
        self._timer.cancel()
        connection = self._make()
        self._crowd.replace(self, connection)
        self._wire = self._timer = None
        wire.set_protocol(connection)
        connection.connection_made(wire)
        connection.listen_to(data)

    def _give_up(self) -> None:
        if self._wire is not None and not self.came:
            self._crowd.slow += 1
            self._wire.close()


class TurnedAway(asyncio.Protocol):
    """A connection too many. It is told so at once, whatever it sends, and closed.

    A 503 with Retry-After is what AWS SDKs and load balancers try again by themselves; of a connection that is closed
    without a word nobody knows whether a model ran.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say it."""
        wire = cast("asyncio.Transport", transport)
        refusal = Refusal(CROWDED, "The gateway has as many connections as it may: the call was not sent, try again.")
        status, headers, body = refusal.wire(str(uuid4()))
        headers += [("Server", PROXY_NAME), ("Content-Length", str(len(body))), ("Connection", "close")]
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        wire.write(f"HTTP/1.1 {status} Service Unavailable\r\n{lines}\r\n".encode() + body)
        if wire.can_write_eof():
            wire.write_eof()
        # Closed while something of the caller is unread, the connection would be reset, and the answer lost.
        self._end = asyncio.get_running_loop().call_later(TURNED_AWAY_SECONDS, wire.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone."""
        del exc
        self._end.cancel()
