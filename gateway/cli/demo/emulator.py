"""What the emulator has counted, over HTTP: the only witness of what reached the fleet."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from gateway.cli.demo.errors import DemoError
from gateway.emulator import Counters, InstanceCounters

POLL_SECONDS = 0.02


class Witness:
    """Asks the emulator at a URL."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def reset(self) -> None:
        """Have everything counted anew."""
        async with self._session.post(f"{self._url}/_emulator/reset") as response:
            response.raise_for_status()

    async def counters(self, endpoint: str) -> Counters:
        """What has been counted at an endpoint up to now."""
        async with self._session.get(f"{self._url}/_emulator/endpoints") as response:
            response.raise_for_status()
            found: dict[str, Any] = (await response.json())[endpoint]
        instances = tuple(InstanceCounters(**instance) for instance in found.pop("instances"))
        return Counters(**found, instances=instances)

    async def final_counters(self, endpoint: str, *, within_seconds: float) -> Counters:
        """What was counted once the fleet has nothing left to do: it works on for callers that have gone.

        Raises:
            DemoError: It still works when the time is over.
        """
        deadline = time.monotonic() + within_seconds
        while (counters := await self.counters(endpoint)).work:
            if time.monotonic() > deadline:
                raise DemoError(
                    f"the emulator's endpoint {endpoint} still works on {counters.work} calls, {within_seconds:g} s "
                    "after the last answer: the machine is too busy to measure on. Run the demo again on a quiet one."
                )
            await asyncio.sleep(POLL_SECONDS)
        return counters


@asynccontextmanager
async def open_witness(url: str) -> AsyncIterator[Witness]:
    """A witness of the emulator at a URL.

    Raises:
        DemoError: The emulator stops answering.
    """
    try:
        async with aiohttp.ClientSession() as session:
            yield Witness(session, url)
    except aiohttp.ClientError as error:
        raise DemoError(f"the emulator at {url} does not tell its counters: {error}. Run the demo again.") from error
