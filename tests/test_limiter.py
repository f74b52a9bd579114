"""The limiter: never over capacity, never idle while someone waits, first come, first served, nothing left behind."""

import gc
import weakref
from collections import deque
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from gateway.limiter import Limiter, Permit, PermitMisuseError, QueueFull
from gateway.models import Statistics

MAX_WAITING = 5


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """What the limiter takes for now."""
        return self.now


class Caller:
    """Somebody who waits, and who remembers what they were given."""

    def __init__(self) -> None:
        self.permit: Permit | None = None
        self.gone = False
        self.asked = 0

    def grant(self, permit: Permit) -> bool:
        """Take the permit, unless one has gone."""
        self.asked += 1
        if self.gone:
            return False
        self.permit = permit
        return True


def take(limiter: Limiter) -> Permit:
    """A permit that is there for the taking."""
    permit = limiter.acquire_nowait()
    assert permit is not None
    return permit


def queue_up(limiter: Limiter, count: int) -> list[Caller]:
    """So many callers at the end of the queue."""
    callers = [Caller() for _ in range(count)]
    for caller in callers:
        assert limiter.acquire_nowait() is None
        limiter.enqueue(caller)
    return callers


class LimiterModel(RuleBasedStateMachine):
    """Whatever happens in whatever order, the limiter is what a plain list of waiters and three counts say."""

    permits = Bundle("permits")
    """Permits that are out, each with the state that it should have."""

    @initialize(capacity=st.integers(0, 4))
    def open(self, capacity: int) -> None:
        """A limiter that nobody has asked yet."""
        self.clock = Clock()
        self.limiter = Limiter(capacity=capacity, max_waiting=MAX_WAITING, clock=self.clock)
        self.capacity = capacity
        self.waiting: deque[tuple[Caller, float]] = deque()
        self.running: set[Permit] = set()
        self.orphaned: set[Permit] = set()
        self.cooling: set[Permit] = set()
        self.arrived: list[Caller] = []

    def held(self) -> int:
        """Permits that are out."""
        return len(self.running) + len(self.orphaned) + len(self.cooling)

    def expect_grants(self) -> list[Permit]:
        """Let the model do what the limiter has just done: hand what is free to the first who are still there."""
        granted = []
        while self.waiting and self.held() < self.capacity:
            caller, _ = self.waiting.popleft()
            assert caller.asked == 1
            if caller.gone:
                assert caller.permit is None
            else:
                assert caller.permit is not None
                self.running.add(caller.permit)
                granted.append(caller.permit)
        assert [caller.asked for caller, _ in self.waiting] == [0] * len(self.waiting)
        return granted

    @rule(target=permits)
    def acquire(self) -> object:
        """A newcomer gets a permit exactly when there is room and nobody is before them; else they queue, if they may.

        Whoever gets nothing makes no permit.
        """
        permit = self.limiter.acquire_nowait()
        assert (permit is not None) == (self.held() < self.capacity and not self.waiting)
        if permit is not None:
            self.running.add(permit)
            return permit
        caller = Caller()
        if len(self.waiting) == MAX_WAITING:
            with pytest.raises(QueueFull):
                self.limiter.enqueue(caller)
        else:
            self.limiter.enqueue(caller)
            self.waiting.append((caller, self.clock.now))
            self.arrived.append(caller)
        return multiple()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A waiter may leave from anywhere in the queue, once."""
        place = data.draw(st.integers(0, len(self.waiting) - 1))
        caller, _ = self.waiting[place]
        del self.waiting[place]
        assert self.limiter.leave(caller) is True
        assert self.limiter.leave(caller) is False
        assert caller.asked == 0

    @precondition(lambda self: any(not caller.gone for caller, _ in self.waiting))
    @rule(data=st.data())
    def go_in_the_turn_of_the_grant(self, data: st.DataObject) -> None:
        """A waiter may have gone without having had the time to leave: it will decline."""
        data.draw(st.sampled_from([caller for caller, _ in self.waiting if not caller.gone])).gone = True

    @rule(data=st.data())
    def leave_too_late(self, data: st.DataObject) -> None:
        """Whoever is not in the queue, or not any more, cannot leave it."""
        waiting = {caller for caller, _ in self.waiting}
        caller = data.draw(st.sampled_from([*(caller for caller in self.arrived if caller not in waiting), Caller()]))
        assert self.limiter.leave(caller) is False

    @rule(target=permits, permit=consumes(permits))
    def release(self, permit: Permit) -> object:
        """A permit comes back, once, and what is free goes to the first in the queue in the same turn."""
        permit.release()
        for state in (self.running, self.orphaned, self.cooling):
            state.discard(permit)
        granted = self.expect_grants()
        for misuse in (permit.release, permit.orphan, permit.cool):
            with pytest.raises(PermitMisuseError):
                misuse()
        return multiple(*granted)

    @rule(permit=permits)
    def orphan(self, permit: Permit) -> None:
        """A running call may lose its caller, once; that frees nothing."""
        if permit in self.running:
            permit.orphan()
            self.running.remove(permit)
            self.orphaned.add(permit)
        else:
            with pytest.raises(PermitMisuseError):
                permit.orphan()

    @rule(permit=permits)
    def cool(self, permit: Permit) -> None:
        """A call may be given up, once; that frees nothing."""
        if permit in self.cooling:
            with pytest.raises(PermitMisuseError):
                permit.cool()
        else:
            permit.cool()
            self.running.discard(permit)
            self.orphaned.discard(permit)
            self.cooling.add(permit)

    @rule(target=permits, capacity=st.integers(0, 6))
    def resize(self, capacity: int) -> object:
        """The capacity changes: more of it admits waiters at once, less of it ends no call."""
        self.limiter.resize(capacity)
        self.capacity = capacity
        return multiple(*self.expect_grants())

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @invariant()
    def statistics_are_the_models(self) -> None:
        """The limiter says of itself what is so, and nobody waits while there is room."""
        assert self.limiter.statistics() == Statistics(
            capacity=self.capacity,
            running=len(self.running) + len(self.orphaned),
            orphaned=len(self.orphaned),
            cooling=len(self.cooling),
            waiting=len(self.waiting),
            oldest_waiter_seconds=self.clock.now - self.waiting[0][1] if self.waiting else 0.0,
        )
        assert self.limiter.waiting == len(self.waiting)
        assert not (self.waiting and self.held() < self.capacity)

    def teardown(self) -> None:
        """When all have been served and all has been given back, nothing is left."""
        self.limiter.resize(1_000)
        self.capacity = 1_000
        self.expect_grants()
        for permit in self.running | self.orphaned | self.cooling:
            permit.release()
        assert self.limiter.statistics() == Statistics(1_000, 0, 0, 0, 0, 0.0)


LimiterModel.TestCase.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
TestLimiterModel = LimiterModel.TestCase


def test_permits_end_where_capacity_ends() -> None:
    """As many permits as capacity are out at once, not one more."""
    limiter = Limiter(capacity=2, max_waiting=0)
    assert [limiter.acquire_nowait() is not None for _ in range(3)] == [True, True, False]


def test_a_freed_permit_goes_to_the_first_waiter_before_release_returns() -> None:
    """The first waiter has the permit in the same turn, and the second waits on."""
    limiter = Limiter(capacity=1, max_waiting=9)
    permit = take(limiter)
    first, second = queue_up(limiter, 2)
    permit.release()
    assert (first.permit is not None, second.permit is not None) == (True, False)


def test_nobody_overtakes_the_queue() -> None:
    """A newcomer gets no permit that was freed for somebody who waits."""
    limiter = Limiter(capacity=1, max_waiting=9)
    permit = take(limiter)
    (waiter,) = queue_up(limiter, 1)
    permit.release()
    assert (limiter.acquire_nowait(), waiter.asked) == (None, 1)


def test_a_waiter_who_left_in_the_turn_of_the_grant_is_passed_over() -> None:
    """The permit goes to the next who is still there; none is lost."""
    limiter = Limiter(capacity=1, max_waiting=9)
    permit = take(limiter)
    callers = queue_up(limiter, 3)
    callers[0].gone = callers[1].gone = True
    permit.release()
    assert [caller.permit is not None for caller in callers] == [False, False, True]
    assert limiter.statistics().running == 1


def test_a_permit_that_nobody_takes_is_free_again() -> None:
    """When all who waited have gone, the next newcomer gets the permit."""
    limiter = Limiter(capacity=1, max_waiting=9)
    permit = take(limiter)
    for caller in queue_up(limiter, 3):
        caller.gone = True
    permit.release()
    assert limiter.statistics() == Statistics(1, 0, 0, 0, 0, 0.0)
    take(limiter).release()


def test_the_queue_is_bounded() -> None:
    """One more than may wait is refused, and a place that is left can be taken."""
    limiter = Limiter(capacity=0, max_waiting=2)
    first, _ = queue_up(limiter, 2)
    with pytest.raises(QueueFull):
        limiter.enqueue(Caller())
    limiter.leave(first)
    queue_up(limiter, 1)
    assert limiter.waiting == 2


def test_a_lower_capacity_ends_no_call_and_admits_none_until_it_fits() -> None:
    """From 4 running to capacity 2: two calls have to end before the third end admits a waiter."""
    limiter = Limiter(capacity=4, max_waiting=9)
    permits = [take(limiter) for _ in range(4)]
    (waiter,) = queue_up(limiter, 1)
    limiter.resize(2)
    assert limiter.statistics().running == 4
    asked = []
    for permit in permits[:3]:
        permit.release()
        asked.append(waiter.asked)
    assert asked == [0, 0, 1]


def test_a_higher_capacity_admits_as_many_as_fit_in_order() -> None:
    """Three more permits go to the first three of five."""
    limiter = Limiter(capacity=0, max_waiting=9)
    callers = queue_up(limiter, 5)
    limiter.resize(3)
    assert [caller.permit is not None for caller in callers] == [True, True, True, False, False]


def test_a_capacity_below_zero_is_refused() -> None:
    """A negative capacity is a mistake, and changes nothing."""
    limiter = Limiter(capacity=1, max_waiting=9)
    with pytest.raises(ValueError, match="not -1"):
        limiter.resize(-1)
    assert limiter.statistics().capacity == 1


def test_orphans_and_cooling_permits_keep_their_room() -> None:
    """Neither a caller that hangs up nor a call that is given up makes room for another call."""
    limiter = Limiter(capacity=2, max_waiting=9, clock=Clock())
    orphan, cooling = take(limiter), take(limiter)
    (waiter,) = queue_up(limiter, 1)
    orphan.orphan()
    cooling.cool()
    assert limiter.statistics() == Statistics(2, 1, 1, 1, 1, 0.0)
    assert waiter.asked == 0
    cooling.release()
    assert waiter.asked == 1


@pytest.mark.parametrize("before", [[], ["orphan"], ["cool"], ["orphan", "cool"]])
def test_a_permit_is_given_back_once(before: list[str]) -> None:
    """A second release is a bug of ours, and says so instead of making a permit out of nothing."""
    limiter = Limiter(capacity=1, max_waiting=9)
    permit = take(limiter)
    for step in before:
        getattr(permit, step)()
    permit.release()
    with pytest.raises(PermitMisuseError, match="released"):
        permit.release()
    assert limiter.statistics() == Statistics(1, 0, 0, 0, 0, 0.0)


def test_the_age_of_the_queue_is_that_of_its_first() -> None:
    """The oldest waiter counts, also after the first has left."""
    clock = Clock()
    limiter = Limiter(capacity=0, max_waiting=9, clock=clock)
    (first,) = queue_up(limiter, 1)
    clock.now += 3
    queue_up(limiter, 1)
    clock.now += 4
    assert limiter.statistics().oldest_waiter_seconds == 7
    limiter.leave(first)
    assert limiter.statistics().oldest_waiter_seconds == 4


@pytest.mark.parametrize("way", ["leaves", "is granted", "declines"])
def test_who_is_no_longer_in_the_queue_is_not_kept_alive(way: str) -> None:
    """Nothing of a waiter is left behind, however it left."""
    limiter = Limiter(capacity=1, max_waiting=9)
    permit = take(limiter)
    caller: Caller | None = Caller()
    assert caller is not None
    limiter.enqueue(caller)
    caller.gone = way == "declines"
    if way == "leaves":
        limiter.leave(caller)
    else:
        permit.release()
    remembered = weakref.ref(caller)
    caller = None
    gc.collect()
    assert remembered() is None


class CountedCaller(Caller):
    """A caller who notices every look at it."""

    looks: ClassVar[int] = 0

    def __hash__(self) -> int:
        CountedCaller.looks += 1
        return id(self)

    def __eq__(self, other: object) -> bool:
        CountedCaller.looks += 1
        return self is other


@pytest.mark.parametrize("place", [0, 5_000, 9_999])
def test_leaving_looks_at_nobody_else(place: int) -> None:
    """From anywhere among 10,000 the way out is as short as from a queue of one."""
    limiter = Limiter(capacity=0, max_waiting=10_000)
    crowd = [CountedCaller() for _ in range(10_000)]
    for caller in crowd:
        limiter.enqueue(caller)
    CountedCaller.looks = 0
    limiter.leave(crowd[place])
    crowded = CountedCaller.looks
    alone = Limiter(capacity=0, max_waiting=1)
    alone.enqueue(crowd[place])
    CountedCaller.looks = 0
    alone.leave(crowd[place])
    assert crowded == CountedCaller.looks


def test_a_release_asks_the_first_and_nobody_else() -> None:
    """Handing on a permit does not depend on how many wait."""
    limiter = Limiter(capacity=1, max_waiting=10_000)
    permit = take(limiter)
    crowd = [CountedCaller() for _ in range(10_000)]
    for caller in crowd:
        limiter.enqueue(caller)
    CountedCaller.looks = 0
    permit.release()
    assert (CountedCaller.looks <= 2, sum(caller.asked for caller in crowd), crowd[0].asked) == (True, 1, 1)
