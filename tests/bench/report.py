"""What was found, for people: on the terminal, and as Markdown."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from .figures import Aim, Result, Table

PACKAGES = ("aiohttp", "aiobotocore", "botocore", "uvloop")
RESULTS = Path(__file__).parent / "results" / "RESULTS.md"


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


def write(results: Sequence[Result], command: str) -> Path:
    """Write the Markdown file, without dates: what it says follows from versions and machine.

    Args:
        results: what was found.
        command: how to find it again.
    """
    lines = ["# Bench", "", f"Made by `{command}` with {versions()}.", ""]
    lines += ["Each figure is a median, with the least and the most in brackets. Ratios are what is judged.", ""]
    for result in results:
        for table in result.tables:
            lines += _markdown(table)
        lines += [*(f"- {_verdict(aim)}" for aim in result.aims), ""]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return RESULTS


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
