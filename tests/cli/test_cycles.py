"""Cycles: they are found where there are many, or in time, and a crowd is no reason to look."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from gateway.cli.cycles import AT_LEAST_EVERY_SECONDS, OBJECTS, OBJECTS_PER_CONNECTION, Collector, collecting
from tests.doubles import Clock


class Knot:
    """Something that holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def by_hand() -> Iterator[None]:
    """No collection but those of the collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def tied(number: int) -> weakref.ref[Knot]:
    """So many cycles that nobody holds; the last of them."""
    for _ in range(number):
        last = Knot()
    return weakref.ref(last)


def test_many_new_objects_are_a_reason_to_look() -> None:
    """More than the connections explain: cycles among them are freed at the next tick."""
    lost = tied(OBJECTS + 1)

    Collector(lambda: 0).tick()

    assert lost() is None


def test_a_crowd_is_none() -> None:
    """As many new objects, but so many connections that they may well be theirs: nobody is held up for them."""
    lost = tied(OBJECTS + 1)
    connections = OBJECTS // OBJECTS_PER_CONNECTION

    Collector(lambda: connections).tick()

    assert lost() is not None


def test_few_cycles_go_in_time() -> None:
    """They may hold much: none is there for longer than the bound, and none makes a tick look before it."""
    clock = Clock()
    collector = Collector(lambda: 0, clock=clock)
    lost = tied(1)

    clock.now += AT_LEAST_EVERY_SECONDS / 2
    collector.tick()
    kept = lost() is not None
    clock.now += AT_LEAST_EVERY_SECONDS / 2
    collector.tick()

    assert (kept, lost()) == (True, None)


async def test_the_interpreter_is_left_as_it_was() -> None:
    """While the gateway serves the interpreter does not look by itself; afterwards it does again."""
    async with collecting(lambda: 0):
        during = gc.isenabled()

    assert (during, gc.isenabled(), gc.get_freeze_count()) == (False, True, 0)
