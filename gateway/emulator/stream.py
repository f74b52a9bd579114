"""The caller's side of a streamed answer: its frames in order and at once, its end said plainly, all of it counted."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from multidict import CIMultiDictProxy

from gateway.emulator.faults import Fault, ResetError, spoilt
from gateway.emulator.frames import Framer, stream_broken, time_exceeded
from gateway.emulator.ledger import Call, Ledger
from gateway.emulator.outcome import Failure, Outcome
from gateway.emulator.work import Pipe

Write = Callable[[bytes], Awaitable[None]]


class LiveStream:
    """An answer that has begun: `async with stream`, start the reply, and `send` the frames into it.

    Leaving the context in any other way than at the end of `send` is the caller's hang-up. The container does not hear
    of it: its answer is read to the end and thrown away.
    """

    def __init__(
        self,
        pipe: Pipe,
        first: bytes | Outcome,
        *,
        framer: Framer,
        fault: Fault,
        call: Call,
        ledger: Ledger,
        deadline: float,
    ) -> None:
        self._pipe = pipe
        self._first = first
        self._framer = framer
        self._fault = fault if fault.spoils_streams else None
        self._sent = 0
        self._call = call
        self._ledger = ledger
        self._deadline = deadline
        self._settled = False

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers of the container's answer."""
        if self._pipe.headers is None:
            raise RuntimeError("a stream lives only when its container has said yes")
        return self._pipe.headers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._settled:
            self._settle(self._ledger.hung_up)

    async def send(self, write: Write) -> None:
        """Write all frames as they come; a stream that does not end well ends with an exception frame.

        Raises:
            ResetError: The rest is to be a reset connection.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                outcome = await self._pass_on(write)
        except TimeoutError:
            self._settle(self._ledger.timed_out)
            await write(time_exceeded())
            return
        if outcome is None:
            return
        if isinstance(outcome, Failure):
            self._settle(self._ledger.model_error)
            await write(stream_broken())
        else:
            self._settle(self._ledger.answered)

    async def _pass_on(self, write: Write) -> Outcome | None:
        """How the container ended, or None when a fault has ended the stream."""
        item = self._first
        while True:
            frames = self._framer.parts(item) if isinstance(item, bytes) else self._framer.rest()
            for frame in frames:
                if self._fault is not None and self._sent == self._fault.after_parts:
                    await self._spoil(write, self._fault, frame)
                    return None
                await write(frame)
                self._sent += 1
            if not isinstance(item, bytes):
                break
            item = await self._pipe.get()
        if self._fault is None:
            return item
        await self._spoil(write, self._fault, None)
        return None

    async def _spoil(self, write: Write, fault: Fault, frame: bytes | None) -> None:
        self._settle(self._ledger.spoilt)
        await write(spoilt(fault, frame))
        if fault.fault == "reset_mid_frame":
            raise ResetError

    def _settle(self, count: Callable[[Call], None]) -> None:
        self._settled = True
        self._pipe.abandon()
        count(self._call)
