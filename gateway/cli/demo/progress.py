"""What is shown while the demo runs, on standard error: a bar for each run on a terminal, lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.cli.demo.calling import Finished

Begin = Callable[[str, int], Finished]
"""Shows that a run begins, by title and number of calls; what it returns counts the finished ones."""


@contextmanager
def open_progress() -> Iterator[Begin]:
    """The progress of one run after the other."""
    stream = sys.stderr
    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        yield _begin_line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:

        def begin(title: str, calls: int) -> Finished:
            task = progress.add_task(title, total=calls)
            return lambda: progress.advance(task)

        yield begin


def _begin_line(title: str, calls: int) -> Finished:
    click.echo(f"{title}: {calls} calls", err=True)
    left = iter(range(calls - 1, -1, -1))

    def finished() -> None:
        if next(left) == 0:
            click.echo(f"{title}: all finished", err=True)

    return finished
