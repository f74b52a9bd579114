"""The callers of a plan, in an open loop: each comes at its time, whatever has become of the others."""

import asyncio
from collections.abc import Iterable
from typing import Any

from gateway.emulator.frames import CONTENT_TYPE

from .connection import Answer, Connection
from .facts import HUNG_UP, LOST, WRONG_BODY, Outcome
from .faults import CUT, TOLD
from .frames import read
from .plan import Call, HangUp

PATIENCE_SECONDS = 60.0
"""Far longer than the gateway may let anybody wait, on a machine that has no time for it either; then it is lost."""

IDLE_SECONDS = 20.0
"""Connections that were idle for longer are not used again: well before the gateway closes them."""

GOOD = 200


class Callers:
    """All callers of a soak.

    Args:
        calls: where all calls that are made stand, by id.
    """

    def __init__(self, calls: dict[str, Call]) -> None:
        self._calls = calls
        self._port = 0
        self._idle: list[Connection] = []
        self._awaited: dict[str, asyncio.Event] = {}
        self.outcomes: list[tuple[Call, Outcome]] = []
        self.surplus = 0
        self.late_seconds = 0.0

    def runs(self, name: str) -> None:
        """Say that the model of a call runs now."""
        if name in self._awaited:
            self._awaited[name].set()

    async def run(self, port: int, plan: Iterable[Call]) -> None:
        """Make all calls, and wait until each has come to its end; then close all connections.

        Args:
            port: where the gateway listens, on 127.0.0.1.
            plan: the calls, in order of their time.
        """
        self._port = port
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.TaskGroup() as group:
                for call in plan:
                    early = started + call.at - loop.time()
                    self.late_seconds = max(self.late_seconds, -early)
                    # Also where it is late: others have to get a turn.
                    await asyncio.sleep(max(0.0, early))
                    self._calls[call.id] = call
                    group.create_task(self._call(call))
        finally:
            for connection in self._idle:
                self._drop(connection)

    async def _call(self, call: Call) -> None:
        running = self._awaited[call.id] = asyncio.Event()
        try:
            connection = await self._connection()
        except OSError:
            outcome = Outcome(LOST)
        else:
            answer = connection.ask(_request(call))
            leaving = None if call.hang_up is None else asyncio.create_task(_leave(call.hang_up, running))
            try:
                outcome = await self._outcome(call, connection, answer, leaving)
            finally:
                if leaving is not None:
                    leaving.cancel()
        del self._awaited[call.id]
        self.outcomes.append((call, outcome))

    async def _outcome(
        self,
        call: Call,
        connection: Connection,
        coming: "asyncio.Future[Answer | None]",
        leaving: asyncio.Task[None] | None,
    ) -> Outcome:
        either: list[asyncio.Future[Any]] = [coming] if leaving is None else [coming, leaving]
        await asyncio.wait(either, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            self._drop(connection, reset=call.hang_up is not None and call.hang_up.reset)
            return Outcome(HUNG_UP if leaving is not None and leaving.done() else LOST)
        answer = coming.result()
        if answer is None or answer.closes or not call.keeps:
            self._drop(connection)
        else:
            self._idle.append(connection)
        return Outcome(LOST) if answer is None else _judged(call, answer)

    async def _connection(self) -> Connection:
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.open and loop.time() - connection.used_at < IDLE_SECONDS:
                return connection
            self._drop(connection)
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        return connection

    def _drop(self, connection: Connection, *, reset: bool = False) -> None:
        self.surplus += connection.surplus
        connection.close(reset=reset)


async def _leave(hang_up: HangUp, running: asyncio.Event) -> None:
    """Wait until it is time to hang up."""
    if hang_up.running:
        await running.wait()
    await asyncio.sleep(hang_up.after)


def _judged(call: Call, answer: Answer) -> Outcome:
    own = "proxy-status" in answer.headers
    if answer.status != GOOD:
        return Outcome(str(answer.status) if answer.whole else LOST, own)
    if call.framed:
        return _judged_frames(call, answer)
    if not answer.whole:
        return Outcome(CUT if call.streamed and call.body.startswith(answer.body) else LOST)
    return Outcome(str(GOOD) if answer.body == call.body else WRONG_BODY)


def _judged_frames(call: Call, answer: Answer) -> Outcome:
    stream = read(answer.body)
    if answer.headers.get("content-type") != CONTENT_TYPE or not call.body.startswith(stream.body):
        return Outcome(WRONG_BODY)
    if not answer.whole:
        return Outcome(CUT)
    if stream.error is not None:
        return Outcome(TOLD if stream.whole else WRONG_BODY)
    return Outcome(str(GOOD) if stream.whole and stream.body == call.body else WRONG_BODY)


def _request(call: Call) -> bytes:
    body = call.body
    sdk = f"amz-sdk-invocation-id: {call.id}\r\n" if call.framed else ""
    head = (
        f"POST {call.path} HTTP/1.1\r\nHost: gateway\r\nAccept: */*\r\nX-Amzn-SageMaker-Inference-Id: {call.id}\r\n"
        f"{sdk}Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
