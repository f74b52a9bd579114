"""`python -m tests.bench`: run the parts of the bench, print what they find, and judge it when asked to."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import uvloop
from rich.console import Console

from tests.compiled.build import has_compiler

from . import latency, limit, limiter, queueing, report, scale, streaming, whole
from .figures import Result
from .others import Others, Spent
from .plot import draw
from .profiling import profile
from .systems import ARTICLE, COMPILED, ENVOY, GATEWAY, POOLED, POOLED_UVLOOP, Stand, stand

PROCESSES = ("gateway", "latency", "streams")
"""The parts for which all systems run."""

PARTS = (*PROCESSES, "profile", "limit", "scale", "limiter")
COMMAND = "python -m tests.bench"
WIDTH = 150
"""Columns of the output where it goes to no terminal."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long everything takes.

    Attributes:
        systems: who is compared; the look has no time to compile, and without a C compiler nobody has.
        cells: bodies and connections of whole requests.
        crowds: how large the crowds are.
        rounds: rounds that count.
        few: rounds of what is longer, or is not judged.
        draws: rounds of whole requests that are judged, and at half load: many and short, since each depends on what
            else the machine does just then.
        bursts: rounds of the crowd at its physical limit.
        requests: requests to the gateway in a round.
        seconds: how long requests come at half load in a round.
        parts: parts of a stream that comes as fast as it is taken.
        pairs: permits taken and given back per round.
        steps: operations on a standing queue per round.
        profiled: requests under the profiler.
    """

    systems: tuple[str, ...]
    cells: tuple[whole.Cell, ...]
    crowds: scale.Numbers
    rounds: int
    few: int
    draws: int
    bursts: int
    requests: int
    seconds: float
    parts: int
    pairs: int
    steps: int
    profiled: int


FULL = Size(
    systems=(GATEWAY, COMPILED, ENVOY, POOLED, POOLED_UVLOOP, ARTICLE),
    cells=whole.CELLS,
    crowds=scale.FULL,
    rounds=9,
    few=3,
    draws=25,
    bursts=9,
    requests=1_000,
    seconds=1.0,
    parts=500,
    pairs=100_000,
    steps=3_000,
    profiled=20_000,
)
SHORT = Size(
    systems=(GATEWAY, ENVOY, POOLED, POOLED_UVLOOP, ARTICLE),
    cells=whole.JUDGED,
    crowds=scale.SHORT,
    rounds=1,
    few=1,
    draws=1,
    bursts=1,
    requests=200,
    seconds=0.5,
    parts=50,
    pairs=50_000,
    steps=500,
    profiled=4_000,
)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--short", is_flag=True, help="A look instead of a measurement: less than a minute.")
@click.option("--judge", is_flag=True, help="Exit with 1 if an aim is missed.")
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Another checkout, whose gateway is measured in the same rounds.",
)
def main(*, parts: tuple[str, ...], short: bool, judge: bool, beside: Path | None) -> None:
    """Measure PARTS (default: all) of the gateway beside what they are compared with.

    The full form of all parts takes a quarter of an hour, and writes table and plot into tests/bench/results/ and the
    summary into the README.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    size = SHORT if short else FULL
    before = Spent.now()
    with TemporaryDirectory(prefix="bench-") as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(_run(console, Path(name), parts or PARTS, size, beside))
    others = Others.between(before, Spent.now())
    console.print(str(others), style="green" if others.few else "bold red")
    if not (parts or short or beside):
        draw([headline for result in results for headline in result.headlines], report.PLOT)
        console.print(f"written: {report.write(results, 'make bench', others)}, {report.PLOT}, {report.README}")
    if judge and not all(aim.met for result in results for aim in result.aims):
        sys.exit(1)


async def _run(
    console: Console, directory: Path, parts: tuple[str, ...], size: Size, beside: Path | None
) -> list[Result]:
    console.print(report.versions())
    console.print()
    results = []
    async for result in _results(directory, parts, size, beside):
        report.show(console, result)
        results.append(result)
    return results


async def _results(directory: Path, parts: tuple[str, ...], size: Size, beside: Path | None) -> AsyncIterator[Result]:
    if set(parts) & set(PROCESSES):
        names = [name for name in size.systems if name != COMPILED or has_compiler()]
        async with stand(directory, names, beside=beside) as systems:
            async for result in _of_processes(systems, parts, size):
                yield result
    if "profile" in parts:
        yield await profile(directory, requests=size.profiled)
    if "limit" in parts:
        yield await limit.measure(directory, rounds=size.bursts)
    if "scale" in parts:
        yield await scale.measure(directory, numbers=size.crowds, rounds=size.few)
    if "limiter" in parts:
        yield limiter.measure(rounds=size.rounds, pairs=size.pairs)
        yield await queueing.measure(rounds=size.rounds, steps=size.steps)


async def _of_processes(systems: Stand, parts: tuple[str, ...], size: Size) -> AsyncIterator[Result]:
    if "gateway" in parts:
        yield await whole.measure(systems, cells=size.cells, rounds=size.draws, few=size.few, requests=size.requests)
    if "latency" in parts:
        yield await latency.measure(systems, rounds=size.draws, seconds=size.seconds, requests=size.requests)
    if "streams" in parts:
        yield await streaming.measure(systems, rounds=size.few, parts=size.parts)


if __name__ == "__main__":
    main(prog_name=COMMAND)
