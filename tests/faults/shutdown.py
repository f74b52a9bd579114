"""What happens around a gateway, as a process, that is told to end: row 36."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from tests.faults.caller import get
from tests.faults.crowd import Crowd
from tests.faults.row import ENDPOINT, NOTHING, Outcome, Player, Row
from tests.processes import Command, running, write_yaml
from tests.raw import RawServer, raw_server
from tests.stand import REGION

CALLERS = 200
INSTANCES = 20
PROMPT_SECONDS = 0.5
"""How soon `/readyz` has to say it, on a machine that is busy with other tests as well."""

PATIENCE_SECONDS = 10.0


@dataclass
class Process:
    """A gateway as a process, 200 of whose calls are under way: 20 run, and the others wait.

    Attributes:
        command: the process.
        far_end: SageMaker's end, which answers a call for each release of its gate.
        crowd: the callers.
        promises: what was promised, and whether it is so.
        permits: the gauges once it has been told to end.
    """

    command: Command
    far_end: RawServer
    crowd: Crowd
    promises: dict[str, bool] = field(default_factory=dict)
    permits: str = ""

    def signal(self) -> None:
        """Tell it to end."""
        self.command.process.send_signal(signal.SIGTERM)

    async def told_to_end(self) -> None:
        """Tell it to end, and wait until it says that it is going to."""
        told = perf_counter()
        self.signal()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await get(self.crowd.url, "/readyz")).status != 503:
                pass
        self.promises["/readyz says 503 at once"] = perf_counter() - told < PROMPT_SECONDS
        self.permits = await self.gauges()

    async def gauges(self) -> str:
        """The permits in words, as `/status` tells them."""
        now = json.loads((await get(self.crowd.url, "/status")).body)["endpoints"][ENDPOINT]
        figures = {name: now[name] for name in ("running", "orphaned", "cooling", "waiting")}
        return ", ".join(f"{figure} {name}" for name, figure in figures.items() if figure) or NOTHING


def told_to_end(act: Callable[[Process], Awaitable[None]]) -> Player:
    """Have something happen around a gateway with 200 calls under way, which ends by it."""

    async def play(row: Row) -> Outcome:
        async with _open(row) as process:
            await act(process)
            async with asyncio.timeout(PATIENCE_SECONDS):
                code = await process.command.process.wait()
                log = (await process.command.errors).decode()
            await process.crowd.all_answered()
            process.promises["exit 0"] = code == 0
            process.promises["no traceback"] = "Traceback" not in log
            return Outcome(
                replies=dict(process.crowd.replies),
                counted=_counted(log),
                permits=process.permits,
                released=None,
                runs=len(process.far_end.requests),
                promises=process.promises,
                following=None,
                leaks=tuple(sorted(process.crowd.leaks)),
            )

    return play


async def within_the_delay(process: Process) -> None:
    """Somebody comes while it still takes calls, and the models answer everybody."""
    await process.told_to_end()
    await process.crowd.begin()
    await _until(process, f"{INSTANCES} running, {CALLERS - INSTANCES + 1} waiting")
    for _ in range(CALLERS + 1):
        process.far_end.gate.release()


async def beyond_the_deadline(process: Process) -> None:
    """Somebody comes too late, and the models do not answer in time."""
    await process.told_to_end()
    await process.crowd.call()


async def signalled_again(process: Process) -> None:
    """Somebody comes too late, and somebody is in a hurry."""
    await process.told_to_end()
    await process.crowd.call()
    process.signal()


async def _until(process: Process, gauges: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await process.gauges() != gauges:
            pass


def _counted(log: str) -> dict[str, int]:
    """What the log told of requests: the metrics of a process end with it."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["event"] == "request_finished"]
    found = Counter(f"requests {line['status']}" for line in requests)
    found.update(f"refusals {line['reason']}" for line in requests if line.get("reason"))
    return dict(found)


@asynccontextmanager
async def _open(row: Row) -> AsyncIterator[Process]:
    with TemporaryDirectory() as folder:
        async with raw_server(*row.far_end) as far_end:
            config = {
                "listen": {"port": 0},
                "aws": {"region": REGION, "endpoint_url": far_end.url},
                "endpoints": {ENDPOINT: {"instances": INSTANCES, **row.endpoint}},
                **row.config,
            }
            async with running("serve", "--config", write_yaml(Path(folder) / "gateway.yaml", config)) as command:
                process = Process(command, far_end, Crowd(command.url))
                try:
                    for _ in range(CALLERS):
                        await process.crowd.begin()
                    await _until(process, f"{INSTANCES} running, {CALLERS - INSTANCES} waiting")
                    yield process
                finally:
                    await process.crowd.close()
