"""Rounds in which all that is compared takes its turn, so that a machine that is slow for a while is slow for all."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

Found = TypeVar("Found")


def part_of(rounds: int) -> int:
    """How many rounds there are for what is not judged."""
    return max(1, rounds // 3)


async def in_turns(
    rounds: int, subjects: Mapping[str, Callable[[int], Awaitable[Found]]], *, warm: int = 1
) -> dict[str, list[Found]]:
    """Measure each subject once per round; every other round goes backwards, so that nobody is always first.

    Args:
        rounds: how many rounds count.
        subjects: each measures itself once; it is told the number of the round, negative before those that count.
        warm: how many rounds are run before them, for warmth.
    """
    found: dict[str, list[Found]] = {name: [] for name in subjects}
    for number in range(-warm, rounds):
        order = list(subjects.items())
        for name, subject in order if number % 2 else reversed(order):
            value = await subject(number)
            if number >= 0:
                found[name].append(value)
    return found
