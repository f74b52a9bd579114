"""An endpoint of so many instances, as a process: each does one call at a time, for an exact time; more are refused.

A call is over so many seconds after the last byte of its request, to the microsecond: the loop waits by `select`, since
the faster ones only wake to the millisecond. `POST /seconds` sets how long calls take; those without end are over once
there is one. `POST /counters` tells what has been since it was last asked.
"""

import asyncio
import ctypes
import json
import os
import sys
from collections.abc import Callable
from math import inf, isfinite
from selectors import SelectSelector
from typing import cast

from .processes import BACKLOG, listen
from .upstream import ANSWER, REFUSAL
from .wire import Reader

PR_SET_TIMERSLACK = 29
"""Of prctl(2)."""

SECONDS_PATH, COUNTERS_PATH = "/seconds", "/counters"


class Fleet:
    """The instances.

    Args:
        instances: how many.
        seconds: how long a call takes.
    """

    def __init__(self, instances: int, seconds: float) -> None:
        self._instances = instances
        self._seconds = seconds
        self._busy = 0
        self._endless: list[Callable[[], None]] = []
        self.peak = 0
        self.calls = 0
        self.refused = 0
        self.late = 0.0
        """Seconds by which all answers together were late."""

    def take(self, answer: Callable[[], None]) -> bool:
        """Do a call, if there is an instance for it.

        Args:
            answer: called when it is over.
        """
        self.peak = max(self.peak, self._busy + 1)
        if self._busy == self._instances:
            self.refused += 1
            return False
        self._busy += 1
        self.calls += 1
        if isfinite(self._seconds):
            loop = asyncio.get_running_loop()
            due = loop.time() + self._seconds
            loop.call_at(due, self._end, due, answer)
        else:
            self._endless.append(answer)
        return True

    def _end(self, due: float, answer: Callable[[], None]) -> None:
        self.late += asyncio.get_running_loop().time() - due
        self._busy -= 1
        answer()

    def take_from_now(self, seconds: float) -> None:
        """Set how long a call takes; those without end are over, if it has one."""
        self._seconds = seconds
        if isfinite(seconds):
            endless, self._endless = self._endless, []
            self._busy -= len(endless)
            for answer in endless:
                answer()

    def counters(self) -> dict[str, float]:
        """What has been, since it was last asked."""
        found = {"peak": self.peak, "calls": self.calls, "refused": self.refused, "late": self.late}
        self.peak = self.calls = self.refused = 0
        self.late = 0.0
        return found


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests come one after the other.

    Args:
        fleet: who does the calls.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take a call, or an order."""
        message = self._reader.feed(data)
        if message is None:
            return
        head, body = message
        if head.startswith(f"POST {SECONDS_PATH} ".encode()):
            self._fleet.take_from_now(float(body))
            self._send(ANSWER, b"")
        elif head.startswith(f"POST {COUNTERS_PATH} ".encode()):
            self._send(ANSWER, json.dumps(self._fleet.counters()).encode())
        elif not self._fleet.take(lambda: self._send(ANSWER, body)):
            self._send(REFUSAL, b"all instances are busy: this call should have waited")

    def _send(self, head: bytes, body: bytes) -> None:
        if self._transport is not None:
            self._transport.write(head % len(body) + body)


def wake_on_time() -> None:
    """Have the kernel wake this process when it asked to be woken; else that may be 50 µs late, to save power.

    Raises:
        OSError: it will not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


async def main(instances: int, seconds: float) -> None:
    """Serve until the process is ended."""
    fleet = Fleet(instances, seconds)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(fleet), sock=listen(), backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    wake_on_time()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(SelectSelector())) as runner:
        runner.run(main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else inf))
