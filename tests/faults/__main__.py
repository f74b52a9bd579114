"""`python -m tests.faults`: play every row of the table, or those of some numbers, and print what was measured."""

import asyncio
import sys
from time import perf_counter

import click
import pytest
from rich.console import Console
from rich.progress import track

from tests.environment import own_environment
from tests.faults.report import Played, report
from tests.faults.row import Row
from tests.faults.table import FULL, LAST, ROWS

WIDTH = 180
"""Columns of the output where it goes to no terminal."""


@click.command()
@click.option("--full", is_flag=True, help="Row 30 with all of its 100,000 requests: about a minute.")
@click.argument("numbers", nargs=-1, type=click.IntRange(1, LAST))
def main(numbers: tuple[int, ...], *, full: bool) -> None:
    """Play the rows of these NUMBERS (default: all). Exit with 1 if one does not hold."""
    wanted = sorted(set(numbers)) or range(1, LAST + 1)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    with pytest.MonkeyPatch.context() as patch:
        own_environment(patch)
        rows = [FULL.get(row.number, row) for row in ROWS] if full else ROWS
        chosen = [row for row in rows if row.number in wanted]
        results = [played(row) for row in track(chosen, "playing", console=Console(stderr=True), transient=True)]
    console.print(report(results, wanted))
    broken = sorted({each.row.number for each in results if not each.holds})
    console.print(f"{len(results) - sum(not each.holds for each in results)} of {len(results)} cases hold", end="")
    console.print(f"; not so: {', '.join(map(str, broken))}" if broken else "")
    sys.exit(1 if broken else 0)


def played(row: Row) -> Played:
    """A row, played; whatever goes wrong is its outcome."""
    started = perf_counter()
    try:
        outcome = asyncio.run(row.play())
    except Exception as error:  # noqa: BLE001 - told in the report
        return Played(row, error, perf_counter() - started)
    return Played(row, outcome, perf_counter() - started)


if __name__ == "__main__":
    main()
