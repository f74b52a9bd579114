"""Health: what calls have shown closes an endpoint for a while, one at a time tries, and what succeeds reopens it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import NO_CAPACITY, UNREACHABLE, Row
from gateway.health import PROBES, REFUSALS, Health, HealthStatistics
from gateway.limiter import Limiter
from tests.doubles import Caller, Timers

WELL = HealthStatistics(ejected=False, no_capacity=False, probing=False, unreachable_in_a_row=0)


class Permits:
    """Somebody who only notes what permits there should be."""

    def __init__(self) -> None:
        self.capacity: int | None = None
        self.most: int | None = None

    def resize(self, capacity: int) -> None:
        """Note how many there are."""
        self.capacity = capacity

    def restrict(self, most: int | None) -> None:
        """Note how many may be used."""
        self.most = most


class Ward:
    """The health of one endpoint, in a time of its own."""

    def __init__(self, *, ejects: bool = True, chance: float = 0.5) -> None:
        self.permits = Permits()
        self.timers = Timers()
        self.changes = 0
        self.health = Health(
            self.permits, ejects=ejects, later=self.timers.later, changed=self._change, chance=lambda: chance
        )

    def _change(self) -> None:
        self.changes += 1

    def close(self, cause: Row) -> None:
        """Let calls show that the endpoint takes none."""
        if cause is NO_CAPACITY:
            self.health.no_capacity()
        else:
            for _ in range(REFUSALS):
                self.health.unreachable()
        assert self.health.cause is cause

    def pause(self) -> None:
        """Let the pause end."""
        self.timers.pass_by(self.timers.asked[-1])
        assert self.health.probing


def fail(cause: Row) -> Callable[[Health], None]:
    """What a call says that fails for this cause."""
    return Health.no_capacity if cause is NO_CAPACITY else Health.unreachable


both_causes = pytest.mark.parametrize("cause", [UNREACHABLE, NO_CAPACITY], ids=lambda row: row.reason)


@pytest.mark.parametrize(("ejects", "calls", "ejected"), [(True, 4, False), (True, 5, True), (False, 100, False)])
def test_five_in_a_row_eject_where_there_are_others(ejects: bool, calls: int, ejected: bool) -> None:  # noqa: FBT001
    """One fewer does not, and where there is nowhere else to go everybody may try for themselves."""
    ward = Ward(ejects=ejects)
    for _ in range(calls):
        ward.health.unreachable()

    assert ward.health.statistics() == HealthStatistics(
        ejected=ejected, no_capacity=False, probing=False, unreachable_in_a_row=calls
    )
    assert ward.health.cause is (UNREACHABLE if ejected else None)
    assert (ward.permits.most, ward.timers.pending) == ((0, 1) if ejected else (None, 0))


@pytest.mark.parametrize("times", [1, 2, 10])
def test_a_call_that_arrives_breaks_the_row(times: int) -> None:
    """Four failures and a success, however often, eject nobody."""
    ward = Ward()
    for _ in range(times):
        for _ in range(REFUSALS - 1):
            ward.health.unreachable()
        ward.health.reached()

    assert (ward.health.statistics(), ward.timers.asked, ward.changes) == (WELL, [], 0)


@pytest.mark.parametrize("ejects", [True, False])
def test_the_first_word_of_no_capacity_counts(ejects: bool) -> None:  # noqa: FBT001
    """It is SageMaker's own word, so that it holds at once, and whether or not there are others."""
    ward = Ward(ejects=ejects)
    ward.health.unreachable()
    ward.health.no_capacity()

    assert ward.health.statistics() == HealthStatistics(
        ejected=False, no_capacity=True, probing=False, unreachable_in_a_row=0
    )
    assert (ward.permits.most, ward.changes) == (0, 1)


