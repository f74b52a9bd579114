"""Jitter: a time stays about what it was, and is evenly more or less."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.jitter import jittered


@given(st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 1))
def test_a_time_stays_within_its_share(seconds: float, share: float, chance: float) -> None:
    """However chance has it."""
    assert seconds * (1 - share) * 0.999 - 1e-9 <= jittered(seconds, share, chance) <= seconds * (1 + share) * 1.001


def test_the_middle_is_the_time_itself() -> None:
    """So that on the whole nothing is longer or shorter by it."""
    assert (jittered(8, 0.25, 0.0), jittered(8, 0.25, 0.5), jittered(8, 0.25, 1.0)) == (6, 8, 10)
