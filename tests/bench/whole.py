"""What a request costs through a whole process: the gateway as it is served, beside a pooled aiobotocore client."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from .figures import Aim, Figure, Result, Table, ratio
from .load import open_callers
from .processes import ROOT, Server, serving

ENDPOINT = "bench"
PATH = f"/endpoints/{ENDPOINT}/invocations"
CONNECTIONS = 32
INSTANCES = 64
"""More than there are connections, so that nobody ever waits."""

BODY_BYTES = (100, 10_000)
MOST = 1 / 3
"""The aim: the whole gateway takes at most a third of the CPU that the client alone takes in the plainest app."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one round came to.

    Attributes:
        cpu: microseconds of the server's CPU per request.
        rate: requests per second.
    """

    cpu: float
    rate: float


async def measure(directory: Path, *, rounds: int, requests: int, beside: Path | None) -> Result:
    """All systems under the same load, in interleaved rounds.

    Args:
        directory: where configs and logs may be put.
        rounds: how many.
        requests: how many requests each of them has.
        beside: another checkout whose gateway is measured too.
    """
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(serving(["-m", "tests.bench.upstream"], log=directory / "up.log"))
        url = f"http://127.0.0.1:{upstream.port}"
        systems = {"gateway": await stack.enter_async_context(serving_gateway(directory / "gateway", url))}
        if beside is not None:
            systems["gateway beside"] = await stack.enter_async_context(
                serving_gateway(directory / "beside", url, checkout=beside)
            )
        systems["aiobotocore"] = await stack.enter_async_context(
            serving(["-m", "tests.bench.peer", url], log=directory / "peer.log")
        )
        costs = {size: await _rounds(systems, size, rounds, requests) for size in BODY_BYTES}
    return _result(costs, rounds, requests)


@asynccontextmanager
async def serving_gateway(
    name: Path, url: str, *, command: Sequence[str] = ("-m", "gateway"), checkout: Path = ROOT
) -> AsyncIterator[Server]:
    """A gateway with default settings, its access log in a file.

    Args:
        name: its files are called so.
        url: its upstream.
        command: how it is run.
        checkout: whose gateway it is.
    """
    config = name.with_suffix(".yaml")
    settings = {
        "listen": {"port": 0},
        "aws": {"region": "ap-northeast-1", "endpoint_url": url},
        "endpoints": {ENDPOINT: {"instances": INSTANCES}},
    }
    config.write_text(json.dumps(settings))  # JSON is YAML
    arguments = [*command, "serve", "--config", str(config)]
    async with serving(arguments, log=name.with_suffix(".log"), checkout=checkout) as server:
        yield server


async def cost(server: Server, *, body_bytes: int, requests: int) -> Cost:
    """One round of load on one server."""
    async with open_callers(server.port, PATH, body_bytes=body_bytes, connections=CONNECTIONS) as callers:
        await callers.run(CONNECTIONS)  # opens whatever is opened with the first request of a connection
        before = server.cpu_seconds()
        seconds = await callers.run(requests)
        used = server.cpu_seconds() - before
    return Cost(cpu=used / requests * 1e6, rate=requests / seconds)


async def _rounds(systems: dict[str, Server], body_bytes: int, rounds: int, requests: int) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in systems}
    for number in range(rounds + 1):
        order = list(systems.items())
        for name, server in order if number % 2 else reversed(order):
            # The first round is for warmth and does not count.
            found = await cost(server, body_bytes=body_bytes, requests=requests if number else requests // 4)
            if number:
                costs[name].append(found)
    return costs


def _result(costs: dict[int, dict[str, list[Cost]]], rounds: int, requests: int) -> Result:
    rows, aims = [], []
    for size, systems in costs.items():
        cpu = {name: Figure(tuple(each.cpu for each in found)) for name, found in systems.items()}
        rate = {name: Figure(tuple(each.rate for each in found)) for name, found in systems.items()}
        peer = cpu["aiobotocore"]
        for name in systems:
            share = "1" if cpu[name] is peer else ratio(cpu[name], peer).text(".3f", "×")  # noqa: RUF001
            rows.append((f"{name}, {size:,} B", cpu[name].text(), rate[name].text(",.0f"), share))
        aims.append(Aim(f"CPU per request beside aiobotocore, {size:,} B", ratio(cpu["gateway"], peer), MOST))
    table = Table(
        title="Whole request: each system a process, the same callers and the same upstream",
        columns=("", "CPU µs per request", "requests per second", "CPU beside aiobotocore"),
        rows=rows,
        note=f"{rounds} interleaved rounds of {requests:,} requests over {CONNECTIONS} connections in a closed loop; "
        "every answer is checked. CPU is user and system time of the server's process. The gateway runs with its "
        "defaults: queue, signing, metrics, and the access log in a file. Callers and upstream share the machine, so "
        "requests per second are for information.",
    )
    return Result((table,), tuple(aims))