@pytest.mark.parametrize(
    ("cause", "pauses"), [(UNREACHABLE, [1, 2, 4, 8, 16, 32, 60, 60]), (NO_CAPACITY, [1, 2, 4, 8, 10, 10, 10, 10])]
)
def test_the_pause_doubles_up_to_its_bound(cause: Row, pauses: list[int]) -> None:
    """With each call that tried in vain; the bound is the cause's own."""
    ward = Ward()
    ward.close(cause)
    for _ in pauses[1:]:
        ward.pause()
        fail(cause)(ward.health)

    assert ward.timers.asked == pauses


def test_the_bound_of_a_pause_is_that_of_its_own_cause() -> None:
    """Also where pauses had become longer for another: an instance that has come up should not idle for a minute."""
    ward = Ward()
    ward.close(UNREACHABLE)
    for _ in range(7):
        ward.pause()
        ward.health.unreachable()
    ward.pause()
    ward.health.no_capacity()

    assert ward.timers.asked[-2:] == [60, 10]


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_a_little_of_a_pause_is_left_to_chance(chance: float, seconds: float) -> None:
    """Gateways that saw the same failure do not try in step."""
    ward = Ward(chance=chance)
    ward.close(NO_CAPACITY)
    assert ward.timers.asked == [pytest.approx(seconds)]


@both_causes
def test_calls_that_fail_together_count_as_one_try(cause: Row) -> None:
    """All that were under way when the endpoint closed: the pause neither grows nor begins anew."""
    ward = Ward()
    ward.close(cause)
    ward.timers.pass_by(0.5)
    for _ in range(20):
        fail(cause)(ward.health)

    assert (ward.timers.asked, ward.timers.pending) == ([1], 1)
    ward.timers.pass_by(0.5)
    assert ward.health.probing
    fail(cause)(ward.health)
    assert ward.timers.asked == [1, 2]


def test_a_call_under_way_may_tell_another_cause() -> None:
    """The last word counts, in the pause that there is."""
    ward = Ward()
    ward.close(UNREACHABLE)
    ward.health.no_capacity()
    assert (ward.health.cause, ward.timers.asked) == (NO_CAPACITY, [1])


def closed(cause: Row, *, capacity: int, waiting: int) -> tuple[Health, Limiter, Timers, list[Caller]]:
    """An endpoint that takes no calls, with a real limiter, and who waits for it."""
    timers = Timers()
    limiter = Limiter(capacity=capacity, max_waiting=99)
    health = Health(limiter, ejects=True, later=timers.later, chance=lambda: 0.5)
    for _ in range(REFUSALS):
        fail(cause)(health)
    callers = [Caller() for _ in range(waiting)]
    for caller in callers:
        assert limiter.acquire_nowait() is None
        limiter.enqueue(caller)
    return health, limiter, timers, callers


@both_causes
def test_after_the_pause_one_at_a_time_tries(cause: Row) -> None:
    """The first who waits, and nobody else while that call runs; where nobody waits, whoever comes."""
    health, limiter, timers, callers = closed(cause, capacity=9, waiting=3)
    timers.pass_by(1)
    assert [caller.asked for caller in callers] == [1, 0, 0]
    assert (health.probing, limiter.acquire_nowait()) == (True, None)

    _, limiter, timers, _ = closed(cause, capacity=9, waiting=0)
    assert limiter.acquire_nowait() is None
    timers.pass_by(1)
    assert [limiter.acquire_nowait() is not None for _ in range(2)] == [True, False]


@both_causes
def test_a_try_that_succeeds_lets_everybody_in(cause: Row) -> None:
    """At once, not with the end of that call; and the next pause is a first one again."""
    health, _, timers, callers = closed(cause, capacity=2, waiting=3)
    timers.pass_by(1)
    health.reached()
    assert [caller.asked for caller in callers] == [1, 1, 0]
    assert (health.statistics(), health.cause) == (WELL, None)

    for _ in range(REFUSALS):
        fail(cause)(health)
    assert timers.asked == [1, 1]


