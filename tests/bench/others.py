"""What else ran on the machine while it was measured: beside much of it, a figure tells of that."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

STAT = Path("/proc/stat")
MOST = 0.05
"""With a greater share of the machine's CPU, others make the figures theirs."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds since the machine and this process began.

    Attributes:
        all: what there was, on all cores.
        busy: what was spent by anybody here.
        stolen: what the host has kept for others.
        own: what this process spent, and those that it has started and that have ended.
    """

    all: float
    busy: float
    stolen: float
    own: float

    @classmethod
    def now(cls, stat: Path = STAT) -> Self:
        """Until now: proc_stat(5) and times(2)."""
        user, nice, system, idle, iowait, irq, softirq, steal, *_ = (
            int(ticks) / _TICKS for ticks in stat.read_text().split("\n", 1)[0].split()[1:]
        )
        busy = user + nice + system + irq + softirq
        return cls(busy + idle + iowait + steal, busy, steal, sum(os.times()[:4]))


@dataclass(frozen=True, slots=True)
class Others:
    """What others had, as shares of all that there was.

    Attributes:
        here: other processes of this machine.
        host: what the host has kept.
    """

    here: float
    host: float

    @classmethod
    def between(cls, before: Spent, after: Spent) -> Self:
        """From one moment to another; whatever was started in between has ended."""
        there_was = after.all - before.all
        here = (after.busy - before.busy) - (after.own - before.own)
        return cls(max(0.0, here) / there_was, (after.stolen - before.stolen) / there_was)

    @property
    def few(self) -> bool:
        """Whether the figures are those of what was measured."""
        return self.here <= MOST and self.host <= MOST

    def __str__(self) -> str:
        """What to make of it."""
        shown = f"Meanwhile other processes took {self.here:.1%} of the CPU, and the host kept {self.host:.1%}"
        return f"{shown}." if self.few else f"{shown}: too much for these figures to be relied on."
