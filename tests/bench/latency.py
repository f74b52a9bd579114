"""How much later an answer comes for what stands between, while a server has half of the work that it could do."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from .figures import Aim, Figure, Headline, Result, Table, difference, quantile
from .open_loop import Arrivals, Timed, open_loop
from .processes import Server
from .systems import ARTICLE, DIRECT, DIRECT_PATH, ENVOY, GATEWAY, PATH, POOLED, POOLED_UVLOOP, Stand
from .turns import in_turns, part_of
from .whole import Load, cost

GROUPS: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...] = (
    ((GATEWAY, ENVOY), (100, 10_000)),
    ((POOLED, POOLED_UVLOOP), (100,)),
    ((ARTICLE,), (100,)),
)
"""Who is compared at one rate, half of what the slowest of them can do, and with which bodies."""

QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
MOST = {"p50": 1.5, "p99": 2.0}
"""The aims, beside Envoy."""

HEADLINE_BYTES = 100
CONNECTIONS = 256
CAPACITY_CONNECTIONS = 32
CAPACITY_ROUNDS = 5
HALF = 0.5
LEAST = 1.0
"""What is added is at least so many microseconds, so that it can be divided by."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round came to.

    Attributes:
        timed: when answers came.
        cpu: microseconds of the server's CPU per request.
    """

    timed: Timed
    cpu: float

    def microseconds(self, name: str) -> float:
        """A quantile of the latencies, by its name."""
        return quantile(self.timed.latencies, QUANTILES[name]) * 1e6


async def measure(stand: Stand, *, rounds: int, seconds: float, requests: int) -> Result:
    """Every group at its rate, in interleaved rounds.

    Args:
        stand: what is measured.
        rounds: how many.
        seconds: how long requests come in each.
        requests: how many the fastest gets while it is found out what the slowest can do.
    """
    rows: list[tuple[str, ...]] = []
    aims: list[Aim] = []
    added: dict[str, dict[str, Figure]] = {name: {} for name in QUANTILES}
    for names, sizes in GROUPS:
        for size in sizes:
            rate = HALF * await _capacity(stand, names, Load(size, CAPACITY_CONNECTIONS, requests))
            judged = GATEWAY in names
            number = rounds if judged else part_of(rounds)
            found = await _rounds(stand, names, size, rate=rate, rounds=number, seconds=seconds)
            rows += _rows(size, rate, found)
            aims += _aims(size, found) if judged else []
            if size == HEADLINE_BYTES:
                for quantile_name, figures in added.items():
                    figures |= {name: _added(found, name, quantile_name) for name in names}
    headlines = tuple(Headline(f"added µs, {name}", figures) for name, figures in added.items())
    return Result((_table(rows, rounds, seconds),), tuple(aims), headlines)


async def _capacity(stand: Stand, names: Sequence[str], load: Load) -> float:
    """Requests per second that the slowest of some systems can do, also while the machine has other work."""

    async def turn(name: str, _: int) -> float:
        found = await cost(stand.systems[name], load, requests=load.share(name))
        return found.rate

    rates = await in_turns(CAPACITY_ROUNDS, {name: partial(turn, name) for name in names})
    return min(min(each) for each in rates.values())


async def _rounds(
    stand: Stand, names: Sequence[str], size: int, *, rate: float, rounds: int, seconds: float
) -> dict[str, list[Round]]:
    async def turn(server: Server, path: str, number: int) -> Round:
        arrivals = Arrivals(rate, seconds if number >= 0 else seconds / 4, seed=number)
        with open_loop(server.port, path, body_bytes=size, connections=CONNECTIONS) as callers:
            before = server.cpu_seconds()
            timed = callers.run(arrivals)
            used = server.cpu_seconds() - before
        return Round(timed, used / len(timed.latencies) * 1e6)

    subjects = {name: partial(turn, stand.systems[name], PATH) for name in names}
    subjects[DIRECT] = partial(turn, stand.upstream, DIRECT_PATH)
    return await in_turns(rounds, subjects)


def _added(found: dict[str, list[Round]], name: str, quantile_name: str) -> Figure:
    """Microseconds, less those of the upstream itself in the same round."""
    of = {each: Figure(tuple(r.microseconds(quantile_name) for r in found[each])) for each in (name, DIRECT)}
    return difference(of[name], of[DIRECT])


def _rows(size: int, rate: float, found: dict[str, list[Round]]) -> list[tuple[str, ...]]:
    rows = []
    for name, rounds in found.items():
        if name == DIRECT:
            each = [Figure(tuple(r.microseconds(q) for r in rounds)) for q in QUANTILES]
        else:
            each = [_added(found, name, q) for q in QUANTILES]
        cpu = Figure(tuple(r.cpu for r in rounds)).text()
        late = Figure(tuple(quantile(r.timed.delays, QUANTILES["p99"]) * 1e6 for r in rounds)).text()
        rows.append((f"{size:,} B, {rate:,.0f} per second: {name}", *(f.text() for f in each), cpu, late))
    return rows


def _aims(size: int, found: dict[str, list[Round]]) -> list[Aim]:
    """Medians are compared, not round by round: in a single one noise may leave nothing that could be divided by."""
    aims = []
    for name, most in MOST.items():
        ours, theirs = (max(LEAST, _added(found, system, name).median) for system in (GATEWAY, ENVOY))
        aims.append(Aim(f"added latency beside Envoy, {name}, {size:,} B", Figure((ours / theirs,)), most))
    return aims


def _table(rows: list[tuple[str, ...]], rounds: int, seconds: float) -> Table:
    return Table(
        title="Added latency at half load, µs",
        columns=("", *QUANTILES, "CPU µs per request", "callers late, p99"),
        rows=rows,
        note=f"{rounds} interleaved rounds of {seconds:g} s (fewer for the clients). An open loop: requests come as a "
        f"Poisson process, with the same dice for all in a round, over {CONNECTIONS} kept-alive connections, at half "
        "of the rate that the slowest of those who are compared serves in a closed loop over "
        f"{CAPACITY_CONNECTIONS} connections in this run. A latency runs from the first byte sent to the last one "
        f"received; what `{DIRECT}` takes in the same round, as its own row shows, has been taken off the others.",
    )
