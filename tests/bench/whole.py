"""What a request costs through a whole process, for bodies of three lengths and connections of three numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from .figures import Aim, Figure, Headline, Result, Table, ratio
from .load import open_callers
from .processes import Server
from .systems import (
    ARTICLE,
    BESIDE,
    COMPILED,
    DIRECT,
    DIRECT_PATH,
    ENVOY,
    GATEWAY,
    PATH,
    POOLED,
    POOLED_UVLOOP,
    Stand,
)
from .turns import in_turns

BODY_BYTES = (100, 10_000, 1_000_000)
CONNECTIONS = (1, 32, 256)
Cell = tuple[int, int]
"""Length of the bodies, number of connections."""

JUDGED: tuple[Cell, ...] = ((100, 32), (10_000, 32))
"""The cells that are judged; they have all the rounds, others a part of them."""

CELLS: tuple[Cell, ...] = tuple((size, number) for size in BODY_BYTES for number in CONNECTIONS)

WANTED = 1.0
MOST = {ENVOY: 2.0, POOLED: 1 / 7}
"""The aims: no more CPU than Envoy, of which twice is the most, and a seventh of what the client alone takes."""

SPEED = {
    GATEWAY: 1.0,
    BESIDE: 1.0,
    COMPILED: 1.3,
    ENVOY: 2.0,
    POOLED: 0.4,
    POOLED_UVLOOP: 0.4,
    ARTICLE: 0.05,
    DIRECT: 4.0,
}
"""Requests of each system in a round, beside the gateway's, so that rounds are about equally long."""

RESIDENT_BYTES = 10_000
"""The bodies at whose end the memory of a server is a headline."""

_LARGE_BYTES = 1_000_000
_LARGE_SPEED = 0.1
MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """What one round came to.

    Attributes:
        cpu: microseconds of the server's CPU per request.
        rate: requests per second.
        resident: bytes of memory that the server has at its end.
    """

    cpu: float
    rate: float
    resident: int


@dataclass(frozen=True, slots=True)
class Load:
    """What the callers do.

    Attributes:
        body_bytes: the length of each body.
        connections: how many callers there are.
        requests: how many requests the gateway gets in a round.
    """

    body_bytes: int
    connections: int
    requests: int

    def share(self, name: str) -> int:
        """How many requests one of the systems gets."""
        large = _LARGE_SPEED if self.body_bytes >= _LARGE_BYTES else 1
        return max(self.connections, round(self.requests * SPEED[name] * large))


async def measure(stand: Stand, *, cells: Sequence[Cell], rounds: int, few: int, requests: int) -> Result:
    """All systems under the same load, in interleaved rounds.

    Args:
        stand: what is measured.
        cells: with which bodies and connections.
        rounds: how many rounds the judged cells have.
        few: how many the others have.
        requests: how many requests the gateway has in each.
    """
    rows: list[tuple[str, ...]] = []
    aims: list[Aim] = []
    headlines: list[Headline] = []
    for cell in cells:
        judged = cell in JUDGED
        load = Load(*cell, requests)
        costs = await compare(stand, load, rounds=rounds if judged else few, article=judged)
        rows += _rows(load, costs)
        if judged:
            aims += _aims(load, costs)
            headlines += _headlines(load, costs)
    return Result((_table(rows, rounds, few, requests),), tuple(aims), tuple(headlines))


async def cost(server: Server, load: Load, *, requests: int, path: str = PATH) -> Cost:
    """One round of load on one server."""
    async with open_callers(server.port, path, body_bytes=load.body_bytes, connections=load.connections) as callers:
        await callers.run(load.connections)  # opens whatever is opened with the first request of a connection
        before = server.cpu_seconds()
        seconds = await callers.run(requests)
        used = server.cpu_seconds() - before
    return Cost(cpu=used / requests * 1e6, rate=requests / seconds, resident=server.resident_bytes())


