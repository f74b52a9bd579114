"""Who runs beside the bench is noticed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from .others import Others, Spent

STAT = "cpu  {} 0 {} {} 0 0 0 {} 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"


def test_that_what_is_spent_is_read_from_the_kernel(tmp_path: Path) -> None:
    """All cores together, in hundredths of a second, idle ones and the host's share included."""
    stat = tmp_path / "stat"
    stat.write_text(STAT.format(200, 100, 700, 50))
    spent = Spent.now(stat)

    assert (spent.all, spent.busy, spent.stolen) == (10.5, 3.0, 0.5)


@pytest.mark.parametrize(
    ("after", "shown", "few"),
    [
        (Spent(200, 60, 2, 55), "took 5.0% of the CPU, and the host kept 2.0%.", True),
        (Spent(200, 60, 0, 20), "took 40.0% of the CPU, and the host kept 0.0%: too much for", False),
        (Spent(200, 60, 20, 60), "took 0.0% of the CPU, and the host kept 20.0%: too much for", False),
        (Spent(200, 60, 0, 61), "took 0.0% of the CPU, and the host kept 0.0%.", True),  # ticks are coarse
    ],
    ids=["few", "here", "host", "none"],
)
def test_that_others_are_told(after: Spent, shown: str, few: bool) -> None:  # noqa: FBT001
    """As shares of what there was meanwhile, and whether figures beside them count."""
    others = Others.between(Spent(100, 0, 0, 0), after)

    assert others.few == few
    assert shown in str(others)


def test_that_ended_children_are_no_others() -> None:
    """What this process has others do is its own."""
    before, began = Spent.now(), time.monotonic()
    subprocess.run([sys.executable, "-c", "sum(range(30_000_000))"], check=True)
    after = Spent.now()

    assert 0.05 < after.own - before.own < 2 * (time.monotonic() - began) + 1
    assert after.all > before.all
