"""What really happened at an endpoint: calls, work, and instance time, counted in one place."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InstanceCounters:
    """One instance since the last reset: the calls it was given, and the most it held at once, queued or running."""

    calls: int
    peak_work: int


@dataclass(frozen=True, slots=True)
class Counters:
    """One endpoint since the last reset; all times in seconds.

    Attributes:
        calls: Calls accepted at the front.
        open: Calls whose caller is being served now.
        peak_calls: The most of those at once.
        work: Calls handed to the fleet and not finished by the container, whether or not anybody waits for them.
        peak_work: The most of those at once; above the capacity, calls have queued inside an instance.
        running: Calls in a container now.
        peak_running: The most of those at once.
        answered: Calls answered with what the container said.
        model_errors: Calls answered 424 because the container said no, or was lost.
        timed_out: Calls answered 424 because the time limit passed.
        hung_up: Calls whose caller left before the answer.
        throttled: Calls refused for `throttle_above`; they are not among `calls`.
        busy_instance_seconds: Container time spent, calls that run now included.
        wasted_instance_seconds: Container time spent on finished calls whose answer nobody received.
        span_seconds: From the first arrival to the last finished work.
        instances: The same by instance.
    """

    calls: int
    open: int
    peak_calls: int
    work: int
    peak_work: int
    running: int
    peak_running: int
    answered: int
    model_errors: int
    timed_out: int
    hung_up: int
    throttled: int
    busy_instance_seconds: float
    wasted_instance_seconds: float
    span_seconds: float
    instances: tuple[InstanceCounters, ...]


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
class _Totals:
    calls: int = 0
    answered: int = 0
    model_errors: int = 0
    timed_out: int = 0
    hung_up: int = 0
    throttled: int = 0
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
        self._open, self._work, self._running = _Gauge(), _Gauge(), _Gauge()
        self._instances = tuple(_Gauge() for _ in range(instances))
        self._totals = _Totals(by_instance=[0] * instances)

    @property
    def open(self) -> int:
        """Calls whose caller is being served now."""
        return self._open.now

    def throttled(self) -> None:
        """A call was refused at the front."""
        self._totals.throttled += 1

    def arrived(self) -> Call:
        """A call was accepted at the front."""
        if self._totals.first_arrival is None:
            self._totals.first_arrival = self._clock()
        self._totals.calls += 1
        self._open.up()
        return Call(epoch=self._epoch)

    def handed_over(self, call: Call, instance: int) -> None:
        """The call was given to an instance, to run or to queue there."""
        call.instance = instance
        self._totals.by_instance[instance] += 1
        self._work.up()
        self._instances[instance].up()

    def started(self, call: Call) -> None:
        """The container has the call."""
        call.started_at = self._advance()
        self._running.up()

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

    def reset(self) -> None:
        """Start counting anew."""
        self._epoch += 1
        self._reset_at = self._advance()
        self._totals = _Totals(by_instance=[0] * len(self._instances))
        for gauge in (self._open, self._work, self._running, *self._instances):
            gauge.reset()

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
            busy_instance_seconds=totals.busy,
            wasted_instance_seconds=totals.wasted,
            span_seconds=self._span(),
            instances=tuple(
                InstanceCounters(calls=calls, peak_work=gauge.peak)
                for calls, gauge in zip(totals.by_instance, self._instances, strict=True)
            ),
        )

    def _advance(self) -> float:
        now = self._clock()
        self._totals.busy += self._running.now * (now - self._moved_at)
        self._moved_at = now
        return now

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
