"""Counts what happens at an endpoint, in one place: calls, work, and instance time."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.emulator.counters import Counters, InstanceCounters, PeriodCounters


@dataclass(slots=True, eq=False)
class Call:
    """One accepted call as the ledger follows it; only the ledger writes to it."""

    epoch: int
    instance: int = -1
    started_at: float = 0.0
    run_seconds: float | None = None
    abandoned: bool = False


@dataclass(slots=True)
class _Gauge:
    now: int = 0
    peak: int = 0

    def up(self) -> None:
        self.now += 1
        self.peak = max(self.peak, self.now)

    def down(self) -> None:
        self.now -= 1

    def reset(self) -> None:
        self.peak = self.now


@dataclass(slots=True)
class _Period:
    instances: int
    begun_at: float
    work: int
    running: int

    def counters(self, now: float) -> PeriodCounters:
        return PeriodCounters(self.instances, now - self.begun_at, self.work, self.running)


@dataclass(slots=True)
class _Totals:
    calls: int = 0
    answered: int = 0
    model_errors: int = 0
    timed_out: int = 0
    hung_up: int = 0
    throttled: int = 0
    faulted: int = 0
    asynchronous: int = 0
    no_capacity: int = 0
    busy: float = 0.0
    wasted: float = 0.0
    first_arrival: float | None = None
    last_finish: float | None = None
    by_instance: list[int] = field(default_factory=list)


class Ledger:
    """The counters of one endpoint; each method is one thing that happens in the life of a call.

    A reset sets totals to zero and peaks to what is the case. Calls that were open then stay in the gauges and in the
    container time from the reset on, but are in no total.
    """

    def __init__(self, *, instances: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._epoch = 0
        self._reset_at = self._moved_at = clock()
        self._open, self._work, self._running, self._backlog = _Gauge(), _Gauge(), _Gauge(), _Gauge()
        self._instances = [_Gauge() for _ in range(instances)]
        self._totals = _Totals(by_instance=[0] * instances)
        self._past: list[PeriodCounters] = []
        self._period = _Period(instances, self._reset_at, 0, 0)

    @property
    def instances(self) -> int:
        """How many instances there have been."""
        return len(self._instances)

    def joined(self) -> int:
        """There is an instance more; it is known by this number."""
        self._instances.append(_Gauge())
        self._totals.by_instance.append(0)
        self._begin_period(self._period.instances + 1)
        return len(self._instances) - 1

    def left(self, count: int) -> None:
        """So many instances get no more calls."""
        self._begin_period(self._period.instances - count)

    @property
    def open(self) -> int:
        """Calls whose caller is being served now."""
        return self._open.now

    def throttled(self) -> None:
        """A call was refused at the front."""
        self._totals.throttled += 1

    def faulted(self) -> None:
        """A fault on demand happens to a call."""
        self._totals.faulted += 1

    def arrived(self) -> Call:
        """A call was accepted at the front."""
        if self._totals.first_arrival is None:
            self._totals.first_arrival = self._clock()
        self._totals.calls += 1
        self._open.up()
        return Call(epoch=self._epoch)

    def queued(self) -> Call:
        """An asynchronous call was accepted into the backlog."""
        if self._totals.first_arrival is None:
            self._totals.first_arrival = self._clock()
        self._totals.asynchronous += 1
        self._backlog.up()
        return Call(epoch=self._epoch)

    def dequeued(self) -> None:
        """An asynchronous call has left the backlog, for the fleet or for good."""
        self._backlog.down()

    def given_up(self, call: Call) -> None:
        """Nobody waits any longer for what the container will say to an asynchronous call."""
        self._abandon(call)

    def handed_over(self, call: Call, instance: int) -> None:
        """The call was given to an instance, to run or to queue there."""
        call.instance = instance
        self._totals.by_instance[instance] += 1
        self._work.up()
        self._period.work = max(self._period.work, self._work.now)
        self._instances[instance].up()

    def started(self, call: Call) -> None:
        """The container has the call."""
        call.started_at = self._advance()
        self._running.up()
        self._period.running = max(self._period.running, self._running.now)

    def finished(self, call: Call) -> None:
        """The container is done with the call, however that went."""
        now = self._advance()
        self._running.down()
        self._work.down()
        self._instances[call.instance].down()
        self._totals.last_finish = now
        call.run_seconds = now - max(call.started_at, self._reset_at)
        if call.abandoned:
            self._totals.wasted += call.run_seconds

    def answered(self, call: Call) -> None:
        """The caller gets what the container said."""
        if self._closed(call):
            self._totals.answered += 1

    def model_error(self, call: Call) -> None:
        """The caller gets a 424 in place of what the container said."""
        if self._closed(call):
            self._totals.model_errors += 1

    def timed_out(self, call: Call) -> None:
        """The caller gets a 424 because the time limit has passed."""
        if self._closed(call):
            self._totals.timed_out += 1
        self._abandon(call)

    def hung_up(self, call: Call) -> None:
        """The caller has left."""
        if self._closed(call):
            self._totals.hung_up += 1
        self._abandon(call)

    def no_capacity(self, call: Call) -> None:
        """There was no instance for the call."""
        if self._closed(call):
            self._totals.no_capacity += 1

    def spoilt(self, call: Call) -> None:
        """The caller got a stream that a fault on demand has ended."""
        self._closed(call)
        self._abandon(call)

    def reset(self) -> None:
        """Start counting anew."""
        self._epoch += 1
        self._reset_at = self._advance()
        self._totals = _Totals(by_instance=[0] * len(self._instances))
        for gauge in (self._open, self._work, self._running, self._backlog, *self._instances):
            gauge.reset()
        self._begin_period(self._period.instances)
        self._past.clear()

    def counters(self) -> Counters:
        """What has been counted up to now."""
        self._advance()
        totals = self._totals
        return Counters(
            calls=totals.calls,
            open=self._open.now,
            peak_calls=self._open.peak,
            work=self._work.now,
            peak_work=self._work.peak,
            running=self._running.now,
            peak_running=self._running.peak,
            answered=totals.answered,
            model_errors=totals.model_errors,
            timed_out=totals.timed_out,
            hung_up=totals.hung_up,
            throttled=totals.throttled,
            faulted=totals.faulted,
            asynchronous=totals.asynchronous,
            no_capacity=totals.no_capacity,
            backlog=self._backlog.now,
            peak_backlog=self._backlog.peak,
            busy_instance_seconds=totals.busy,
            wasted_instance_seconds=totals.wasted,
            span_seconds=self._span(),
            instances=tuple(
                InstanceCounters(calls=calls, peak_work=gauge.peak)
                for calls, gauge in zip(totals.by_instance, self._instances, strict=True)
            ),
            periods=(*self._past, self._period.counters(self._moved_at)),
        )

    def _advance(self) -> float:
        now = self._clock()
        self._totals.busy += self._running.now * (now - self._moved_at)
        self._moved_at = now
        return now

    def _begin_period(self, instances: int) -> None:
        now = self._clock()
        self._past.append(self._period.counters(now))
        self._period = _Period(instances, now, self._work.now, self._running.now)

    def _closed(self, call: Call) -> bool:
        self._open.down()
        return call.epoch == self._epoch

    def _abandon(self, call: Call) -> None:
        call.abandoned = True
        if call.run_seconds is not None:
            self._totals.wasted += call.run_seconds

    def _span(self) -> float:
        first, last = self._totals.first_arrival, self._totals.last_finish
        return max(0.0, last - first) if first is not None and last is not None else 0.0
