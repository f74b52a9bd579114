"""Figures: the median of several rounds with its spread, and aims that are met or missed. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured once per round.

    Attributes:
        rounds: what each round gave, in order.
    """

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """What is reported."""
        return median(self.rounds)

    def text(self, form: str = ".0f", unit: str = "") -> str:
        """The median, and the least and most in brackets."""
        middle, low, high = (format(value, form) for value in (self.median, min(self.rounds), max(self.rounds)))
        return f"{middle}{unit} ({low}–{high})"  # noqa: RUF001 - a range is written with a dash


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least of some values, in ascending order, that such a share of them does not exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def difference(whole: Figure, part: Figure) -> Figure:
    """Round by round."""
    return Figure(tuple(a - b for a, b in zip(whole.rounds, part.rounds, strict=True)))


def ratio(over: Figure, under: Figure) -> Figure:
    """Round by round, so that a machine that is slow for a while is slow on both sides."""
    return Figure(tuple(a / b for a, b in zip(over.rounds, under.rounds, strict=True)))


@dataclass(frozen=True, slots=True)
class Aim:
    """A ratio that should not be exceeded.

    Attributes:
        what: what is compared with what.
        figure: what came out; its median counts.
        most: where the aim is.
    """

    what: str
    figure: Figure
    most: float

    @property
    def met(self) -> bool:
        """Whether the median is within the aim."""
        return self.figure.median <= self.most


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people.

    Attributes:
        title: what was measured.
        columns: their headings; the first is text, the others are figures.
        rows: the cells.
        note: what one has to know to read it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str


@dataclass(frozen=True, slots=True)
class Headline:
    """One quantity of all systems, for the summary and the plot.

    Attributes:
        title: what it is, with its unit.
        values: what came out, by system.
        form: how a value is written.
        drawn: whether the plot has it, and not the summary only.
    """

    title: str
    values: Mapping[str, Figure]
    form: str = ",.0f"
    drawn: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What one part of the bench found."""

    tables: tuple[Table, ...]
    aims: tuple[Aim, ...]
    headlines: tuple[Headline, ...] = ()


def interleave(rounds: int, subjects: Sequence[Callable[[], float]]) -> list[Figure]:
    """Measure each subject once per round, in turns; every other round goes backwards, so that nobody is always first.

    Args:
        rounds: how many rounds count; one more is run before them, for warmth.
        subjects: each measures itself once.
    """
    values: list[list[float]] = [[] for _ in subjects]
    for number in range(rounds + 1):
        order = list(enumerate(subjects))
        for index, subject in order if number % 2 else reversed(order):
            value = subject()
            if number:
                values[index].append(value)
    return [Figure(tuple(each)) for each in values]
