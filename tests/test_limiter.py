"""The limiter: never over capacity, never idle while someone waits, a fair queue, nothing left behind."""

import gc
import weakref
from typing import ClassVar

import pytest

from gateway.limiter import Limiter, Permit, PermitMisuseError
from gateway.models import Statistics
from tests.doubles import Caller, Clock


def take(limiter: Limiter) -> Permit:
    """A permit that is there for the taking."""
    permit = limiter.acquire_nowait()
    assert permit is not None
    return permit


def queue_up(limiter: Limiter, count: int, route: str = "route") -> list[Caller]:
    """So many callers of a route at the end of the queue."""
    callers = [Caller(route) for _ in range(count)]
    for caller in callers:
        assert limiter.acquire_nowait() is None
        limiter.enqueue(caller)
    return callers


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
    """It says when as many of a route wait as may, and when a place is free again; other routes have their own."""
    limiter = Limiter(capacity=0, max_waiting=2)
    first, _ = queue_up(limiter, 2, "a")
    queue_up(limiter, 1, "b")
    assert (limiter.full("a"), limiter.full("b"), limiter.full("nobody's")) == (True, False, False)
    limiter.leave(first)
    assert (limiter.full("a"), limiter.waiting) == (False, 2)
    assert Limiter(capacity=0, max_waiting=0).full("a")


def test_a_lower_bound_sends_nobody_away() -> None:
    """Who waits stays, and nobody comes until there are fewer."""
    limiter = Limiter(capacity=1, max_waiting=3)
    permit = take(limiter)
    first, *_ = queue_up(limiter, 3)

    limiter.bound(2)
    assert (limiter.waiting, limiter.full("route")) == (3, True)
    permit.release()
    assert (first.permit is not None, limiter.full("route")) == (True, True)
    limiter.bound(3)
    assert not limiter.full("route")


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


def served(limiter: Limiter, permit: Permit, callers: list[Caller]) -> list[str]:
    """The routes of all these callers, in the order in which one permit comes round to them."""
    order = []
    while limiter.waiting:
        permit.release()
        (caller,) = (caller for caller in callers if caller.permit is not None)
        callers.remove(caller)
        assert caller.permit is not None
        permit = caller.permit
        order.append(caller.route)
    return order


def test_a_flood_on_one_route_does_not_starve_the_others() -> None:
    """Who comes after 100 of another route is served second; a third route shares from when it comes."""
    limiter = Limiter(capacity=1, max_waiting=1000)
    permit = take(limiter)
    callers = [*queue_up(limiter, 100, "flood"), *queue_up(limiter, 2, "b"), *queue_up(limiter, 1, "c")]
    assert served(limiter, permit, callers)[:6] == ["flood", "b", "c", "flood", "b", "flood"]


def test_a_route_whose_first_has_gone_does_not_lose_its_turn() -> None:
    """Whoever declines costs the others of their route nothing."""
    limiter = Limiter(capacity=1, max_waiting=9)
    permit = take(limiter)
    gone, second = queue_up(limiter, 2, "a")
    (other,) = queue_up(limiter, 1, "b")
    gone.gone = True
    permit.release()
    assert (second.permit is not None, other.permit) == (True, None)


def test_who_is_done_at_once_costs_no_route_its_turn() -> None:
    """A permit that is given back while it is granted goes on to the next route, as if it had been used."""
    limiter = Limiter(capacity=1, max_waiting=9)
    permit = take(limiter)
    hasty, second = queue_up(limiter, 2, "a")
    (other,) = queue_up(limiter, 1, "b")
    hasty.hasty = True
    permit.release()
    assert (hasty.asked, second.permit, other.permit is not None) == (1, None, True)


def test_who_comes_again_stands_where_they_would_have() -> None:
    """Behind those of their route who came before them, before the others, and also where as many wait as may."""
    clock = Clock()
    limiter = Limiter(capacity=0, max_waiting=2, clock=clock)
    (first,) = queue_up(limiter, 1)
    clock.now += 2
    (last,) = queue_up(limiter, 1)
    returned = Caller()
    limiter.enqueue(returned, since=clock.now - 1)
    assert limiter.waiting == 3
    order = []
    for capacity in (1, 2, 3):
        limiter.resize(capacity)
        order.append([caller.permit is not None for caller in (first, returned, last)])
    assert order == [[True, False, False], [True, True, False], [True, True, True]]


