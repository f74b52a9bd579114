"""The gateway's process, seen from outside: its memory, its sockets, its tasks, what it says of itself."""

import asyncio
import json
import os
import signal
import time
from asyncio.subprocess import Process
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
REFUSED_RELOAD = "reload_failed"
LOUD = frozenset({"error", "critical"})


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's process.

    Attributes:
        pid: its process id.
        port: where it listens, on 127.0.0.1.
        tasks: the file in which it counts its tasks.
        log: the file of its standard error.
        config: the file of its config.
        process: the process itself.
    """

    pid: int
    port: int
    tasks: Path
    log: Path
    config: Path
    process: Process

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def resident_bytes(self) -> int:
        """How much memory it has."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def complaints(self) -> list[str]:
        """The lines of its log that are no JSON, or speak of an error that nobody made."""
        return [line for line in self.log.read_text().splitlines() if _loud(line)]

    def refused_reloads(self) -> int:
        """How often it has said that a config cannot be taken."""
        return self.log.read_text().count(f'"event": "{REFUSED_RELOAD}"')

    def reload(self, config: Mapping[str, Any] | str) -> None:
        """Give it another config, or a text that is none."""
        self.config.write_text(config if isinstance(config, str) else json.dumps(config))  # JSON is YAML
        os.kill(self.pid, signal.SIGHUP)

    async def endpoints(self) -> Mapping[str, Any]:
        """What it says of its endpoints."""
        async with self._session() as session, session.get("/status") as response:
            status: Mapping[str, Any] = await response.json()
        endpoints: Mapping[str, Any] = status["endpoints"]
        return endpoints

    async def held(self) -> Mapping[str, int]:
        """Calls and callers, of all endpoints together."""
        endpoints = await self.endpoints()
        return {name: sum(endpoint[name] for endpoint in endpoints.values()) for name in HELD}

    async def ejects(self, endpoint: str) -> bool:
        """Whether it leaves an endpoint out."""
        return bool((await self.endpoints())[endpoint]["health"]["ejected"])

    async def until_capacity(self, endpoint: str, capacity: int) -> None:
        """Wait until an endpoint has so many permits."""
        while (await self.endpoints())[endpoint]["capacity"] != capacity:
            await asyncio.sleep(POLL_SECONDS)

    async def rest(self) -> Rest:
        """What it holds now, by its own word and by the kernel's."""
        held = await self.held()
        await asyncio.sleep(POLL_SECONDS)  # that connection is no part of it
        return Rest(self.descriptors(), await self._count_tasks(), held)

    async def counted(self) -> Counted:
        """Its metrics."""
        async with self._session() as session, session.get("/metrics") as response:
            text = await response.text()
        requests: Counter[tuple[str, str]] = Counter()
        refusals: Counter[str] = Counter()
        failovers: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == f"{PREFIX}requests_total":
                    requests[sample.labels["operation"], sample.labels["code"]] += int(sample.value)
                elif sample.name == f"{PREFIX}refusals_total":
                    refusals[sample.labels["reason"]] += int(sample.value)
                elif sample.name == f"{PREFIX}failovers_total":
                    failovers[sample.labels["reason"]] += int(sample.value)
        return Counted(+requests, +refusals, +failovers)

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
async def open_gateway(directory: Path, config: Mapping[str, Any], aws_config: Path) -> AsyncIterator[Gateway]:
    """A gateway, and what it leaves in a directory; ended on the way out."""
    path, log, tasks = directory / "gateway.yaml", directory / "gateway.log", directory / "tasks"
    path.write_text(json.dumps(config))  # JSON is YAML
    tasks.touch()
    arguments = ["-m", "tests.soak.watched", str(aws_config), str(tasks), "serve", "--config", str(path)]
    async with serving(arguments, log=log) as server:
        yield Gateway(server.pid, server.port, tasks, log, path, server.process)


def _loud(line: str) -> bool:
    try:
        said = json.loads(line)
        return said.get("level") in LOUD and said.get("event") != REFUSED_RELOAD
    except ValueError:
        return True
