"""What a streamed answer costs on its way, part by part, and how long its first part takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from .figures import Figure, Headline, Result, Table, difference, quantile, ratio
from .processes import Server
from .stream_load import open_stream_callers
from .systems import ARTICLE, DIRECT, DIRECT_STREAM_PATH, ENVOY, STREAM_PATH, Stand
from .turns import in_turns

CONNECTIONS = 32
BETWEEN_MILLISECONDS = 10
STAGGER_SECONDS = 0.003
PACED_PARTS = 50


@dataclass(frozen=True, slots=True)
class Round:
    """What one round came to.

    Attributes:
        flat_rate: parts per second while parts come as fast as they are taken.
        flat_cpu: microseconds of the server's CPU per part, then.
        paced_cpu: the same while parts come one by one, so that none is taken together with the next.
        first: seconds to the first part, in ascending order.
    """

    flat_rate: float
    flat_cpu: float
    paced_cpu: float
    first: Sequence[float]


async def measure(stand: Stand, *, rounds: int, parts: int) -> Result:
    """All systems that stream, in interleaved rounds.

    Args:
        stand: what is measured.
        rounds: how many.
        parts: how many parts an answer has that comes as fast as it is taken.
    """

    async def turn(server: Server, path: str, number: int) -> Round:
        return await _round(server, path, parts if number >= 0 else parts // 4)

    subjects = {name: partial(turn, server, STREAM_PATH) for name, server in stand.systems.items() if name != ARTICLE}
    subjects[DIRECT] = partial(turn, stand.upstream, DIRECT_STREAM_PATH)
    found = await in_turns(rounds, subjects)
    paced = {name: Figure(tuple(each.paced_cpu for each in some)) for name, some in found.items() if name != DIRECT}
    return Result((_table(found, rounds, parts),), (), (Headline("CPU µs per streamed part", paced),))


async def _round(server: Server, path: str, parts: int) -> Round:
    async with open_stream_callers(server.port, path, parts=parts, between=0, connections=CONNECTIONS) as callers:
        before = server.cpu_seconds()
        seconds = await callers.run(1)
        flat = server.cpu_seconds() - before
    between = BETWEEN_MILLISECONDS
    async with open_stream_callers(
        server.port, path, parts=PACED_PARTS, between=between, connections=CONNECTIONS
    ) as callers:
        before = server.cpu_seconds()
        await callers.run(1, stagger=STAGGER_SECONDS)
        paced = server.cpu_seconds() - before
        first = sorted(callers.first_parts)
    return Round(
        flat_rate=CONNECTIONS * parts / seconds,
        flat_cpu=flat / (CONNECTIONS * parts) * 1e6,
        paced_cpu=paced / (CONNECTIONS * PACED_PARTS) * 1e6,
        first=first,
    )


def _table(found: Mapping[str, Sequence[Round]], rounds: int, parts: int) -> Table:
    paced = {name: Figure(tuple(r.paced_cpu for r in each)) for name, each in found.items()}
    first = {name: Figure(tuple(quantile(r.first, 0.5) * 1e6 for r in each)) for name, each in found.items()}
    rows = [
        (
            name,
            Figure(tuple(r.flat_rate for r in each)).text(",.0f"),
            Figure(tuple(r.flat_cpu for r in each)).text(".1f"),
            paced[name].text(".1f"),
            (first[name] if name == DIRECT else difference(first[name], first[DIRECT])).text(),
            "" if name == DIRECT else ratio(paced[name], paced[ENVOY]).text(".2f", "×"),  # noqa: RUF001
        )
        for name, each in found.items()
    ]
    return Table(
        title=f"Streaming: {CONNECTIONS} streams at a time, parts of 100 B",
        columns=(
            "",
            "parts per second, flat out",
            "CPU µs per part, flat out",
            "CPU µs per part, paced",
            "added µs to the first part, p50",
            "paced CPU beside Envoy",
        ),
        rows=rows,
        note=f"{rounds} interleaved rounds. Flat out: {parts:,} parts in each stream, sent as fast as they are taken. "
        f"Paced: {PACED_PARTS} parts in each, one every {BETWEEN_MILLISECONDS} ms, which no read or write puts "
        "together; the opening of the stream is in the figure. Every byte of every answer is checked. The gateway "
        "takes the frames apart to see errors in them, as Envoy does not; the client hands on what is in the frames.",
    )
