"""The gateway's process, seen from outside: its memory, its sockets, its tasks, what it says of itself."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.processes import serving

from .facts import Counted, Rest, Sample

PREFIX = "sagemaker_gateway_"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
HELD = ("running", "orphaned", "cooling", "waiting")
TASKS_SECONDS = 10.0
POLL_SECONDS = 0.05
LOUD = frozenset({"error", "critical"})


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's process.

    Attributes:
        pid: its process id.
        port: where it listens, on 127.0.0.1.
        tasks: the file in which it counts its tasks.
        log: the file of its standard error.
    """

    pid: int
    port: int
    tasks: Path
    log: Path

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def resident_bytes(self) -> int:
        """How much memory it has."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def complaints(self) -> list[str]:
        """The lines of its log that are no JSON, or speak of an error."""
        return [line for line in self.log.read_text().splitlines() if _loud(line)]

    async def rest(self) -> Rest:
        """What it holds now, by its own word and by the kernel's."""
        async with self._session() as session, session.get("/status") as response:
            status: Mapping[str, Any] = await response.json()
        held = {name: sum(endpoint[name] for endpoint in status["endpoints"].values()) for name in HELD}
        await asyncio.sleep(POLL_SECONDS)  # that connection is no part of it
        return Rest(self.descriptors(), await self._count_tasks(), held)

    async def counted(self) -> Counted:
        """Its metrics."""
        async with self._session() as session, session.get("/metrics") as response:
            text = await response.text()
        requests: Counter[tuple[str, str]] = Counter()
        refusals: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == f"{PREFIX}requests_total":
                    requests[sample.labels["operation"], sample.labels["code"]] += int(sample.value)
                elif sample.name == f"{PREFIX}refusals_total":
                    refusals[sample.labels["reason"]] += int(sample.value)
        return Counted(+requests, +refusals)

    def sample(self, started: float) -> Sample:
        """Look at it, so long after the start."""
        return Sample(time.monotonic() - started, self.resident_bytes(), self.descriptors())

    async def settled(self, at_rest: Callable[[Rest], bool], seconds: float) -> Rest:
        """What it holds once it is at rest, or when there was no more waiting for that."""
        until = time.monotonic() + seconds
        while not at_rest(rest := await self.rest()) and time.monotonic() < until:
            await asyncio.sleep(POLL_SECONDS)
        return rest

    async def _count_tasks(self) -> int:
        before = len(self._task_lines())
        os.kill(self.pid, signal.SIGUSR1)
        async with asyncio.timeout(TASKS_SECONDS):
            while len(lines := self._task_lines()) == before:
                await asyncio.sleep(POLL_SECONDS)
        return int(lines[-1])

    def _task_lines(self) -> list[str]:
        return [line for line in self.tasks.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers={"Connection": "close"})


@asynccontextmanager
async def open_gateway(directory: Path, config: Mapping[str, Any]) -> AsyncIterator[Gateway]:
    """A gateway, and what it leaves in a directory; ended on the way out."""
    path, log, tasks = directory / "gateway.yaml", directory / "gateway.log", directory / "tasks"
    path.write_text(json.dumps(config))  # JSON is YAML
    tasks.touch()
    arguments = ["-m", "tests.soak.watched", str(tasks), "serve", "--config", str(path)]
    async with serving(arguments, log=log) as server:
        yield Gateway(server.pid, server.port, tasks, log)


def _loud(line: str) -> bool:
    try:
        return json.loads(line).get("level") in LOUD
    except ValueError:
        return True
