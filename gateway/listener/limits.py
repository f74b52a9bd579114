"""How many connections there may be, how slow and how large what comes on them; and who goes when they are too many."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from gateway.config import Listen
from gateway.models import Connections


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one connection, and of all of them. Bodies are bounded by who reads them.

    Attributes:
        connections: how many may be open at once.
        head_seconds: how long a request line with its headers may take from its first byte on; and a new connection to
            its first request.
        keepalive_seconds: how long a connection may idle between two requests.
        stall_seconds: how long a caller may take nothing of an answer.
        linger_seconds: how long what is left of a refused body is read and thrown away, so that its sender reads the
            refusal instead of being reset (RFC 9112, section 9.6); no longer than a connection may idle.
        line_bytes: longest request target.
        field_bytes: longest header, name and value together.
        headers: how many of them, trailers included.
        head_bytes: longest request line and headers together.
    """

    connections: int = 10_000
    head_seconds: float = 10.0
    keepalive_seconds: float = 75.0
    stall_seconds: float = 60.0
    linger_seconds: float = 10.0
    line_bytes: int = 8190
    field_bytes: int = 8190
    headers: int = 128
    head_bytes: int = 65_536


def limits_of(listen: Listen) -> Limits:
    """The bounds that the settings name."""
    return Limits(
        connections=listen.max_connections,
        head_seconds=listen.header_timeout_seconds,
        keepalive_seconds=listen.keepalive_seconds,
        stall_seconds=listen.stall_timeout_seconds,
    )


class Guest(Protocol):
    """A connection."""

    def leave(self) -> bool:
        """Close at once, unless a request has come meanwhile; whether it did."""


class Crowd:
    """Who is connected. One more than may be takes the place of whoever has been idle longest.

    So a flood of connections that ask for nothing does not keep out who asks for something, a probe of `/livez` least
    of all; clients know that an idle connection may end. Only where all are busy is a newcomer turned away.

    Args:
        limits: how many may be connected, and how long each may idle.
        loop: whose time counts.
    """

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self._limit = limits.connections
        self._seconds = limits.keepalive_seconds
        self._loop = loop
        self._open: set[Guest] = set()
        # In the order in which they became so, and since when; who has not had a request yet is bounded by its head.
        self._idle: dict[Guest, float | None] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._refused = 0
        self._evicted = 0
        self.slow = 0
        self.stalled = 0

    def statistics(self) -> Connections:
        """What has become of them so far."""
        return Connections(
            len(self._open), len(self._idle), self._refused, self._evicted, slow=self.slow, stalled=self.stalled
        )

    def admit(self, guest: Guest) -> bool:
        """Let a newcomer in, who is idle at first; whether there is room."""
        if len(self._open) >= self._limit and not self._evict():
            self._refused += 1
            return False
        self._open.add(guest)
        self._idle[guest] = None
        return True

    def replace(self, guest: Guest, other: Guest) -> None:
        """The same caller goes by another name from now on."""
        self.forget(guest)
        self._open.add(other)
        self._idle[other] = None

    def close(self) -> None:
        """Have all leave who have no request."""
        if self._sweeper is not None:
            self._sweeper.cancel()  # and stays, so that there is no other
        for guest in tuple(self._idle):
            guest.leave()

    def work(self, guest: Guest) -> None:
        """One of them has a request."""
        self._idle.pop(guest, None)

    def rest(self, guest: Guest) -> None:
        """It asks for nothing."""
        if guest in self._open:
            self._idle[guest] = now = self._loop.time()
            if self._sweeper is None:
                self._arm(now + self._seconds)

    def forget(self, guest: Guest) -> None:
        """One of them has gone."""
        self._open.discard(guest)
        self._idle.pop(guest, None)

    def _arm(self, due: float) -> None:
        self._sweeper = self._loop.call_at(due, self._sweep, due)

    def _sweep(self, due: float) -> None:
        """Have those leave who have idled long enough, and come again when the next one will have."""
        now, self._sweeper = max(self._loop.time(), due), None  # uvloop's timers come up to a millisecond early
        over = []
        for guest, since in self._idle.items():
            if since is None:
                continue
            if since + self._seconds > now:
                self._arm(since + self._seconds)
                break
            over.append(guest)
        for guest in over:
            del self._idle[guest]  # if it stays, it has a request, which is only not begun
            guest.leave()

    def _evict(self) -> bool:
        for guest in self._idle:
            if guest.leave():
                self.forget(guest)
                self._evicted += 1
                return True
        return False
