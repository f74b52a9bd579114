"""The table of faults: the rows that are played here, and where the others are shown."""

from collections.abc import Mapping
from types import MappingProxyType

from tests.faults import caller_rows, sagemaker_rows
from tests.faults.row import Row

LAST = 37

ROWS: tuple[Row, ...] = tuple(sorted((*sagemaker_rows.ROWS, *caller_rows.ROWS), key=lambda row: row.number))
"""All that are played, in order; a number may have several cases."""

CONFORMANCE = "see tests/test_conformance*.py, tests/test_listener.py"

ELSEWHERE: Mapping[int, str] = MappingProxyType(
    {
        **dict.fromkeys(range(19, 31), CONFORMANCE),
        33: "tests/test_overload.py",
        34: "tests/test_reload.py",
    }
)
"""The numbers that are not played here, and where they are shown."""


def rows(number: int) -> list[Row]:
    """The cases of a number."""
    return [row for row in ROWS if row.number == number]