@both_causes
def test_a_try_that_fails_is_nobody_elses_chance(cause: Row) -> None:
    """Its permit comes back into a pause: the next in the queue is not asked before the end of that."""
    health, _, timers, callers = closed(cause, capacity=9, waiting=3)
    timers.pass_by(1)
    fail(cause)(health)
    assert callers[0].permit is not None
    callers[0].permit.release()
    timers.pass_by(1.5)
    assert [caller.asked for caller in callers] == [1, 0, 0]
    timers.pass_by(0.5)
    assert [caller.asked for caller in callers] == [1, 1, 0]


def test_a_try_that_says_nothing_is_followed_by_the_next() -> None:
    """A call that was never sent, for want of keys, leaves the chance to the next in the queue."""
    health, _, timers, callers = closed(NO_CAPACITY, capacity=9, waiting=2)
    timers.pass_by(1)
    assert callers[0].permit is not None
    callers[0].permit.release()
    assert (callers[1].permit is not None, health.probing) == (True, True)


@both_causes
def test_an_earlier_call_that_succeeds_reopens_too(cause: Row) -> None:
    """What was sent before the pause and is answered in it: the pause is over, and is told to be."""
    ward = Ward()
    ward.close(cause)
    changes = ward.changes
    ward.health.reached()

    assert (ward.health.statistics(), ward.permits.most, ward.timers.pending) == (WELL, None, 0)
    assert ward.changes == changes + 1


@pytest.mark.parametrize(
    ("cause", "before", "after", "reopens"),
    [
        (NO_CAPACITY, 2, 3, True),
        (NO_CAPACITY, 0, 1, True),
        (NO_CAPACITY, 2, 2, False),
        (NO_CAPACITY, 3, 2, False),
        (NO_CAPACITY, 1, 0, False),
        (UNREACHABLE, 2, 3, False),
    ],
)
@pytest.mark.parametrize("probing", [False, True])
def test_more_room_need_not_be_tried_out(*, cause: Row, before: int, after: int, reopens: bool, probing: bool) -> None:
    """A fleet that has grown has capacity; that it can be reached is another matter."""
    ward = Ward()
    ward.health.resize(before)
    ward.close(cause)
    if probing:
        ward.pause()
    ward.health.resize(after)

    assert ward.health.cause is (None if reopens else cause)
    assert ward.permits.most == (None if reopens else PROBES if probing else 0)
    assert ward.timers.pending == (0 if reopens or probing else 1)


@pytest.mark.parametrize(("capacity", "permits"), [(0, 1), (1, 1), (7, 7)])
def test_where_there_is_no_room_one_may_try(capacity: int, permits: int) -> None:
    """Calls are what wakes a fleet from zero."""
    ward = Ward()
    ward.health.resize(capacity)
    assert (ward.permits.capacity, ward.permits.most) == (permits, None)


@both_causes
def test_watchers_are_told_once_for_each_beginning(cause: Row) -> None:
    """In order; not with every failure or try in vain; and when it begins anew, but for those who have gone."""
    ward = Ward()
    told: list[str] = []

    def stay() -> None:
        told.append("stay")

    def leave() -> None:
        told.append("leave")
        del ward.health.watchers[leave]

    for watcher in (stay, leave):
        ward.health.watchers[watcher] = None
    ward.close(cause)
    fail(cause)(ward.health)
    ward.pause()
    fail(cause)(ward.health)
    assert told == ["stay", "leave"]

    ward.health.reached()
    ward.close(cause)
    assert told == ["stay", "leave", "stay"]


@both_causes
def test_watchers_are_told_when_nothing_can_be_had_any_more(cause: Row) -> None:
    """Whoever looks at the cause and at the permits then sees what is so."""
    ward = Ward()
    seen: list[tuple[Row | None, bool, int | None]] = []

    def look() -> None:
        seen.append((ward.health.cause, ward.health.probing, ward.permits.most))

    ward.health.watchers[look] = None
    ward.close(cause)
    assert seen == [(cause, False, 0)]