async def compare(stand: Stand, load: Load, *, rounds: int, article: bool) -> dict[str, list[Cost]]:
    """One cell of the table.

    Args:
        stand: what is measured.
        load: under which load.
        rounds: how many.
        article: whether the slowest of all takes part.
    """

    async def turn(server: Server, path: str, requests: int, number: int) -> Cost:
        return await cost(server, load, requests=requests if number >= 0 else max(1, requests // 4), path=path)

    subjects = {
        name: partial(turn, server, PATH, load.share(name))
        for name, server in stand.systems.items()
        if article or name != ARTICLE
    }
    subjects[DIRECT] = partial(turn, stand.upstream, DIRECT_PATH, load.share(DIRECT))
    return await in_turns(rounds, subjects)


def cpu_of(costs: list[Cost]) -> Figure:
    """The CPU per request, round by round."""
    return Figure(tuple(each.cpu for each in costs))


def _rows(load: Load, costs: dict[str, list[Cost]]) -> list[tuple[str, ...]]:
    cpu = {name: cpu_of(found) for name, found in costs.items()}
    rows = []
    for name, found in costs.items():
        rate = Figure(tuple(each.rate for each in found))
        per_core = Figure(tuple(1e6 / each.cpu for each in found))
        resident = Figure(tuple(each.resident / MEBIBYTE for each in found))
        rows.append(
            (
                f"{load.body_bytes:,} B × {load.connections}: {name}",  # noqa: RUF001
                cpu[name].text(),
                per_core.text(",.0f"),
                rate.text(",.0f"),
                resident.text(".0f"),
                *(_beside(cpu[name], cpu.get(peer), name) for peer in MOST),
            )
        )
    return rows


def _beside(figure: Figure, peer: Figure | None, name: str) -> str:
    if peer is None or name == DIRECT:
        return ""
    return "1" if peer is figure else ratio(figure, peer).text(".2f", "×")  # noqa: RUF001


def _aims(load: Load, costs: dict[str, list[Cost]]) -> list[Aim]:
    return [
        Aim(
            f"CPU per request{of} beside {name}, {load.body_bytes:,} B",
            ratio(cpu_of(costs[ours]), cpu_of(costs[name])),
            most,
        )
        for ours, of in ((GATEWAY, ""), (COMPILED, " of the compiled gateway"))
        for name, most in MOST.items()
        if ours in costs and name in costs
    ]


def _headlines(load: Load, costs: dict[str, list[Cost]]) -> list[Headline]:
    systems = {name: found for name, found in costs.items() if name != DIRECT}
    size = _short(load.body_bytes)
    per_core = {name: Figure(tuple(1e6 / each.cpu for each in found)) for name, found in systems.items()}
    resident = {name: Figure(tuple(each.resident / MEBIBYTE for each in found)) for name, found in systems.items()}
    return [
        Headline(f"CPU µs per request, {size}", {name: cpu_of(found) for name, found in systems.items()}),
        Headline(f"requests/s per core, {size}", per_core, drawn=False),
        *([Headline("resident MiB", resident)] if load.body_bytes == RESIDENT_BYTES else []),
    ]


def _short(size: int) -> str:
    return f"{size // 1000} kB" if size >= 1000 else f"{size} B"


def _table(rows: list[tuple[str, ...]], rounds: int, few: int, requests: int) -> Table:
    return Table(
        title="Whole request: body × connections, each system a process, the same callers and the same upstream",  # noqa: RUF001
        columns=(
            "",
            "CPU µs per request",
            "requests per second per core",
            "requests per second",
            "resident MiB",
            *(f"CPU beside {name}" for name in MOST),
        ),
        rows=rows,
        note=f"{rounds} interleaved rounds ({few} where nothing is judged) of {requests:,} requests to "
        "the gateway and more to whoever is faster, fewer to whoever is slower, in a closed loop over kept-alive "
        "connections; every answer is checked, and the first signature of every connection to the upstream is verified "
        "for every system. CPU is user and system time of all threads of the server's process, and a core serves so "
        "many requests as fit into a second of it. The gateway runs with its defaults, everything on: queue, signing, "
        "metrics, and the access log in a file; compiled it is the same source "
        "(`make compiled`). Envoy has one worker, the signing filter over the whole body, its "
        "access log as JSON in a file, statistics, and a circuit breaker. The pooled client has an aiohttp app around "
        f"it and nothing else: as `web.run_app` runs it ({POOLED}), and on uvloop. Callers and upstream share the "
        f"machine and its cores; `{DIRECT}` shows what the callers can send where nothing is between.",
    )
