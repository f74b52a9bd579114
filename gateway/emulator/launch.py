"""Brings the containers of a deployment up, waits until they answer /ping, and takes them down again."""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

import aiohttp
from yarl import URL

from gateway.emulator.built_in import BuiltIn
from gateway.emulator.container import Container
from gateway.emulator.errors import StartError
from gateway.emulator.plan import FleetPlan
from gateway.emulator.process import ContainerProcess, free_port
from gateway.emulator.settings import FleetSettings, ModelSettings

FIRST_WAIT_SECONDS = 0.01
LONGEST_WAIT_SECONDS = 0.5
KEEPER_SECONDS = 5.0
"""What a process of ours may take to end, on top of the grace of the command it keeps."""


class Launcher:
    """Starts what stands behind the instances; every process it started is its own to stop."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._processes: dict[Container, tuple[ContainerProcess, float]] = {}
        self._ports: set[int] = set()

    async def start(self, plans: Iterable[FleetPlan]) -> dict[str, list[Container]]:
        """The containers of each fleet by its name, one for each instance: all started at once, and all up.

        Raises:
            StartError: One did not come up; the message says why, with the last of its output.
        """
        tasks: dict[str, list[asyncio.Task[Container]]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for plan in plans:
                    starts = [self.start_one(plan, index) for index in range(plan.size)]
                    tasks[plan.name] = [group.create_task(start) for start in starts]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return {name: [task.result() for task in started] for name, started in tasks.items()}

    async def stop(self) -> None:
        """End all processes; return when they are gone."""
        await asyncio.gather(*(self.stop_one(container) for container in tuple(self._processes)))

    async def stop_one(self, container: Container) -> None:
        """End the process of a container, if it is one of ours; return when it is gone."""
        process, grace = self._processes.get(container, (None, 0.0))
        if process is not None:
            container.close()
            await process.stop(grace + KEEPER_SECONDS)
            self._processes.pop(container, None)

    async def start_one(self, plan: FleetPlan, index: int) -> Container:
        """The container of one instance, up.

        Raises:
            StartError: It did not come up.
        """
        place, settings = f"{plan.place}: instance {index}", plan.settings
        if settings.url is not None:
            container = Container(self._session, URL(settings.url), max_body_bytes=plan.max_body_bytes)
            await _until_up(container, settings, place=f"{place} at {settings.url}", process=None)
            return container
        port = self._unused_port()
        process = await ContainerProcess.start(place, _program(settings), port=port, environment=settings.environment)
        kind = BuiltIn if settings.command is None else Container
        base = URL.build(scheme="http", host="127.0.0.1", port=port)
        container = kind(self._session, base, max_body_bytes=plan.max_body_bytes)
        self._processes[container] = (process, settings.stop_seconds)
        try:
            await _until_up(container, settings, place=place, process=process)
            await _pause(0, place=place, process=process)  # it was its own answer, and not another's on its port
        except StartError:
            await self.stop_one(container)
            raise
        return container

    def _unused_port(self) -> int:
        """A port that no other instance was given: each is bound only some time after it was found free."""
        while (port := free_port()) in self._ports:
            pass
        self._ports.add(port)
        return port


def _program(settings: FleetSettings) -> list[str]:
    """What to run for an instance: the command on its keeper's leash, or the built-in model."""
    python = [sys.executable, "-I", "-S"]
    here = Path(__file__).parent
    if settings.command is not None:
        return [*python, str(here / "keeper.py"), str(settings.stop_seconds), *settings.command]
    model = settings.model or ModelSettings()
    options = ["--until-stdin-closes", "--seconds", str(model.seconds), *(["--echo"] if model.echo else [])]
    return [*python, str(here / "model.py"), *options]


async def _until_up(
    container: Container, settings: FleetSettings, *, place: str, process: ContainerProcess | None
) -> None:
    limit, wait, problem = settings.startup_seconds, FIRST_WAIT_SECONDS, None
    try:
        async with asyncio.timeout(limit):
            while (problem := await container.ping()) is not None:
                await _pause(wait, place=place, process=process)
                wait = min(wait * 1.5, LONGEST_WAIT_SECONDS)
    except TimeoutError:
        raise StartError(
            f"{place}: GET /ping did not answer 200 within startup_seconds={limit:g}: it {problem or 'kept silent'}. "
            "Check that it listens on the port in SAGEMAKER_BIND_TO_PORT (or at `url`), or raise startup_seconds."
            f"{_quoted(process)}"
        ) from None


async def _pause(seconds: float, *, place: str, process: ContainerProcess | None) -> None:
    if process is None:
        await asyncio.sleep(seconds)
    elif await process.exited(seconds):
        raise StartError(
            f"{place}: its process ended with status {process.exit_status} before GET /ping answered 200. "
            f"Check `command` and `environment`.{_quoted(process)}"
        )


def _quoted(process: ContainerProcess | None) -> str:
    if process is None:
        return ""
    tail = process.output_tail()
    return f" Its last output:\n{tail}" if tail else " It printed nothing."
