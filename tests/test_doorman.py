"""The doorman: a few new requests at a time, in order; who is inside already does not wait for them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.listener.doorman import AT_A_TIME, IN_A_CROWD, Doorman
from tests.doorstep import GET, Caller, Gate, connected, listening, post
from tests.waiting import until


class Street:
    """Who comes to the door, and who came in; `full` is whether some of these wait inside."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.doorman = Doorman(asyncio.get_running_loop(), lambda: self.full)
        self.inside: list[int] = []

    def arrive(self, number: int) -> None:
        """Come in, or wait until one is called."""
        if self.doorman.lets_in():
            self.inside.append(number)
        else:
            self.doorman.wait(self._entering(number))

    def _entering(self, number: int) -> Callable[[], None]:
        return lambda: self.inside.append(number)


@pytest.mark.parametrize("crowd", [1, AT_A_TIME, AT_A_TIME + 1, 2 * AT_A_TIME, 5 * AT_A_TIME + 3])
@pytest.mark.parametrize(("place", "of_a_crowd"), [("room", AT_A_TIME), ("full", IN_A_CROWD)])
async def test_so_many_at_a_time(crowd: int, place: str, of_a_crowd: int) -> None:
    """In every turn of the loop as many as may, in order, until all are in; fewer of a crowd, if some wait inside."""
    street = Street(full=place == "full")
    for number in range(crowd):
        street.arrive(number)
    inside = min(AT_A_TIME, crowd)
    assert len(street.inside) == inside
    while inside < crowd:
        waiting = crowd - inside
        inside += of_a_crowd if waiting > AT_A_TIME else waiting
        await asyncio.sleep(0)
        assert len(street.inside) == inside

    assert street.inside == list(range(crowd))


async def test_a_crowd_comes_in_faster_once_nobody_waits_inside() -> None:
    """It is asked in every turn."""
    street = Street(full=True)
    for number in range(4 * AT_A_TIME):
        street.arrive(number)
    await asyncio.sleep(0)
    slowly = len(street.inside) - AT_A_TIME
    street.full = False
    await asyncio.sleep(0)

    assert (slowly, len(street.inside) - AT_A_TIME - slowly) == (IN_A_CROWD, AT_A_TIME)


async def test_nobody_overtakes_who_waits() -> None:
    """Whoever comes while others wait goes behind them, in whichever turn."""
    street = Street()
    for number in range(2 * AT_A_TIME + 1):
        street.arrive(number)
    await asyncio.sleep(0)
    street.arrive(99)
    await until(lambda: not street.doorman._counting)

    assert street.inside == [*range(2 * AT_A_TIME + 1), 99]


async def test_a_quiet_street_costs_nothing() -> None:
    """Where nobody comes, the doorman has nothing to do in the turns of the loop."""
    street = Street()
    street.arrive(0)
    for _ in range(3):
        await asyncio.sleep(0)

    assert not street.doorman._counting


async def test_a_crowd_on_open_connections_is_served_whole() -> None:
    """Requests that come at once on many connections, in pieces, and several behind one another: each is answered."""
    gate = Gate()
    gate.open()
    async with listening(gate.handle, full=True) as listener, AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(connected(listener.url)) for _ in range(3 * AT_A_TIME)]
        for caller in callers:
            await caller.send(GET)
            await caller.answer()
        request = post(b"Content-Length: 4", body=b"body")
        for caller in callers:
            caller.writer.write(request[:30])
        await asyncio.sleep(0)
        for caller in callers:
            caller.writer.write(request[30:] + request)
        statuses = [(await caller.answer()).status for caller in callers for _ in range(2)]

    assert statuses == [200] * len(statuses)
    assert gate.entered == 3 * len(callers)


async def test_whatever_happens_to_one_of_them_the_others_are_called() -> None:
    """The loop is told of it, and nobody stands at the door for ever."""
    loop, told = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    street = Street()
    for number in range(AT_A_TIME):
        street.arrive(number)
    street.doorman.wait(lambda: 1 / 0)  # type: ignore[arg-type]
    street.arrive(98)
    street.arrive(99)
    await until(lambda: len(street.inside) == AT_A_TIME + 2)

    assert (street.inside[-2:], [type(error) for error in told]) == ([98, 99], [ZeroDivisionError])


@pytest.mark.parametrize("before", [0, 1], ids=["new", "good before"])
async def test_who_stands_at_the_door_when_it_closes_is_told(before: int) -> None:
    """A request that was received is answered, and not left to guess whether a model ran."""
    gate = Gate()
    gate.open()
    async with AsyncExitStack() as stack:
        caller = await stack.enter_async_context(_late_caller(gate, before))
        answer = await caller.answer()

    assert (answer.status, gate.entered) == (200, before + 1)


@asynccontextmanager
async def _late_caller(gate: Gate, before: int) -> AsyncIterator[Caller]:
    """A caller whose request waits at the door of a listener that has closed by now."""
    async with AsyncExitStack() as stack:
        async with listening(gate.handle) as listener:
            caller = await stack.enter_async_context(connected(listener.url))
            for _ in range(before):
                await caller.send(GET)
                await caller.answer()
            await until(lambda: not listener._doorman._counting)
            listener._doorman._left, listener._doorman._counting = 0, True  # it has no more turns
            await caller.send(GET)
            await until(lambda: len(listener._doorman._waiting) == 1)
        yield caller


@pytest.mark.parametrize("before", [0, 1], ids=["new", "good before"])
async def test_who_hangs_up_at_the_door_was_never_there(before: int) -> None:
    """Not heard, not counted, and nothing is left of it."""
    gate = Gate()
    gate.open()
    async with listening(gate.handle) as listener:
        async with connected(listener.url) as caller:
            for _ in range(before):
                await caller.send(GET)
                await caller.answer()
            others = asyncio.create_task(_keep_busy(listener._doorman))
            await asyncio.sleep(0)
            await caller.send(GET)
            await until(lambda: len(listener._doorman._waiting) > AT_A_TIME)
        await until(lambda: listener.statistics().open == 0)
        others.cancel()

    assert (gate.entered, listener.statistics().idle) == (before, 0)


async def _keep_busy(doorman: Doorman) -> None:
    """A crowd without an end: as many come in each turn as may, and more."""
    while True:
        for _ in range(2 * AT_A_TIME):
            doorman.wait(lambda: None)
        await asyncio.sleep(0)
