"""An event loop in the hands of a test: time passes when it is told to, threads are turns, and listeners are kept."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

START = 1000.0
MOST_TURNS = 10_000
"""More turns than anything takes at one moment."""


class _Clockwork(selectors.SelectSelector):
    """Where the loop would wait for files and time, it asks here: nothing ever comes, and time passes in jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.until = START
        self.turns: int | None = None
        """How many turns are left; None for as many as there are."""
        self.busy = 0
        """How many turns there were since time passed."""
        self.rest: Callable[[], None] = lambda: None
        """Called when nothing is left to do until then."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Go on with what is ready, or to the next timer that is due, or stop."""
        if self.turns is not None:
            self.turns -= 1
            if self.turns < 0:
                self.rest()
                return []
        if timeout == 0:
            self.busy += 1
            if self.busy > MOST_TURNS:
                raise RuntimeError("it does not come to rest")
            return []
        self.busy = 0
        if timeout is not None and self.now + timeout <= self.until:
            self.now += timeout
        else:
            self.now = self.until
            self.rest()
        return []


class _Address:
    """A socket, as far as its name goes."""

    def __init__(self, host: str, port: int) -> None:
        self._name = host, port

    def getsockname(self) -> tuple[str, int]:
        """Where it is."""
        return self._name


class _Server:
    """What listens at an address."""

    def __init__(self, host: str, port: int) -> None:
        self.sockets = (_Address(host, port),)

    def close(self) -> None:
        """Nothing is open."""


class StillLoop(asyncio.SelectorEventLoop):
    """A loop that only turns, and whose time only passes, while one of its own methods is called.

    Attributes:
        listeners: by port, what makes the protocol of a connection that comes.
        thread_seconds: how long each piece of work in a thread takes.
        troubles: what was handed to the exception handler.
    """

    def __init__(self) -> None:
        self._clockwork = _Clockwork()
        super().__init__(self._clockwork)
        self._clockwork.rest = self.stop
        self.listeners: dict[int, Callable[[], asyncio.BaseProtocol]] = {}
        self.thread_seconds = 0.0
        self.troubles: list[Mapping[str, Any]] = []
        self.set_exception_handler(lambda _, trouble: self.troubles.append(trouble))

    def time(self) -> float:
        """The seconds of now."""
        return self._clockwork.now

    def pass_by(self, seconds: float = 0.0) -> None:
        """Let so many seconds pass, each timer at its time; and all happen that can happen by then."""
        self._clockwork.until = self._clockwork.now + seconds
        self.run_forever()

    def turn(self, turns: int) -> None:
        """Let so many turns of the loop happen, and nothing more."""
        self._clockwork.until, self._clockwork.turns = self._clockwork.now, turns
        try:
            self.run_forever()
        finally:
            self._clockwork.turns = None

    def finish(self, work: Awaitable[T], *, seconds: float = 60.0) -> T:
        """What comes of a piece of work that takes so many seconds at most."""
        task = asyncio.ensure_future(work, loop=self)
        for _ in range(round(seconds * 10)):
            self.pass_by(0.0 if task.done() else 0.1)
            if task.done():
                break
        return task.result()

    async def create_server(  # type: ignore[override] # the one form in which the gateway calls it
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, **_options: object
    ) -> _Server:
        """Keep who listens; nothing comes but from the test."""
        self.listeners[port] = protocol_factory
        return _Server(host, port)

    def run_in_executor(  # type: ignore[override] # likewise
        self, executor: None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Do it here, when its time has passed."""
        del executor
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - it is for whoever awaits it
                future.set_exception(error)

        self.call_later(self.thread_seconds, work)
        return future
