"""Balance: shares are exact over a cycle, hold over any stretch, and who sits out neither gains nor loses."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.balance import Balance

weights_of = st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 50), min_size=1, max_size=6)


def chosen(balance: Balance, weights: Mapping[str, int], calls: int) -> list[str]:
    """The choices for so many calls."""
    return [balance.choose(weights) for _ in range(calls)]


@given(weights=weights_of, cycles=st.integers(1, 3))
def test_shares_are_exact_over_a_cycle(weights: dict[str, int], cycles: int) -> None:
    """As many calls as the weights add up to: each endpoint gets its weight, and the next cycle is the same."""
    balance = Balance()
    first = chosen(balance, weights, sum(weights.values()))
    assert Counter(first) == weights
    for _ in range(cycles):
        assert chosen(balance, weights, len(first)) == first


@given(weights=weights_of)
def test_nobody_gets_a_burst(weights: dict[str, int]) -> None:
    """After every single call each endpoint has what its share is, but for less than one call for each other endpoint.

    With one other endpoint that is the least there can be: less than one call.
    """
    balance, total = Balance(), sum(weights.values())
    counts = dict.fromkeys(weights, 0)
    for call in range(1, 2 * total + 1):
        counts[balance.choose(weights)] += 1
        for endpoint, weight in weights.items():
            assert abs(counts[endpoint] - call * weight / total) < max(1, len(weights) - 1)


@given(light=st.integers(1, 10), more=st.integers(0, 90))
def test_the_lighter_of_two_never_gets_two_in_a_row(light: int, more: int) -> None:
    """Its calls are spread between those of the other; with equal weights they take turns."""
    weights = {"heavy": light + more, "light": light}
    calls = chosen(Balance(), weights, 2 * sum(weights.values()))
    if more:
        assert ("light", "light") not in set(pairwise(calls))
    else:
        assert all(one != other for one, other in pairwise(calls))


def test_the_pattern_is_the_smooth_one() -> None:
    """As in NGINX's own example: 5, 1 and 1 do not come as five in a row and two others."""
    assert "".join(chosen(Balance(), {"a": 5, "b": 1, "c": 1}, 7)) == "aabacaa"


def test_one_endpoint_gets_all() -> None:
    """Whatever its weight."""
    assert set(chosen(Balance(), {"only": 7}, 20)) == {"only"}


@given(weights=weights_of, data=st.data())
def test_who_sat_out_a_cycle_has_neither_gained_nor_lost(weights: dict[str, int], data: st.DataObject) -> None:
    """While an endpoint cannot be chosen the others share by their weights, and then all go on as if nothing had been.

    So it is not flooded with all that it has missed.
    """
    there = data.draw(st.sets(st.sampled_from(sorted(weights)), min_size=1))
    some = {endpoint: weight for endpoint, weight in weights.items() if endpoint in there}
    balance, undisturbed = Balance(), chosen(Balance(), weights, sum(weights.values()))

    assert chosen(balance, weights, len(undisturbed)) == undisturbed
    assert Counter(chosen(balance, some, sum(some.values()))) == some
    assert chosen(balance, weights, len(undisturbed)) == undisturbed


@given(weights=weights_of, data=st.data())
def test_shares_hold_whoever_can_be_chosen_when(weights: dict[str, int], data: st.DataObject) -> None:
    """With others there at every call: what each was due by its weight and what it got never drift apart."""
    balance, total = Balance(), sum(weights.values())
    due, got = dict.fromkeys(weights, 0), dict.fromkeys(weights, 0)
    subsets = st.sets(st.sampled_from(sorted(weights)), min_size=1)
    for there in data.draw(st.lists(subsets, max_size=100)):
        some = {endpoint: weight for endpoint, weight in weights.items() if endpoint in there}
        got[balance.choose(some)] += sum(some.values())
        for endpoint, weight in some.items():
            due[endpoint] += weight
        assert all(abs(due[endpoint] - got[endpoint]) <= len(weights) * total for endpoint in weights)
