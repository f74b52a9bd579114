"""Ten times more calls than an endpoint has room for, before processes of their own: rows 31 and 37."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import aiohttp

from tests.faults.crowd import INVOKE, answered, counted
from tests.faults.row import ENDPOINT, Outcome, Row
from tests.processes import running, running_pair, write_yaml
from tests.raw import RawServer, raw_server
from tests.stand import REGION

INSTANCES = 4
MODEL_SECONDS = 0.2
CAPACITY = INSTANCES / MODEL_SECONDS
"""Calls a second."""

OVERLOAD = 10
FLOOD = 40
"""How many times as many come."""

MAX_WAITING = 2 * INSTANCES
"""A multiple: else instances would idle at the end, when the last few calls run, and nobody waits."""

SETTINGS = {"instances": INSTANCES, "queue": {"max_waiting": MAX_WAITING}}

WARM_UP_SECONDS = 0.5
ROUND_SECONDS = 1.0
ROUNDS = 8
"""Noise of a shared machine only adds to times: the best round counts."""

GOODPUT = 0.95
REFUSAL_SECONDS = 0.010
SCRAPE_SECONDS = 0.2
SCRAPE_EVERY_SECONDS = 0.1
GROWTH = 1.1


@dataclass
class Round:
    """What was measured in one round.

    Attributes:
        statuses: how often which status came; a refusal without `Retry-After` counts as 0.
        refusals: how long refusals took, in seconds.
        goodput: of the capacity, how much was used for answers, at the fleet's counters.
        peak: most work at once at the fleet.
        waiting: most callers in the queue, as far as scrapes saw.
        scrapes: how long `/metrics` and `/readyz` took, in seconds.
        resident: memory at the end, in bytes.
    """

    statuses: dict[int, int] = field(default_factory=dict)
    refusals: list[float] = field(default_factory=list)
    goodput: float = 0.0
    peak: int = 0
    waiting: int = 0
    scrapes: list[float] = field(default_factory=list)
    resident: float = 0.0

    @property
    def p99(self) -> float:
        """Of a hundred refusals, how long the slowest but one takes."""
        return quantiles(self.refusals, n=100)[98] if len(self.refusals) > 1 else float("inf")


@dataclass
class Flood:
    """Somebody who calls too often.

    Attributes:
        url: of the gateway.
        session: by which they call.
        asked: how many calls there have been.
    """

    url: str
    session: aiohttp.ClientSession
    asked: int = 0

    async def pour(self, seconds: float, times: int) -> Round:
        """Call at so many times the capacity, whatever becomes of it, while metrics are scraped."""
        found = Round()
        scraper = asyncio.create_task(self._scrape(found))
        began, tasks = perf_counter(), []
        for number in range(int(seconds * times * CAPACITY)):
            await asyncio.sleep(max(0.0, began + number / times / CAPACITY - perf_counter()))
            tasks.append(asyncio.create_task(self._call(found)))
        await asyncio.gather(*tasks)
        scraper.cancel()
        with suppress(asyncio.CancelledError):
            await scraper
        self.asked += len(tasks)
        return found

    async def _call(self, found: Round) -> None:
        started = perf_counter()
        async with self.session.post(self.url + INVOKE, data=b"{}") as response:
            await response.read()
            status = response.status
            if status == 429:
                found.refusals.append(perf_counter() - started)
                status = status if int(response.headers.get("Retry-After", 0)) >= 1 else 0
            found.statuses[status] = found.statuses.get(status, 0) + 1

    async def _scrape(self, found: Round) -> None:
        while True:
            for path in ("/metrics", "/readyz"):
                started = perf_counter()
                async with self.session.get(self.url + path) as response:
                    text = await response.text()
                    assert response.status == 200
                found.scrapes.append(perf_counter() - started)
                if path == "/metrics":
                    found.waiting = max(
                        found.waiting, int(_sample(text, f'sagemaker_gateway_waiting{{endpoint="{ENDPOINT}"}}'))
                    )
                    found.resident = _sample(text, "process_resident_memory_bytes")
            await asyncio.sleep(SCRAPE_EVERY_SECONDS)


def _sample(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found
    return float(found[1])


async def overload(_row: Row) -> Outcome:
    """Have a gateway and a fleet overloaded, as processes of their own."""
    async with _open_pair() as (emulator, flood):
        promises, notes = await _overloaded(emulator, flood)
        return await _outcome(flood, promises, notes)


async def scrape(row: Row) -> Outcome:
    """Have a gateway scraped while calls pour in: the best round counts, and in it the slowest answer."""
    slowest: list[float] = []
    async with raw_server(*row.far_end) as far_end, _open_gateway(far_end.url) as flood:
        answering = asyncio.create_task(_answer_now_and_then(far_end))
        while len(slowest) < ROUNDS and not any(each < SCRAPE_SECONDS for each in slowest):
            slowest.append(max((await flood.pour(ROUND_SECONDS, FLOOD)).scrapes))
        promises = {"/metrics and /readyz answered within 200 ms": min(slowest) < SCRAPE_SECONDS}
        outcome = await _outcome(flood, promises, f"slowest: {min(slowest) * 1000:.0f} ms")
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    return outcome


async def _overloaded(emulator: str, flood: Flood) -> tuple[dict[str, bool], str]:
    """Goodput, refusals, queue and memory: of goodput and times the best round counts, of limits all."""
    before = await flood.pour(WARM_UP_SECONDS, OVERLOAD)
    rounds: list[Round] = []
    goodput, p99 = 0.0, float("inf")
    while len(rounds) < ROUNDS and not (goodput >= GOODPUT and p99 < REFUSAL_SECONDS):
        rounds.append(await _round(emulator, flood))
        goodput, p99 = max(goodput, rounds[-1].goodput), min(p99, rounds[-1].p99)
    growth = rounds[-1].resident / before.resident
    promises = {
        "200 or 429 with Retry-After, nothing else": all(each.statuses.keys() == {200, 429} for each in rounds),
        "never over capacity": all(each.peak == INSTANCES for each in rounds),
        "queue within its bound": all(each.waiting <= MAX_WAITING for each in rounds),
        "goodput at least 95 %": goodput >= GOODPUT,
        "refusals p99 under 10 ms": p99 < REFUSAL_SECONDS,
        "memory flat": growth <= GROWTH,
    }
    return promises, f"goodput {goodput:.1%}, refusals p99 {p99 * 1000:.1f} ms, memory {growth - 1:+.1%}"


async def _round(emulator: str, flood: Flood) -> Round:
    """One round on a fleet that starts to count afresh."""
    async with flood.session.post(f"{emulator}/_emulator/reset"):
        pass
    found = await flood.pour(ROUND_SECONDS, OVERLOAD)
    async with flood.session.get(f"{emulator}/_emulator/endpoints") as response:
        fleet: dict[str, Any] = (await response.json())[ENDPOINT]
    found.peak = fleet["peak_work"]
    found.goodput = fleet["answered"] * MODEL_SECONDS / INSTANCES / fleet["span_seconds"]
    return found


async def _outcome(flood: Flood, promises: dict[str, bool], notes: str) -> Outcome:
    promises["every call counted once"] = answered(await counted(flood.url)) == flood.asked
    async with flood.session.post(flood.url + INVOKE, data=b"{}") as response:
        following = response.status
    return Outcome(
        replies={}, counted={}, released=None, runs=None, promises=promises, following=following, notes=notes
    )


async def _answer_now_and_then(far_end: RawServer) -> None:
    while True:
        await asyncio.sleep(1 / CAPACITY)
        if far_end.working:
            far_end.gate.release()


@asynccontextmanager
async def _open_pair() -> AsyncIterator[tuple[str, Flood]]:
    """The URL of an emulator, and who calls the gateway before it."""
    fleets = {ENDPOINT: {"instances": INSTANCES, "model": {"seconds": MODEL_SECONDS}}}
    with TemporaryDirectory() as folder:
        async with (
            running_pair(Path(folder), fleets, {ENDPOINT: SETTINGS}) as (emulator, gateway),
            _session() as session,
        ):
            yield emulator.url, Flood(gateway.url, session)


@asynccontextmanager
async def _open_gateway(upstream: str) -> AsyncIterator[Flood]:
    """Who calls a gateway before a far end of our own."""
    config = {
        "listen": {"port": 0},
        "aws": {"region": REGION, "endpoint_url": upstream},
        "endpoints": {ENDPOINT: SETTINGS},
    }
    with TemporaryDirectory() as folder:
        path = write_yaml(Path(folder) / "gateway.yaml", config)
        async with running("serve", "--config", path) as gateway, _session() as session:
            yield Flood(gateway.url, session)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
