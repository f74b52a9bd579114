"""What is shown at the end: a table for each scene and a sentence on what was seen, all of it from the runs."""

import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gateway.cli.demo.measuring import Run

PIPE_WIDTH = 80
"""Columns of the output where it goes to no terminal."""

COLUMNS = (
    "wall\ntime",
    "physical\nlimit",
    "times\nlimit",
    "peak at\nfleet",
    "calls\nanswered",
    "instance\ntime\nwasted",
)

INCOMPARABLE = "-"
"""In place of a ratio to the limit where calls failed: they took no time of the fleet that helped anybody."""


def print_report(scenes: Sequence[Sequence[Run]]) -> None:
    """Print the runs of each scene to standard output."""
    out = sys.stdout
    console = Console(file=out, width=None if out.isatty() else PIPE_WIDTH, markup=False, highlight=False, emoji=False)
    for number, runs in enumerate(scenes, start=1):
        console.print(f"\nScene {number}: {runs[0].scene.title}", style="bold")
        console.print(table(runs))
        console.print(sentence(runs))


def table(runs: Sequence[Run]) -> Table:
    """The runs of a scene, a row each."""
    found = Table(box=SIMPLE_HEAD, pad_edge=False)
    found.add_column("way of calling")
    for column in COLUMNS:
        found.add_column(column, justify="right")
    for run in runs:
        found.add_row(run.way.title, *_cells(run))
    if any(run.ratio is None for run in runs):
        found.caption = f"{INCOMPARABLE} calls failed: their end is not the end of the work"
        found.caption_justify = "left"
    return found


def sentence(runs: Sequence[Run]) -> str:
    """What was seen in a scene: the times, or where calls failed the losses."""
    if any(run.failures for run in runs):
        return _sentence(_losses(run) for run in runs)
    limit = f"physical limit: {runs[0].scene.physical_seconds:.2f} s"
    return _sentence([limit, *(_time(run) for run in runs)])


def _sentence(clauses: Iterable[str]) -> str:
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def _cells(run: Run) -> tuple[str, ...]:
    return (
        f"{run.outcome.wall_seconds:.2f} s",
        f"{run.scene.physical_seconds:.2f} s",
        INCOMPARABLE if run.ratio is None else f"{run.ratio:.2f}",
        str(run.counters.peak_work),
        f"{run.succeeded} of {run.scene.calls}",
        f"{run.counters.wasted_instance_seconds:.2f} s",
    )


def _time(run: Run) -> str:
    return f"{run.way.title}: {run.outcome.wall_seconds:.2f} s with at most {run.counters.peak_work} at the fleet"


def _losses(run: Run) -> str:
    counters = run.counters
    wasted, busy = counters.wasted_instance_seconds, counters.busy_instance_seconds
    share = wasted / busy if busy else 0.0
    failed = [f"{count} failed with status {status}" for status, count in sorted(run.failures.items())]
    answered = f"{run.succeeded} of {run.scene.calls} calls answered"
    waste = f"{wasted:.2f} s of {busy:.2f} s instance time wasted ({share:.0%})"
    return f"{run.way.title}: {', '.join([answered, *failed, waste])}"
