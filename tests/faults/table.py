"""The table of faults: the rows that are played here, and where the others are shown."""

from collections.abc import Mapping
from types import MappingProxyType

from tests.faults import caller_rows, made_up, sagemaker_rows
from tests.faults.row import Row

LAST = 37

ROWS: tuple[Row, ...] = tuple(
    sorted((*sagemaker_rows.ROWS, *caller_rows.ROWS, made_up.row(made_up.SOME)), key=lambda row: row.number)
)
"""All that are played, in order; a number may have several cases."""

FULL: Mapping[int, Row] = MappingProxyType({30: made_up.row(made_up.ALL)})
"""Rows in as full a form as the table has them, where that takes long."""

BODIES, PARSER = "test_conformance_bodies.py", "test_conformance.py"

ELSEWHERE: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        19: ("test_listener.py",),
        20: (BODIES,),
        21: ("test_listener.py", "test_crowds.py"),
        22: (BODIES,),
        23: (BODIES,),
        24: (BODIES,),
        25: (PARSER, BODIES, "test_pipelines.py"),
        26: (PARSER,),
        27: ("test_pipelines.py",),
        28: (PARSER,),
        29: (PARSER,),
        33: ("test_overload.py",),
        34: ("test_reload.py", "cli/test_serve.py"),
    }
)
"""The numbers that are not played here, and the modules of tests in which they are shown."""


def rows(number: int) -> list[Row]:
    """The cases of a number."""
    return [row for row in ROWS if row.number == number]
