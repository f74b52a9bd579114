"""`python -m tests.soak`: run a soak, print what it found, and exit with 1 if a promise was broken."""

import asyncio
import secrets
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import uvloop
from rich.console import Console

from . import report
from .plan import Plan
from .soak import Settings, soak
from .verdicts import verdicts

COMMAND = "python -m tests.soak"
WIDTH = 150
"""Columns of the output where it goes to no terminal."""


@click.command()
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.05, max=120),
    default=3.0,
    show_default=True,
    help="How long callers come; half a minute more for what follows.",
)
@click.option("--seed", type=int, help="Where calls, faults and hang-ups come from; else one is drawn, and printed.")
def main(minutes: float, seed: int | None) -> None:
    """Keep a gateway at 1.2 times its capacity, among faults and hang-ups, and look whether it keeps its promises."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    plan = Plan(secrets.randbelow(1_000_000) if seed is None else seed, minutes * 60)
    report.show_plan(console, plan.seed, plan.seconds)
    with TemporaryDirectory(prefix="soak-") as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        facts = runner.run(soak(Path(name), Settings(plan)))
    found = verdicts(facts)
    report.show(console, facts, found)
    if not all(verdict.kept for verdict in found):
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name=COMMAND)
