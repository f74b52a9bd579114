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
    assert observed(*[1.0] * (LEAST_CALLS - 1)).rate(1) is None
    assert observed(*[1.0] * LEAST_CALLS).rate(0) is None


def test_a_large_fleet_is_known_by_more_calls() -> None:
    """The first ones of a burst are slow because of it, and all of them together would tell of nothing else."""
    assert observed(*[1.0] * (LEAST_CALLS + 2 * 19 - 1)).rate(20) is None
    assert observed(*[1.0] * (LEAST_CALLS + 2 * 19)).rate(20) == pytest.approx(20)


def test_calls_of_like_length_tell_exactly() -> None:
    """On 4 instances, 2 s each: two permits in a second."""
    assert observed(*[2.0] * 50).rate(4) == pytest.approx(2)


@given(durations)
def test_the_mean_lies_between_the_extremes(seconds: list[float]) -> None:
    """Whatever the calls were like."""
    rate = observed(*seconds).rate(1)
    assert rate is not None
    assert min(seconds) * 0.999 <= 1 / rate <= max(seconds) * 1.001


def test_a_change_is_followed() -> None:
    """After some 100 calls of another length the former one is forgotten, nearly."""
    rate = observed(*[1.0] * 100, *[10.0] * 100).rate(1)
    assert rate == pytest.approx(0.1, rel=0.05)


def test_a_single_call_that_hung_does_not_count_for_more_than_four() -> None:
    """It would have everybody refused who could well be served."""
    rate = observed(*[0.1] * 500, 70.0).rate(1)
    assert rate is not None
    assert 1 / rate <= 0.1 * (1 + 0.05 * 3) * 1.001


def test_calls_without_length_divide_nothing_by_zero() -> None:
    """However quick."""
    assert observed(*[0.0] * 20).rate(1)