@pytest.mark.parametrize(("since", "most"), [(0, 10_000), (9_999.5, 1), (20_000, 0)])
def test_coming_again_asks_those_who_came_later_and_nobody_else(since: float, most: int) -> None:
    """Who has come just now, as most have, stands at the end, however many wait before them."""
    clock = Clock()
    clock.now = 0
    limiter = Limiter(capacity=0, max_waiting=10_000, clock=clock)
    for _ in range(10_000):
        limiter.enqueue(CountedCaller())
        clock.now += 1
    CountedCaller.looks = 0
    limiter.enqueue(CountedCaller(), since=since)
    assert CountedCaller.looks <= 8 * (most + 1)


def test_the_age_of_who_comes_again_counts_from_their_coming() -> None:
    """They have waited since then, with a call in between."""
    clock = Clock()
    limiter = Limiter(capacity=0, max_waiting=9, clock=clock)
    queue_up(limiter, 1)
    limiter.enqueue(Caller(), since=clock.now - 20)
    assert limiter.statistics().oldest_waiter_seconds == 20


def test_what_runs_already_keeps_nobody_from_trying() -> None:
    """A stream of minutes, or a permit that cools: one call may try beside them, and one more when that has ended."""
    limiter = Limiter(capacity=4, max_waiting=9)
    take(limiter)
    take(limiter).cool()
    limiter.restrict(0)
    first, second = queue_up(limiter, 2)
    limiter.restrict(1)
    assert (first.permit is not None, second.permit is not None) == (True, False)
    limiter.restrict(0)
    assert first.permit is not None
    first.permit.release()
    assert second.permit is None
    limiter.restrict(1)
    assert second.permit is not None


def test_a_call_of_an_earlier_restriction_does_not_count() -> None:
    """The call that ended it may still run when the next one comes."""
    limiter = Limiter(capacity=4, max_waiting=9)
    limiter.restrict(1)
    take(limiter)
    limiter.restrict(None)
    limiter.restrict(1)
    take(limiter)
    assert limiter.acquire_nowait() is None


def test_a_restriction_holds_whatever_the_capacity_and_ends_no_call() -> None:
    """None is allowed while 3 run, so nobody comes after them; then one is, and then all are that fit."""
    limiter = Limiter(capacity=3, max_waiting=9)
    permits = [take(limiter) for _ in range(3)]
    callers = queue_up(limiter, 4)
    limiter.restrict(0)
    limiter.resize(5)
    for permit in permits:
        permit.release()
    admitted = [sum(caller.asked for caller in callers)]
    for most in (1, None):
        limiter.restrict(most)
        admitted.append(sum(caller.asked for caller in callers))
    assert (admitted, limiter.statistics().capacity) == ([0, 1, 4], 5)


def test_a_restriction_above_the_capacity_adds_no_room() -> None:
    """It only takes away."""
    limiter = Limiter(capacity=1, max_waiting=9)
    limiter.restrict(5)
    take(limiter)
    assert (limiter.free, limiter.acquire_nowait(), limiter.acquire_beyond()) == (False, None, None)


def test_whom_a_restriction_is_not_meant_for_has_the_capacity() -> None:
    """As many as that, whoever waits for the restriction to go; they count as running when it does."""
    limiter = Limiter(capacity=2, max_waiting=9)
    limiter.restrict(0)
    (waiter,) = queue_up(limiter, 1)
    first, second = limiter.acquire_beyond(), limiter.acquire_beyond()
    assert first is not None
    assert second is not None
    assert (limiter.acquire_beyond(), waiter.asked) == (None, 0)
    limiter.restrict(None)
    assert waiter.asked == 0
    first.release()
    assert (waiter.asked, limiter.statistics().running) == (1, 2)
