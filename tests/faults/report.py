"""The table of faults with what was measured, for people."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from rich.table import Table
from rich.text import Text

from tests.faults.row import Outcome, Row
from tests.faults.table import ELSEWHERE, LAST


@dataclass(frozen=True)
class Played:
    """A row that was played.

    Attributes:
        row: the row.
        outcome: what came of it; what went wrong, where nothing came of it.
        seconds: how long it took.
    """

    row: Row
    outcome: Outcome | Exception
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether all is as the table says."""
        return self.outcome == self.row.expected


def report(results: Iterable[Played], numbers: Iterable[int] = range(1, LAST + 1)) -> Table:
    """The table of these numbers, in order."""
    table = Table("#", "scenario", "permit", "expected", "measured", "s", "ok", show_lines=True)
    table.columns[0].justify = table.columns[5].justify = "right"
    by_number = {number: list(cases) for number, cases in groupby(results, lambda played: played.row.number)}
    for number in numbers:
        for played in by_number.get(number, []):
            row = played.row
            table.add_row(
                str(number),
                row.scenario,
                row.permit.value,
                _words(row.expected),
                _words(played.outcome),
                f"{played.seconds:.2f}",
                _verdict(played),
            )
        if number in ELSEWHERE:
            table.add_row(str(number), f"see {', '.join(ELSEWHERE[number])}", "", "", "", "", "-", style="dim")
    return table


def _words(outcome: Outcome | Exception) -> Text:
    if isinstance(outcome, Exception):
        return Text(f"{type(outcome).__name__}: {outcome}", style="red")
    return Text("\n".join(line for line in outcome.lines() if line))


def _verdict(played: Played) -> Text:
    if played.holds:
        return Text("yes", style="green")
    return Text(f"NO: {played.row.defect}" if played.row.defect else "NO", style="bold red")
