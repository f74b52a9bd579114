"""What was found, for people: on the terminal, and as Markdown."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from .figures import Aim, Result, Table
from .others import Others
from .processes import ROOT

PACKAGES = ("aiohttp", "aiobotocore", "botocore", "uvloop")
RESULTS = Path(__file__).parent / "results" / "RESULTS.md"
PLOT = RESULTS.with_name("bench.svg")
README = ROOT / "README.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
"""Between these lines the README has the summary."""


def versions() -> str:
    """What the figures were made with."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{platform.python_implementation()} {platform.python_version()}, {packages}"


def show(console: Console, result: Result) -> None:
    """Print tables and aims."""
    for table in result.tables:
        show_table(console, table)
    for aim in result.aims:
        console.print(_verdict(aim), style="green" if aim.met else "bold red")
    console.print()


def show_table(console: Console, table: Table) -> None:
    """Print one table."""
    rich = RichTable(title=table.title, caption=table.note, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    rich.caption_justify = "left"
    for index, column in enumerate(table.columns):
        rich.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in table.rows:
        rich.add_row(*row)
    console.print(rich)


def write(results: Sequence[Result], command: str, others: Others) -> Path:
    """Write the Markdown file, without dates: what it says follows from versions and machine.

    The summary at its beginning goes into the README, too.

    Args:
        results: what was found.
        command: how to find it again.
        others: what else ran on the machine.
    """
    short = summary(results, command)
    lines = ["# Bench", "", *short, "", f"![Headlines]({PLOT.name})", ""]
    lines += [f"Made with {versions()}, on {os.cpu_count()} cores. {others}", ""]
    lines += ["Each figure is a median, with the least and the most in brackets. Ratios are what is judged.", ""]
    for result in results:
        for table in result.tables:
            lines += _markdown(table)
        lines += [*(f"- {_verdict(aim)}" for aim in result.aims), ""]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text("\n".join((before + BEGIN, *short, END + after)), encoding="utf-8")
    return RESULTS


def summary(results: Sequence[Result], command: str) -> list[str]:
    """The headlines as a table of medians with a column for each system, and their aims.

    Args:
        results: what was found.
        command: how to find it again.
    """
    headlines = [headline for result in results for headline in result.headlines]
    systems = list(dict.fromkeys(name for headline in headlines for name in headline.values))
    rows = [("", *systems)]
    for headline in headlines:
        cells = (headline.values.get(name) for name in systems)
        written = ("" if cell is None else format(cell.median, headline.form) for cell in cells)
        rows.append((headline.title, *written))
    rule = ["---", *("---:" for _ in systems)]
    table = [f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])]
    aims = [f"- {_verdict(aim)}" for result in results if result.headlines for aim in result.aims]
    return [f"Medians of one run of `{command}`:", "", *table, "", *aims]


def _verdict(aim: Aim) -> str:
    return f"{'aim met' if aim.met else 'aim missed'}: {aim.what}: {aim.figure.median:.2f}, aimed at {aim.most:.2f}"


def _markdown(table: Table) -> list[str]:
    line = "|{}|".format
    return [
        f"## {table.title}",
        "",
        line("|".join(f" {column} " for column in table.columns)),
        line("|".join("---:" if index else "---" for index in range(len(table.columns)))),
        *(line("|".join(f" {cell} " for cell in row)) for row in table.rows),
        "",
        table.note,
        "",
    ]
