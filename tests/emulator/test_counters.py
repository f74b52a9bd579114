"""The ledger counts what happened, in numbers that can be checked by hand."""

from gateway.emulator.ledger import Ledger, open_ledgers


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time it was moved to."""
        return self.now


def test_a_call_is_counted_from_its_arrival_to_the_end_of_its_work() -> None:
    """One call: open while it is served, work while the fleet has it, busy for as long as it ran."""
    clock = Clock()
    ledger = Ledger(instances=2, clock=clock)
    call = ledger.arrived()
    ledger.handed_over(call, 1)
    clock.now += 1
    ledger.started(call)
    clock.now += 2
    assert ledger.counters().busy_instance_seconds == 2
    assert (ledger.counters().open, ledger.counters().work, ledger.counters().running) == (1, 1, 1)
    ledger.finished(call)
    ledger.answered(call)
    seen = ledger.counters()
    assert (seen.calls, seen.answered, seen.open, seen.work, seen.running) == (1, 1, 0, 0, 0)
    assert (seen.peak_calls, seen.peak_work, seen.peak_running) == (1, 1, 1)
    assert (seen.busy_instance_seconds, seen.wasted_instance_seconds, seen.span_seconds) == (2, 0, 3)
    assert [(each.calls, each.peak_work) for each in seen.instances] == [(0, 0), (1, 1)]


def test_work_whose_caller_has_left_is_waste_whichever_ends_first() -> None:
    """Container time is wasted when the caller left before the end of the work, and also when it left just after."""
    clock = Clock()
    ledger = Ledger(instances=1, clock=clock)
    before, after = ledger.arrived(), ledger.arrived()
    for call in (before, after):
        ledger.handed_over(call, 0)
        ledger.started(call)
    ledger.hung_up(before)
    clock.now += 3
    ledger.finished(before)
    ledger.finished(after)
    assert ledger.counters().wasted_instance_seconds == 3
    ledger.timed_out(after)
    seen = ledger.counters()
    assert (seen.wasted_instance_seconds, seen.busy_instance_seconds) == (6, 6)
    assert (seen.hung_up, seen.timed_out, seen.answered) == (1, 1, 0)


def test_a_reset_keeps_what_is_the_case_and_forgets_what_was() -> None:
    """Calls that are open at a reset stay in the gauges and in the container time, and are in no total afterwards."""
    clock = Clock()
    ledger = Ledger(instances=1, clock=clock)
    calls = [ledger.arrived() for _ in range(3)]
    for call in calls[:2]:
        ledger.handed_over(call, 0)
        ledger.started(call)
    clock.now += 5
    ledger.model_error(calls[2])
    ledger.throttled()
    ledger.reset()
    seen = ledger.counters()
    assert (seen.calls, seen.model_errors, seen.throttled, seen.busy_instance_seconds) == (0, 0, 0, 0)
    assert (seen.open, seen.peak_calls, seen.peak_work, seen.peak_running) == (2, 2, 2, 2)
    clock.now += 1
    for call in calls[:2]:
        ledger.finished(call)
        ledger.hung_up(call)
    seen = ledger.counters()
    assert (seen.hung_up, seen.open, seen.busy_instance_seconds, seen.wasted_instance_seconds) == (0, 0, 2, 2)
    assert seen.span_seconds == 0


def test_what_happens_at_a_fleet_happens_at_its_endpoint() -> None:
    """Each fleet has peaks of its own, and the endpoint the peak of all together; instances are numbered in order."""
    clock = Clock()
    ledgers = open_ledgers("ep", {"ep/blue": 1, "ep/green": 2}, clock)
    blue, green = ledgers["ep/blue"], ledgers["ep/green"]
    one, two, three = blue.arrived(), green.arrived(), green.arrived()
    for ledger, call in ((blue, one), (green, two)):
        ledger.handed_over(call, 0)
        ledger.started(call)
    clock.now += 2
    blue.finished(one)
    blue.answered(one)
    green.hung_up(two)
    green.finished(two)
    green.no_capacity(three)
    blue.throttled()
    assert blue.joined() == 1
    green.left(2)
    whole, seen = ledgers["ep"].counters(), green.counters()
    assert (whole.calls, whole.answered, whole.hung_up, whole.no_capacity, whole.throttled) == (3, 1, 1, 1, 1)
    assert (whole.open, whole.work, whole.peak_calls, whole.peak_work, whole.peak_running) == (0, 0, 3, 2, 2)
    assert (seen.calls, seen.answered, seen.peak_work, seen.throttled, seen.no_capacity) == (2, 0, 1, 0, 1)
    assert (whole.busy_instance_seconds, whole.wasted_instance_seconds, seen.wasted_instance_seconds) == (4, 2, 2)
    assert [each.calls for each in whole.instances] == [1, 1, 0, 0]
    assert [each.instances for each in whole.periods] == [3, 4, 2]
    assert [each.instances for each in seen.periods] == [2, 0]
    four = blue.arrived()
    blue.handed_over(four, 1)
    assert [each.calls for each in ledgers["ep"].counters().instances] == [1, 1, 0, 1]


def test_an_endpoint_that_is_one_fleet_is_counted_once() -> None:
    """Its ledger is that of the fleet."""
    assert list(open_ledgers("ep", {"ep": 2}, Clock())) == ["ep"]
