"""How the gateway bears a long config: what one more endpoint takes of its start, its scrapes, its memory."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import aiohttp

from .load import WrongAnswer
from .processes import Server, serving
from .systems import ENDPOINT, INSTANCES, serving_gateway
from .whole import Load, cost

SCRAPES = 5
LOAD = Load(body_bytes=100, connections=32, requests=500)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a config of so many endpoints came to.

    Attributes:
        start: seconds from the start of the process until it listens.
        start_cpu: seconds of CPU until then.
        scrape: milliseconds from the request of a scrape to the whole of it.
        scrape_cpu: milliseconds of CPU for it.
        scraped: bytes of a scrape.
        resident: bytes of memory after the start.
        request: microseconds of CPU per request to one of the endpoints.
    """

    start: float
    start_cpu: float
    scrape: float
    scrape_cpu: float
    scraped: float
    resident: float
    request: float


async def endpoints(directory: Path, number: int) -> Fleet:
    """A gateway with so many endpoints.

    Args:
        directory: where configs and logs may be put.
        number: how many.
    """
    names = [ENDPOINT, *(f"endpoint-{at}" for at in range(1, number))]
    settings = {"endpoints": {name: {"instances": INSTANCES} for name in names}}
    async with serving(["-m", "tests.bench.upstream"], log=directory / "fleet-upstream.log") as upstream:
        began = perf_counter()
        url = f"http://127.0.0.1:{upstream.port}"
        async with serving_gateway(directory / "fleet", url, settings=settings) as gateway:
            start, start_cpu, resident = perf_counter() - began, gateway.cpu_seconds(), gateway.resident_bytes()
            scrape, scraped = await _scrape(gateway, names[-1])
            scrape_cpu = (gateway.cpu_seconds() - start_cpu) / SCRAPES
            request = await cost(gateway, LOAD, requests=LOAD.requests)
    return Fleet(start, start_cpu, scrape * 1000, scrape_cpu * 1000, scraped, resident, request.cpu)


async def _scrape(gateway: Server, name: str) -> tuple[float, float]:
    """Seconds and bytes of a scrape, which has to have something of this endpoint."""
    seconds = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{gateway.port}") as session:
        for _ in range(SCRAPES):
            began = perf_counter()
            async with session.get("/metrics") as answer:
                text = await answer.read()
            seconds.append(perf_counter() - began)
            if f'endpoint="{name}"'.encode() not in text:
                raise WrongAnswer(f"a scrape without {name}: {text[:500]!r}")
    return median(seconds), float(len(text))
