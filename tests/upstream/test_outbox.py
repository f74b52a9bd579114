"""The outbox: what is put into it is sent in order, once, and before anything that comes later."""

import asyncio
from functools import partial

from gateway.upstream.outbox import MOST, Outbox


async def test_what_is_put_in_one_turn_is_sent_at_its_end() -> None:
    """In order, and before any task goes on that was scheduled after the first of it."""
    told: list[str] = []
    loop = asyncio.get_running_loop()
    outbox = Outbox(loop)
    for name in "abc":
        outbox.put(partial(told.append, name))
    loop.call_soon(told.append, "later")
    at_once = list(told)
    await asyncio.sleep(0)
    outbox.put(partial(told.append, "d"))
    await asyncio.sleep(0)

    assert at_once == []
    assert told == ["a", "b", "c", "later", "d"]


async def test_who_came_first_does_not_wait_for_too_many() -> None:
    """So many are sent at once; what is left has its end of the turn."""
    told: list[int] = []
    outbox = Outbox(asyncio.get_running_loop())
    for number in range(MOST + 1):
        outbox.put(partial(told.append, number))
    at_once = list(told)
    await asyncio.sleep(0)

    assert at_once == list(range(MOST))
    assert told == list(range(MOST + 1))


async def test_what_is_put_while_it_sends_is_sent_too() -> None:
    """In the next turn."""
    told: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())

    def send() -> None:
        told.append("first")
        outbox.put(partial(told.append, "second"))

    outbox.put(send)
    await asyncio.sleep(0)
    first = list(told)
    await asyncio.sleep(0)

    assert (first, told) == (["first"], ["first", "second"])
