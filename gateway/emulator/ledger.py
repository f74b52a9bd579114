"""Counts what happens at an endpoint and at each of its fleets: calls, work, and instance time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps

from gateway.emulator.counters import Counters, InstanceCounters, PeriodCounters
from gateway.emulator.figures import Gauge, Period, Totals


@dataclass(slots=True, eq=False)
class Call:
    """One accepted call as a ledger follows it, and as the ledger of the whole does; only ledgers write to it."""

    epoch: int
    whole: "Call | None" = None
    instance: int = -1
    started_at: float = 0.0
    run_seconds: float | None = None
    abandoned: bool = False


_Event = Callable[["Ledger", Call], None]


def _also_in_the_whole(event: _Event) -> _Event:
    """What happens to a call of a fleet happens to a call of its endpoint."""

    @wraps(event)
    def twice(ledger: "Ledger", call: Call) -> None:
        event(ledger, call)
        if ledger.whole is not None and call.whole is not None:
            event(ledger.whole, call.whole)

    return twice


class Ledger:
    """The counters of a fleet, or of all fleets of an endpoint; each method is one thing that happens to a call.

    A reset sets totals to zero and peaks to what is the case. Calls that were open then stay in the gauges and in the
    container time from the reset on, but are in no total.

    Args:
        instances: How many there are at the start.
        clock: Seconds, monotonic.
        whole: The ledger of the endpoint, where all that is counted here is counted too.
        first: The number that the first of the instances has there; the others follow.
    """

    def __init__(
        self, *, instances: int, clock: Callable[[], float], whole: "Ledger | None" = None, first: int = 0
    ) -> None:
        self.whole = whole
        self._numbers = list(range(first, first + instances))
        self._clock = clock
        self._epoch = 0
        self._reset_at = self._moved_at = clock()
        self._open, self._work, self._running, self._backlog = Gauge(), Gauge(), Gauge(), Gauge()
        self._instances = [Gauge() for _ in range(instances)]
        self._totals = Totals(by_instance=[0] * instances)
        self._past: list[PeriodCounters] = []
        self._period = Period(instances, self._reset_at, 0, 0)

    @property
    def instances(self) -> int:
        """How many instances there have been."""
        return len(self._instances)

    def joined(self) -> int:
        """There is an instance more; it is known by this number."""
        if self.whole is not None:
            self._numbers.append(self.whole.joined())
        self._instances.append(Gauge())
        self._totals.by_instance.append(0)
        self._begin_period(self._period.instances + 1)
        return len(self._instances) - 1

    def left(self, count: int) -> None:
        """So many instances get no more calls."""
        if self.whole is not None:
            self.whole.left(count)
        self._begin_period(self._period.instances - count)

    @property
    def open(self) -> int:
        """Calls whose caller is being served now."""
        return self._open.now

    def throttled(self) -> None:
        """A call was refused at the front."""
        if self.whole is not None:
            self.whole.throttled()
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
        return Call(self._epoch, None if self.whole is None else self.whole.arrived())

    def queued(self) -> Call:
        """An asynchronous call was accepted into the backlog."""
        if self._totals.first_arrival is None:
            self._totals.first_arrival = self._clock()
        self._totals.asynchronous += 1
        self._backlog.up()
        return Call(self._epoch, None if self.whole is None else self.whole.queued())

    def dequeued(self) -> None:
        """An asynchronous call has left the backlog, for the fleet or for good."""
        if self.whole is not None:
            self.whole.dequeued()
        self._backlog.down()

    @_also_in_the_whole
    def given_up(self, call: Call) -> None:
        """Nobody waits any longer for what the container will say to an asynchronous call."""
        self._abandon(call)

    def handed_over(self, call: Call, instance: int) -> None:
        """The call was given to an instance, to run or to queue there."""
        if self.whole is not None and call.whole is not None:
            self.whole.handed_over(call.whole, self._numbers[instance])
        call.instance = instance
        self._totals.by_instance[instance] += 1
        self._work.up()
        self._period.work = max(self._period.work, self._work.now)
        self._instances[instance].up()

    @_also_in_the_whole
    def in_session(self, call: Call) -> None:
        """The call goes to the instance of its session, and to no other."""
        if call.epoch == self._epoch:
            self._totals.in_session += 1

    @_also_in_the_whole
    def started(self, call: Call) -> None:
        """The container has the call."""
        call.started_at = self._advance()
        self._running.up()
        self._period.running = max(self._period.running, self._running.now)

    @_also_in_the_whole
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

    @_also_in_the_whole
    def answered(self, call: Call) -> None:
        """The caller gets what the container said."""
        if self._closed(call):
            self._totals.answered += 1

    @_also_in_the_whole
    def model_error(self, call: Call) -> None:
        """The caller gets a 424 in place of what the container said."""
        if self._closed(call):
            self._totals.model_errors += 1

    @_also_in_the_whole
    def timed_out(self, call: Call) -> None:
        """The caller gets a 424 because the time limit has passed."""
        if self._closed(call):
            self._totals.timed_out += 1
        self._abandon(call)

    @_also_in_the_whole
    def hung_up(self, call: Call) -> None:
        """The caller has left."""
        if self._closed(call):
            self._totals.hung_up += 1
        self._abandon(call)

    @_also_in_the_whole
    def no_capacity(self, call: Call) -> None:
        """There was no instance for the call."""
        if self._closed(call):
            self._totals.no_capacity += 1

    @_also_in_the_whole
    def spoilt(self, call: Call) -> None:
        """The caller got a stream that a fault on demand has ended."""
        self._closed(call)
        self._abandon(call)

    def reset(self) -> None:
        """Start counting anew."""
        self._epoch += 1
        self._reset_at = self._advance()
        self._totals = Totals(by_instance=[0] * len(self._instances))
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
            in_session=totals.in_session,
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
        self._period = Period(instances, now, self._work.now, self._running.now)

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


def open_ledgers(endpoint: str, fleets: Mapping[str, int], clock: Callable[[], float]) -> dict[str, Ledger]:
    """The ledgers of an endpoint and of its fleets, by name, each fleet of so many instances.

    A fleet that has the endpoint's own name is all that there is, and is counted once.
    """
    if endpoint in fleets:
        return {endpoint: Ledger(instances=fleets[endpoint], clock=clock)}
    whole = Ledger(instances=sum(fleets.values()), clock=clock)
    ledgers, first = {endpoint: whole}, 0
    for name, instances in fleets.items():
        ledgers[name] = Ledger(instances=instances, clock=clock, whole=whole, first=first)
        first += instances
    return ledgers
