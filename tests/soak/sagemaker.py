"""A scripted SageMaker on real sockets: it does with each call what the plan says, and keeps the ledger of it."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from gateway.emulator.refusals import by_control_plane, expired_token

from . import answers
from .connection import NO_LINGER
from .door import Door, Line
from .faults import DEAD, EXPIRED, NOTHING, Fault, Play
from .keys import Keys
from .ledger import Ledger
from .plan import Call
from .stand import ELASTIC, GOES_ON_SECONDS, TIMEOUT_SECONDS

INFERENCE_ID = "x-amzn-sagemaker-inference-id"
TARGET = "x-amz-target"
PATIENCE_SECONDS = 3 * TIMEOUT_SECONDS
EARLIER_SECONDS = 0.005
"""How much earlier than the answer a model ends: a loop's timers may be a little early."""


class _Over(Exception):  # noqa: N818 - nothing is wrong with it
    """The connection ends here, by a fault."""


class SageMaker:
    """The server's side of all calls.

    Args:
        calls: what is planned, by id; whoever makes calls puts them here.
        ledger: counts.
        keys: knows which signatures are good.
        runs: told the id of each call whose model begins to run.
    """

    def __init__(self, calls: Mapping[str, Call], ledger: Ledger, keys: Keys, runs: Callable[[str], None]) -> None:
        self._calls = calls
        self._ledger = ledger
        self._keys = keys
        self._runs = runs
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: set[Line] = set()
        self.door = Door(lambda connection: self._accept(connection, self.door))
        self.side_door = Door(lambda connection: self._accept(connection, self.side_door))
        """That of the endpoint that is away at times."""
        self.size = ledger.rooms[ELASTIC].size
        self.peak_connections = 0
        self.ended_idle = 0
        self.strange: list[str] = []
        """Requests that nobody planned, and whatever else went wrong here."""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Both doors open."""
        self.door.open()
        self.side_door.open()
        try:
            yield
        finally:
            self.door.close()
            self.side_door.close()

    def go_away(self) -> None:
        """Be gone from the side door: nobody gets in, and connections end with the calls on them."""
        self.side_door.close()
        for line in self._lines:
            if line.door is self.side_door:
                line.leave()

    def hang_up(self) -> None:
        """End all connections as soon as they idle, as SageMaker does after a while."""
        for line in self._lines:
            line.leave()

    async def stop(self) -> None:
        """End whatever still goes on."""
        writers = [line.writer for line in self._lines]
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    def _accept(self, connection: socket.socket, door: Door) -> None:
        task = asyncio.create_task(self._serve(connection, door))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, door: Door) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        line = Line(writer, door)
        self._lines.add(line)
        self.peak_connections = max(self.peak_connections, len(self._lines))
        try:
            line.rest(None)
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line.work()
                first, *rest = head.split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in rest)}
                path = first.split(" ")[1]
                if line.dead:
                    self._miss(path, headers)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                line.rest(await self._answer(path, headers, body, reader, writer))
        except (_Over, ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:  # noqa: BLE001 - told at the end
            closed = reader.at_eof() or reader.exception() is not None
            if not (closed and isinstance(error, RuntimeError)):  # which uvloop raises then
                self.strange.append(repr(error))
        finally:
            writer.close()
            self._lines.discard(line)
            self.ended_idle += line.dead

    def _miss(self, path: str, headers: Mapping[str, str]) -> None:
        if TARGET not in headers:
            self._ledger.miss(path.split("/")[2], headers.get(INFERENCE_ID, ""), DEAD)
        raise _Over

    async def _answer(
        self,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> float | None:
        """Answer a request; how long its connection may idle then."""
        refused = self._keys.refuse(headers.get("authorization", ""))
        if headers.get(TARGET) == "SageMaker.DescribeEndpoint":
            writer.write(answers.refused(by_control_plane(expired_token())) if refused else self._described(body))
            return None
        _, _, endpoint, operation = path.split("/")
        name = headers.get(INFERENCE_ID, "")
        call = self._calls.get(name)
        if call is None or body != call.body or operation.endswith("-response-stream") is not call.streamed:
            self.strange.append(f"{path} with the id {name!r}")
            raise _Over
        fault = EXPIRED if refused else self._due(call)
        self._ledger.arrive(endpoint, name, fault)
        if not fault.unseen:
            self._ledger.end_in(endpoint, _model_seconds(call, fault))
            self._runs(name)
        await self._play(call, fault, reader, writer)
        return call.ends

    def _described(self, body: bytes) -> bytes:
        endpoint = json.loads(body)["EndpointName"]
        self._ledger.tell(endpoint, self.size)
        return answers.described(endpoint, self.size)

    def _due(self, call: Call) -> Fault:
        """What was planned, the first time that the call comes with good keys."""
        met = self._ledger.arrivals.get(call.id, ())
        return call.fault if all(arrival.fault is EXPIRED for arrival in met) else NOTHING

    async def _play(self, call: Call, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What becomes of a call; its model ends by itself, whatever becomes of the connection."""
        if fault.play is Play.SILENT:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await reader.read()
            raise _Over
        if call.streamed and fault.caller in {NOTHING.caller, "cut"}:
            await self._stream(call, fault, writer)
            return
        if not fault.unseen:
            await asyncio.sleep(call.seconds)
        if fault.play in {Play.CUT_BODY, Play.RESET_BODY}:
            answer = answers.whole(call.body)
            writer.write(answer[: len(answer) - len(call.body) // 2])
        match fault.play:
            case Play.RESET | Play.RESET_BODY:
                _reset(writer)
                raise _Over
            case Play.CUT_BODY:
                raise _Over
            case Play.GARBAGE:
                writer.write(answers.GARBAGE)
                raise _Over
            case _:
                writer.write(answers.whole(call.body) if fault.refusal is None else answers.refused(fault.refusal))
                await writer.drain()

    async def _stream(self, call: Call, fault: Fault, writer: asyncio.StreamWriter) -> None:
        parts = [] if fault.play is Play.EARLY else answers.stream_parts(call.body)
        pause = call.seconds / (len(parts) + 1)
        await asyncio.sleep(pause)
        writer.write(answers.stream_head())
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        writer.write(answers.stream_end(fault.play))
        if fault.play is Play.RESET_FRAME:
            await writer.drain()
            _reset(writer)
        if fault.play in {Play.SHORT, Play.EARLY, Play.RESET_FRAME}:
            raise _Over
        # Else the answer ended as HTTP wants it. To close now would be a fault of the next call, which may be on its
        # way already, and is rightly answered 424 then.
        await writer.drain()


def _model_seconds(call: Call, fault: Fault) -> float:
    """How long the model of a call runs. It has ended before its caller can know, but where it goes on."""
    if fault.play is Play.SILENT:
        return TIMEOUT_SECONDS + GOES_ON_SECONDS
    return call.seconds + GOES_ON_SECONDS if fault.goes_on else call.seconds - EARLIER_SECONDS


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    writer.transport.abort()
