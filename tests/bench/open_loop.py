"""Callers in an open loop: requests leave when they are due, however long the others take; each is timed.

It is a plain loop around `select`, which wakes to the microsecond where event loops wake to the millisecond.
"""

import gc
import random
import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from .load import NUMBER_BYTES, WrongAnswer, head_of, number_of
from .wire import Reader

SECONDS = 60
"""Where nobody has answered for so long, nobody ever will."""

_CHUNK_BYTES = 2**18


@dataclass(frozen=True, slots=True)
class Timed:
    """What one round came to.

    Attributes:
        latencies: seconds from a request to its whole answer, in ascending order. It begins when it is sent, or was due
            to be sent where all connections still waited for their answers.
        delays: seconds by which these callers themselves were late, in ascending order.
    """

    latencies: Sequence[float]
    delays: Sequence[float]


@dataclass(slots=True, eq=False)
class _Caller:
    connection: socket.socket
    reader: Reader = field(default_factory=Reader)
    body: bytes = b""
    began: float = 0.0

    def fileno(self) -> int:
        return self.connection.fileno()


class Arrivals:
    """Callers who know nothing of each other: a Poisson process, the same in each round of the same seed.

    Args:
        rate: requests per second.
        seconds: how long they come.
        seed: where the dice begin.
    """

    def __init__(self, rate: float, seconds: float, seed: int) -> None:
        self._rate = rate
        self._seconds = seconds
        self._seed = seed

    def __iter__(self) -> Iterator[float]:
        dice = random.Random(self._seed)
        at = dice.expovariate(self._rate)
        while at < self._seconds:
            yield at
            at += dice.expovariate(self._rate)


class OpenLoop:
    """Some kept-alive connections to one server, of which a request takes the one that was used last.

    Args:
        callers: the connections.
        path: where requests go.
        body_bytes: the length of each body.
    """

    def __init__(self, callers: list[_Caller], path: str, body_bytes: int) -> None:
        self._idle = callers
        self._busy: set[_Caller] = set()
        self._head = head_of(path, body_bytes)
        self._rest = b"x" * (body_bytes - NUMBER_BYTES)
        self._number = 0
        self._latencies: list[float] = []

    def warm(self) -> None:
        """One request on each connection."""
        for _ in range(len(self._idle)):
            self._send(perf_counter())
        self._finish()

    def run(self, arrivals: Arrivals) -> Timed:
        """Send what is due, and take what comes.

        Raises:
            WrongAnswer: an answer was not right, or did not come.
        """
        self._latencies = []
        delays = []
        began = perf_counter()
        for due in arrivals:
            while (left := began + due - perf_counter()) > 0:
                self._receive(left)
            delays.append(-left)
            if self._idle:
                self._send(perf_counter())
                continue
            while not self._idle:
                self._receive(SECONDS)
            self._send(began + due)
        self._finish()
        return Timed(sorted(self._latencies), sorted(delays))

    def _send(self, began: float) -> None:
        caller = self._idle.pop()
        self._number += 1
        caller.body = number_of(self._number) + self._rest
        caller.began = began
        caller.connection.sendall(self._head + caller.body)
        self._busy.add(caller)

    def _receive(self, seconds: float) -> None:
        ready, _, _ = select.select(self._busy, (), (), seconds)
        if not ready and seconds >= SECONDS:
            raise WrongAnswer(f"{len(self._busy)} answers have not come")
        for caller in ready:
            data = caller.connection.recv(_CHUNK_BYTES)
            now = perf_counter()
            if not data:
                raise WrongAnswer("the connection was closed under a request")
            message = caller.reader.feed(data)
            if message is None:
                continue
            head, body = message
            if not head.startswith(b"HTTP/1.1 200 ") or body != caller.body:
                raise WrongAnswer(f"not the answer to {caller.body[:NUMBER_BYTES]!r}: {head!r} {body[:500]!r}")
            self._latencies.append(now - caller.began)
            self._busy.discard(caller)
            self._idle.append(caller)

    def _finish(self) -> None:
        while self._busy:
            self._receive(SECONDS)


@contextmanager
def open_loop(port: int, path: str, *, body_bytes: int, connections: int) -> Iterator[OpenLoop]:
    """Connections to 127.0.0.1, each warm; closed on the way out. Garbage is collected before and after, not meanwhile.

    Args:
        port: the server's.
        path: where requests go.
        body_bytes: the length of each body, at least 16.
        connections: how many; far more than there are requests at a time.
    """
    with ExitStack() as stack:
        callers = []
        for _ in range(connections):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=SECONDS))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            callers.append(_Caller(connection))
        loop = OpenLoop(callers, path, body_bytes)
        loop.warm()
        gc.collect()
        gc.disable()
        stack.callback(gc.enable)
        yield loop
