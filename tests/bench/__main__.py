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

from . import limiter, queueing, report, whole
from .figures import Result
from .profiling import profile

PARTS = ("limiter", "gateway")
COMMAND = "python -m tests.bench"
WIDTH = 150
"""Columns of the output where it goes to no terminal."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long everything takes.

    Attributes:
        rounds: rounds that count.
        pairs: permits taken and given back per round.
        steps: operations on a standing queue per round.
        requests: requests per system, body size and round.
        profiled: requests under the profiler.
    """

    rounds: int
    pairs: int
    steps: int
    requests: int
    profiled: int


FULL = Size(rounds=9, pairs=200_000, steps=5_000, requests=2_000, profiled=20_000)
SHORT = Size(rounds=3, pairs=50_000, steps=1_000, requests=500, profiled=4_000)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--short", is_flag=True, help="A look instead of a measurement: less than 20 s.")
@click.option("--judge", is_flag=True, help="Exit with 1 if an aim is missed.")
@click.option("--profile", "profiled", is_flag=True, help="Instead, show where the gateway's CPU time goes.")
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Another checkout, whose gateway is measured in the same rounds.",
)
def main(*, parts: tuple[str, ...], short: bool, judge: bool, profiled: bool, beside: Path | None) -> None:
    """Measure PARTS (default: all) of the gateway beside what they are compared with.

    The full form of all parts also writes tests/bench/results/RESULTS.md.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    size = SHORT if short else FULL
    with TemporaryDirectory(prefix="bench-") as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if profiled:
            for table in runner.run(profile(Path(name), requests=size.profiled)):
                report.show_table(console, table)
            return
        results = runner.run(_run(console, Path(name), parts or PARTS, size, beside))
    if not (parts or short or beside):
        console.print(f"written: {report.write(results, COMMAND)}")
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
    if "limiter" in parts:
        yield limiter.measure(rounds=size.rounds, pairs=size.pairs)
        yield await queueing.measure(rounds=size.rounds, steps=size.steps)
    if "gateway" in parts:
        yield await whole.measure(directory, rounds=size.rounds, requests=size.requests, beside=beside)


if __name__ == "__main__":
    main(prog_name=COMMAND)