@both_causes
def test_after_the_end_nothing_happens(cause: Row) -> None:
    """No timer is left behind, and whatever calls still say makes none."""
    ward = Ward()
    ward.close(cause)
    ward.health.close()
    fail(cause)(ward.health)
    ward.timers.pass_by(1000)
    assert (ward.timers.pending, ward.permits.most) == (0, 0)


def test_the_end_of_a_healthy_one_is_nothing() -> None:
    """There is nothing to cancel."""
    ward = Ward()
    ward.health.close()
    assert ward.health.statistics() == WELL


def test_where_there_are_no_others_any_more_everybody_is_let_in() -> None:
    """And no number of refusals ejects it, until there are others again."""
    ward = Ward()
    ward.close(UNREACHABLE)

    ward.health.eject(ejects=False)
    assert (ward.health.cause, ward.permits.most) == (None, None)
    for _ in range(2 * REFUSALS):
        ward.health.unreachable()
    assert ward.health.cause is None
    ward.health.eject(ejects=True)
    ward.close(UNREACHABLE)


@pytest.mark.parametrize("ejects", [True, False])
def test_no_capacity_has_nothing_to_do_with_others(ejects: bool) -> None:  # noqa: FBT001
    """Whether there are some, before or after, is the same."""
    ward = Ward(ejects=not ejects)
    ward.close(NO_CAPACITY)

    ward.health.eject(ejects=ejects)

    assert (ward.health.cause, ward.permits.most) == (NO_CAPACITY, 0)


@pytest.mark.parametrize("cause", [UNREACHABLE, NO_CAPACITY])
def test_somewhere_else_nothing_is_known(cause: Row) -> None:
    """It takes calls again, and the row of refusals begins anew."""
    ward = Ward()
    ward.close(cause)

    ward.health.forget()

    assert (ward.health.statistics(), ward.permits.most) == (WELL, None)


def test_statistics_tell_each_state() -> None:
    """Well, failing, ejected, trying, without capacity, trying, well."""
    ward = Ward()
    seen = [ward.health.statistics()]
    ward.health.unreachable()
    seen.append(ward.health.statistics())
    ward.close(UNREACHABLE)
    seen.append(ward.health.statistics())
    ward.pause()
    seen.append(ward.health.statistics())
    ward.health.no_capacity()
    seen.append(ward.health.statistics())
    ward.pause()
    seen.append(ward.health.statistics())
    ward.health.reached()
    seen.append(ward.health.statistics())

    assert [(s.ejected, s.no_capacity, s.probing, s.unreachable_in_a_row) for s in seen] == [
        (False, False, False, 0),
        (False, False, False, 1),
        (True, False, False, 6),
        (True, False, True, 6),
        (False, True, False, 0),
        (False, True, True, 0),
        (False, False, False, 0),
    ]


EVENTS = st.lists(
    st.one_of(
        st.sampled_from(["reached", "unreachable", "no_capacity", "reopen"]), st.floats(0, 70), st.integers(0, 3)
    ),
    max_size=60,
)


@given(events=EVENTS, ejects=st.booleans(), chance=st.floats(0, 1))
def test_whatever_calls_show_it_is_never_closed_for_good(
    events: list[str | float | int],
    ejects: bool,  # noqa: FBT001
    chance: float,
) -> None:
    """Open without a restriction; closed with one timer that will end it; or trying, one at a time."""
    ward = Ward(ejects=ejects, chance=chance)
    for event in events:
        if isinstance(event, str):
            getattr(ward.health, event)()
        elif isinstance(event, float):
            ward.timers.pass_by(event)
        else:
            ward.health.resize(event)
        cause, probing = ward.health.cause, ward.health.probing
        state = (ward.permits.most, ward.timers.pending)
        assert state == ((None, 0) if cause is None else (PROBES, 0) if probing else (0, 1))
        assert all(seconds <= 66 for seconds in ward.timers.asked)
        if ejects and ward.health.statistics().unreachable_in_a_row >= REFUSALS and event == "unreachable":
            assert cause is UNREACHABLE
