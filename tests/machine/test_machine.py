"""The whole gateway as a state machine: whatever happens in whatever order, it keeps its promises."""

import gc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.machine.configs import PLANS, Plan
from tests.machine.machine import play

WHAT = (
    ("nothing",)
    + ("arrive",) * 4
    + ("arrive_together",) * 2
    + ("come_again",) * 2
    + ("finish_body",)
    + ("hang_up",) * 3
    + ("race",) * 4
    + ("stall",)
    + ("answer",) * 8
    + ("send_part",)
    + ("overrun",)
    + ("move_door",) * 2
    + ("scale",)
    + ("pass_time",) * 4
    + ("reload",) * 3
    + ("bad reload",)
    + ("drain",) * 3
)
"""What may happen, as often as it shall."""

TURNS = st.sampled_from((None, None, None, None, None, 0, 1, 2, 3))
"""How many turns of the loop there are before the next thing happens; None for as many as it takes to come to rest."""

NUMBERS = st.builds(lambda tens, ones: 100 * tens + ones, st.integers(0, 99), st.integers(0, 99))
"""From 0 to 9999, each as often as the others, as it would not be in one go."""

CONFIGS = st.lists(PLANS, min_size=4, max_size=4)
"""The configs of one story: the first holds at first, and a reload brings any of them."""

EVENTS = st.lists(st.tuples(st.sampled_from(WHAT), NUMBERS, TURNS), min_size=100, max_size=100)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(plans=CONFIGS, events=EVENTS)
def test_no_order_of_events_breaks_a_promise(plans: list[Plan], events: list[tuple[str, int, int | None]]) -> None:
    """Callers, calls, time, configs and the end: all counts are right at every rest, and nothing is left at the end."""
    play(plans, events)


@pytest.fixture(autouse=True)
def _long_lived() -> Iterator[None]:
    """What has been imported by now is not looked through again whenever it is seen what is left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
