"""How a figure grows with the number of what there is: not at all, or in proportion. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .figures import Figure, ratio

FLAT = 1.5
"""What is per head may be so many times more for the most than for the fewest, and still be called flat."""


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity at several numbers.

    Attributes:
        what: its name, with the unit.
        points: what was measured, by the number.
        per_head: whether it is so much for each; else it is so much for all.
        form: how a value is written.
    """

    what: str
    points: Mapping[int, Figure]
    per_head: bool = True
    form: str = ".1f"

    def growth(self) -> Figure:
        """How many times more it is for the most than for the fewest."""
        numbers = sorted(self.points)
        return ratio(self.points[numbers[-1]], self.points[numbers[0]])

    def verdict(self) -> str:
        """Flat, or linear with what each one more adds, or worse."""
        numbers = sorted(self.points)
        if self.per_head:
            times = self.growth().median
            return f"{'flat' if times <= FLAT else 'grows'}, ×{times:.2f}"  # noqa: RUF001
        first, last = numbers[0], numbers[-1]
        each = (self.points[last].median - self.points[first].median) / (last - first)
        if self.growth().median <= FLAT:
            return f"flat, ×{self.growth().median:.2f}"  # noqa: RUF001
        return f"{'linear' if self._straight() else 'worse than linear'}, {each:.3g} each"

    def _straight(self) -> bool:
        """Whether the last stretch is not much steeper than the one before it."""
        numbers = sorted(self.points)
        if len(numbers) < 3:
            return True
        *_, one, two, three = numbers
        before = (self.points[two].median - self.points[one].median) / (two - one)
        after = (self.points[three].median - self.points[two].median) / (three - two)
        return after <= 2 * before

    def row(self) -> Sequence[str]:
        """For a table whose columns are the numbers."""
        return (self.what, *(self.points[n].text(self.form) for n in sorted(self.points)), self.verdict())
