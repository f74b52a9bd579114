"""Admission in any order of events: every permit has one holder, and nobody leaves a trace."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import NO_CAPACITY, UNREACHABLE
from gateway.models import Unseen
from tests.scene import Guest, Scene

SHORT = {name: {"queue": {"max_waiting": 3}} for name in "abc"}
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["come", "come", "release", "hang up", "go on", "close", "reached", "resize", "time"]),
        st.integers(0, 99),
    ),
    max_size=40,
)


@given(events=EVENTS)
def test_no_order_of_events_leaves_anything_behind(events: list[tuple[str, int]]) -> None:
    """Nobody has two permits or none of their own, places are those of who waits, and at the end nothing is left."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(_play(monkeypatch, events))


async def _play(monkeypatch: pytest.MonkeyPatch, events: list[tuple[str, int]]) -> None:
    scene = Scene(monkeypatch, {"a": 1, "b": 1}, fallback="c", settings=SHORT)
    guests: list[Guest] = []
    for event, number in events:
        health = scene.health("abc"[number % 3])
        if event == "come":
            guests.append(await scene.come("rrab"[number % 4]))
        elif event == "close":
            (health.no_capacity, health.unreachable)[number % 2]()
            await scene.close("abc"[number % 3], (NO_CAPACITY, UNREACHABLE)[number % 2])
        elif event == "reached":
            health.reached()
        elif event == "resize":
            health.resize(number % 5)
        elif event == "time":
            await scene.time.pass_by(number / 10)
        elif guests:
            await _move(guests, event, number)
        await scene.time.settle()
        guests = [guest for guest in guests if not guest.task.done() or guest.task.exception() is None]
        admitted = Counter(guest.at for guest in guests if guest.task.done())
        waiting = sum(not guest.task.done() for guest in guests)
        assert {name: running for name, (running, _) in scene.state().items()} == {
            name: admitted[name] for name in "abc"
        }
        assert len(scene.roster.turns) == waiting
    for guest in guests:
        await (guest.release() if guest.task.done() else guest.hang_up())
    assert (scene.traces(), set(scene.state().values())) == ([], {(0, 0)})


async def _move(guests: list[Guest], event: str, number: int) -> None:
    guest = guests[number % len(guests)]
    if event == "hang up" and not guest.task.done():
        await guest.hang_up()
        guests.remove(guest)
    elif event == "release" and guest.task.done():
        await guest.release()
        guests.remove(guest)
    elif event == "go on" and guest.task.done() and not await guest.go_on(list(Unseen)[number % 4]):
        guests.remove(guest)
