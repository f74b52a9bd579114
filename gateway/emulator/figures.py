"""The figures that a ledger keeps up to date: gauges with their peaks, periods, totals."""

from dataclasses import dataclass, field

from gateway.emulator.counters import PeriodCounters


@dataclass(slots=True)
class Gauge:
    """How many there are now, and the most there were at once."""

    now: int = 0
    peak: int = 0

    def up(self) -> None:
        """One more."""
        self.now += 1
        self.peak = max(self.peak, self.now)

    def down(self) -> None:
        """One less."""
        self.now -= 1

    def reset(self) -> None:
        """Forget all but what is the case."""
        self.peak = self.now


@dataclass(slots=True)
class Period:
    """A time with the same number of instances; its begin in seconds of the ledger's clock."""

    instances: int
    begun_at: float
    work: int
    running: int

    def counters(self, now: float) -> PeriodCounters:
        """What it was up to now."""
        return PeriodCounters(self.instances, now - self.begun_at, self.work, self.running)


@dataclass(slots=True)
class Totals:
    """What is counted since the last reset; see `Counters`."""

    calls: int = 0
    answered: int = 0
    model_errors: int = 0
    timed_out: int = 0
    hung_up: int = 0
    throttled: int = 0
    faulted: int = 0
    asynchronous: int = 0
    no_capacity: int = 0
    in_session: int = 0
    busy: float = 0.0
    wasted: float = 0.0
    first_arrival: float | None = None
    last_finish: float | None = None
    by_instance: list[int] = field(default_factory=list)
