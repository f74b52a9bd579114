"""How long calls take, and how long a caller is going to wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pace import LEAST_CALLS, Pace

durations = st.lists(st.floats(0.001, 100), min_size=LEAST_CALLS, max_size=60)


def observed(*seconds: float) -> Pace:
    """A pace that has seen these calls."""
    pace = Pace()
    for each in seconds:
        pace.observe(each)
    return pace


def test_a_few_calls_tell_nothing() -> None:
    """Nor does an endpoint without capacity."""
    assert observed(*[1.0] * (LEAST_CALLS - 1)).wait(5, 1) is None
    assert observed(*[1.0] * LEAST_CALLS).wait(5, 0) is None


def test_calls_of_like_length_tell_exactly() -> None:
    """On 4 instances, 2 s each: who has 8 before them waits two rounds, and half a step."""
    assert observed(*[2.0] * 50).wait(8, 4) == pytest.approx(4.25)


@given(durations)
def test_the_mean_lies_between_the_extremes(seconds: list[float]) -> None:
    """Whatever the calls were like."""
    wait = observed(*seconds).wait(0, 1)
    assert wait is not None
    assert 0.5 * min(seconds) * 0.999 <= wait <= 0.5 * max(seconds) * 1.001


def test_a_change_is_followed() -> None:
    """After some 60 calls of another length the former one is forgotten, but for a twentieth."""
    wait = observed(*[1.0] * 100, *[10.0] * 60).wait(0, 1)
    assert wait == pytest.approx(5, rel=0.05)


@given(durations, st.integers(0, 100), st.integers(1, 100))
def test_more_before_them_is_longer_and_more_instances_are_shorter(
    seconds: list[float], ahead: int, capacity: int
) -> None:
    """As anybody would expect."""
    pace = observed(*seconds)
    here, behind, wider = pace.wait(ahead, capacity), pace.wait(ahead + 1, capacity), pace.wait(ahead, capacity + 1)
    assert here is not None
    assert behind is not None
    assert wider is not None
    assert wider < here < behind
