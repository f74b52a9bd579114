"""A scripted SageMaker on real sockets: it does with each call what the plan says, and keeps the ledger of it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress

from . import answers
from .connection import NO_LINGER
from .faults import NOTHING, Fault, Play
from .ledger import Ledger
from .plan import SIZE_SECONDS, Call
from .stand import ELASTIC, GOES_ON_SECONDS, TIMEOUT_SECONDS

BACKLOG = 1024
INFERENCE_ID = "x-amzn-sagemaker-inference-id"
PATIENCE_SECONDS = 3 * TIMEOUT_SECONDS


class _Over(Exception):  # noqa: N818 - nothing is wrong with it
    """The connection ends here, by a fault."""


class SageMaker:
    """The server's side of all calls.

    Args:
        calls: what is planned, by id; whoever makes calls puts them here.
        ledger: counts.
        runs: told the id of each call whose model begins to run.
    """

    def __init__(self, calls: Mapping[str, Call], ledger: Ledger, runs: Callable[[str], None]) -> None:
        self._calls = calls
        self._ledger = ledger
        self._runs = runs
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.size = ledger.rooms[ELASTIC].size
        self.peak_connections = 0
        self.strange: list[str] = []
        """Requests that nobody planned, and whatever else went wrong here."""

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection has come."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        self._writers.add(writer)
        self.peak_connections = max(self.peak_connections, len(self._writers))
        task.add_done_callback(self._tasks.discard)

    def hang_up(self) -> None:
        """Close all connections, as SageMaker does with idle ones."""
        for writer in self._writers:
            writer.close()

    async def stop(self) -> None:
        """End whatever still goes on."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rest = head.split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in rest)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                await self._answer(line.split(" ")[1], headers, body, reader, writer)
        except (_Over, ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:  # noqa: BLE001 - told at the end
            self.strange.append(repr(error))
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _answer(
        self,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if headers.get("x-amz-target") == "SageMaker.DescribeEndpoint":
            endpoint = json.loads(body)["EndpointName"]
            self._ledger.tell(endpoint, self.size)
            writer.write(answers.described(endpoint, self.size))
            return
        _, _, endpoint, operation = path.split("/")
        name = headers.get(INFERENCE_ID, "")
        call = self._calls.get(name)
        if call is None or body != call.body or operation.endswith("-response-stream") is not call.streamed:
            self.strange.append(f"{path} with the id {name!r}")
            raise _Over
        fault = NOTHING if self._ledger.arrivals.get(name) else call.fault
        self._ledger.arrive(endpoint, name, fault)
        if not fault.unseen:
            self._runs(name)
        await self._play(call, fault, endpoint, reader, writer)

    async def _play(
        self, call: Call, fault: Fault, endpoint: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """What becomes of a call. A model has ended before its caller can know."""
        if fault.play is Play.SILENT:
            self._ledger.end_in(endpoint, TIMEOUT_SECONDS + GOES_ON_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await reader.read()
            raise _Over
        if call.streamed and fault.caller in {NOTHING.caller, "cut"}:
            await self._stream(call, fault, endpoint, writer)
            return
        if not fault.unseen:
            await asyncio.sleep(call.seconds)
        if fault.play in {Play.CUT_BODY, Play.RESET_BODY}:
            answer = answers.whole(call.body)
            writer.write(answer[: len(answer) - len(call.body) // 2])
        self._end(fault, endpoint)
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

    async def _stream(self, call: Call, fault: Fault, endpoint: str, writer: asyncio.StreamWriter) -> None:
        parts = [] if fault.play is Play.EARLY else answers.stream_parts(call.body)
        pause = call.seconds / (len(parts) + 1)
        await asyncio.sleep(pause)
        writer.write(answers.stream_head())
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        self._end(fault, endpoint)
        writer.write(answers.stream_end(fault.play))
        if fault.play is Play.RESET_FRAME:
            await writer.drain()
            _reset(writer)
        if fault.play in {Play.SHORT, Play.EARLY, Play.RESET_FRAME}:
            raise _Over
        # Else the answer ended as HTTP wants it. To close now would be a fault of the next call, which may be on its
        # way already, and is rightly answered 424 then.
        await writer.drain()

    def _end(self, fault: Fault, endpoint: str) -> None:
        if fault.goes_on:
            self._ledger.end_in(endpoint, GOES_ON_SECONDS)
        elif not fault.unseen:
            self._ledger.end(endpoint)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    writer.transport.abort()


async def resize(sagemaker: SageMaker, sizes: Iterator[int]) -> None:
    """Let the elastic fleet change its size, for ever."""
    for size in sizes:
        sagemaker.size = size
        await asyncio.sleep(SIZE_SECONDS)


@asynccontextmanager
async def serving(sagemaker: SageMaker) -> AsyncIterator[str]:
    """Its URL, while it listens on 127.0.0.1."""
    server = await asyncio.start_server(sagemaker.accept, "127.0.0.1", 0, backlog=BACKLOG)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await sagemaker.stop()
        await server.wait_closed()
