"""What callers do, before a gateway in this process."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from gateway.emulator import Emulator, EmulatorSettings
from gateway.upstream.connection import Connection, Owner
from gateway.upstream.opening import Opener, Origin
from tests.faults.crowd import STREAM, Call
from tests.faults.far_end import PIECE, PIECES
from tests.faults.row import ENDPOINT, NOTHING, Outcome, Row
from tests.faults.stage import Stage, gauges, on_stage
from tests.parts import part
from tests.raw import serve_ok
from tests.stand import REGION
from tests.waiting import until

Act = Callable[[Stage], Awaitable[None]]

FRAMES = {"Accept": "application/vnd.amazon.eventstream"}
SMALL_BYTES = 4096
SCHEDULES = 60
MOST_TURNS = 2
"""How many times somebody leaves about the moment of their grant, and by how many turns of the loop they miss it."""

MOST_BUFFERED_BYTES = 20_000_000
"""How far a stream may be ahead of a caller who reads nothing: the gateway's own bound, and all of the system's."""


async def calls(stage: Stage) -> None:
    """One call."""
    await stage.crowd.call()


def streams(*, framed: bool) -> Act:
    """One call for a stream, in frames or decoded; the gate opens when its first part is there."""

    async def act(stage: Stage) -> None:
        call = await stage.crowd.begin(path=STREAM, headers=FRAMES if framed else None)
        await until(lambda: b"first" in call.caller.received)
        stage.far_end.gate.release()
        await call.reply()

    return act


def tries_to_connect(times: int, then: Act = calls) -> Act:
    """One call, for which a connection is tried for so many times."""

    async def act(stage: Stage) -> None:
        with _counted_connections() as tried:
            await then(stage)
        stage.promises[f"connections tried for: {times}"] = len(tried) == times

    return act


async def calls_before_anybody_listens(stage: Stage) -> None:
    """One call while nobody listens; somebody does so after it."""
    await stage.crowd.call()
    await stage.listen(serve_ok)


async def calls_twice(stage: Stage) -> None:
    """One call after the other."""
    await stage.crowd.call()
    await stage.crowd.call()


async def calls_again_later(stage: Stage) -> None:
    """One call, and one more after its connection has died; the permits count while that one runs."""
    await stage.crowd.call()
    await until(lambda: stage.far_end.open == 0)
    again = await stage.crowd.begin()
    await stage.until_sent(2)
    stage.note_permits()
    stage.far_end.gate.release()
    await again.reply()
    stage.promises["another connection"] = stage.far_end.connections == 2


async def leaves_the_queue(stage: Stage) -> None:
    """Four callers; the third hangs up while three wait."""
    callers = []
    for number in range(4):
        callers.append(await stage.crowd.begin(b"%d" % number))
        await stage.until_held(running=1, waiting=number)
    await stage.until_sent(1)
    await callers[2].hang_up()
    await stage.until_held(waiting=2)
    stage.note_permits()
    for _ in range(3):
        stage.far_end.gate.release()
    await stage.crowd.all_answered()
    order = [request.body for request in stage.far_end.requests]
    stage.promises["the others in order, the one who left never"] = order == [b"0", b"1", b"3"]


async def leaves_as_it_is_granted(stage: Stage) -> None:
    """Over and over: the first in the queue hangs up as its permit comes, some turns of the loop earlier or later."""
    unwanted = await _leave_over_and_over(stage)
    stage.notes = f"permits whose caller had left: {unwanted} in {SCHEDULES} schedules"
    stage.promises["it came to that in some schedules"] = unwanted > 0


async def leaves_as_it_is_sent(stage: Stage) -> None:
    """The same after an answer of a model: the permit comes with its last byte, and the call leaves with the permit."""
    unwanted = await _leave_over_and_over(stage)
    stage.promises["no permit comes to who has left"] = unwanted == 0


async def _leave_over_and_over(stage: Stage) -> int:
    """How many permits came to somebody who had left."""
    chance = random.Random(15)
    unwanted = 0
    for _ in range(SCHEDULES):
        before = len(stage.released) - len(stage.far_end.requests)
        callers = []
        for waiting in range(4):
            callers.append(await stage.crowd.begin())
            await stage.until_held(running=1, waiting=waiting)
        await until(lambda: stage.far_end.working == 1)
        await _leave_about_then(stage, callers[1], chance)
        await _answer_all(stage, [callers[0], *callers[2:]])
        await until(lambda: gauges(stage.now) == NOTHING)
        unwanted += len(stage.released) - len(stage.far_end.requests) - before
    stage.note_permits()
    stage.promises["one call at a time"] = stage.far_end.peak == 1
    return unwanted


async def _leave_about_then(stage: Stage, call: Call, chance: random.Random) -> None:
    turns = chance.randrange(-MOST_TURNS, MOST_TURNS + 1)
    for turn in range(-MOST_TURNS, MOST_TURNS + 1):
        if turn == 0:
            stage.far_end.gate.release()
        if turn == turns:
            call.leave()
        await asyncio.sleep(0)
    await call.hang_up()


async def _answer_all(stage: Stage, callers: list[Call]) -> None:
    gate = stage.far_end.gate
    async with asyncio.timeout(10):
        while not all(caller.over for caller in callers):
            if stage.far_end.working and gate.locked():
                gate.release()
            await asyncio.sleep(0)
        while stage.far_end.working:
            gate.release()
            await asyncio.sleep(0)
        while not gate.locked():
            await gate.acquire()


async def hang_up_while_they_run(stage: Stage) -> None:
    """Eight callers, each of whom hangs up once its call runs, while the next one waits already."""
    caller = await stage.crowd.begin()
    for number in range(1, 9):
        await stage.until_sent(number)
        await caller.hang_up()
        await stage.until_held(orphaned=1)
        if number < 8:
            caller = await stage.crowd.begin()
            await stage.until_held(waiting=1, running=1)
        else:
            stage.note_permits()
        stage.far_end.gate.release()
    stage.promises["peak at the endpoint: 1"] = stage.far_end.peak == 1


async def hangs_up_in_the_stream(stage: Stage) -> None:
    """One caller who leaves after the first part, and one who waits for the permit all the while."""
    gone = await stage.crowd.begin(path=STREAM, headers=FRAMES, reads=False)
    await gone.caller.first(part(b"first"))
    await gone.hang_up()
    await stage.until_held(orphaned=1)
    following = await stage.crowd.begin()
    await stage.until_held(waiting=1)
    stage.note_permits()
    stage.far_end.gate.release()
    await following.reply()
    stage.promises["read to its end, on a connection that served the next"] = stage.far_end.connections == 1


async def reads_late(stage: Stage) -> None:
    """One caller who does not read, one who is served meanwhile, and then the first does read."""
    late = await stage.crowd.begin(reads=False, buffer_bytes=SMALL_BYTES)
    await until(lambda: len(stage.released) == 1)
    stage.note_permits()
    await stage.crowd.call()
    stage.crowd.read_on(late)
    await late.reply()


async def never_reads(stage: Stage) -> None:
    """One caller who reads nothing of a stream, until it is dropped."""
    await stage.crowd.begin(path=STREAM, reads=False, buffer_bytes=SMALL_BYTES)
    await stage.until_held(running=1)
    await until(lambda: stage.now.orphaned == 1)
    taken = stage.far_end.working
    stage.note_permits()
    await until(lambda: len(stage.released) == 1)
    stage.promises["held back meanwhile"] = taken * len(PIECE) < MOST_BUFFERED_BYTES
    stage.promises["then read to its end"] = stage.far_end.working == PIECES
    stage.notes = f"taken before the caller was dropped: {taken * len(PIECE) / 1e6:.1f} MB"


async def finds_the_queue_full(stage: Stage) -> None:
    """One runs, one waits, and the third is one too many."""
    await stage.crowd.begin()
    await stage.until_sent(1)
    await stage.crowd.begin()
    await stage.until_held(waiting=1)
    await stage.crowd.call()
    stage.note_permits()
    for _ in range(2):
        stage.far_end.gate.release()


async def waits_too_long(stage: Stage) -> None:
    """One runs for long, and the second waits in vain."""
    running = await stage.crowd.begin()
    await stage.until_sent(1)
    await stage.crowd.call()
    stage.note_permits()
    stage.promises["refused while the first still ran"] = not running.over
    stage.far_end.gate.release()


async def resize(row: Row) -> Outcome:
    """Seven callers and a fleet of 4, 1 and 2 instances, four of which are busy at first."""
    settings = {"listen": {"port": 0}, "region": REGION, "endpoints": {ENDPOINT: {"instances": 4}}}
    async with Emulator(EmulatorSettings.model_validate(settings)) as emulator:

        async def act(stage: Stage) -> None:
            gate = stage.far_end.gate
            for _ in range(7):
                await stage.crowd.begin()
            await stage.until_held(running=4, waiting=3)
            await emulator.scale(ENDPOINT, 1)
            await stage.until_held(capacity=1)
            for running in (3, 2, 1):
                gate.release()
                await stage.until_held(running=running)
            stage.note_permits()
            stage.promises["nobody admitted until it fits"] = len(stage.far_end.requests) == 4
            await emulator.scale(ENDPOINT, 2)
            await stage.until_held(capacity=2, running=2, waiting=2)
            await stage.until_sent(5)
            stage.promises["the next one as soon as there is room"] = len(stage.far_end.requests) == 5
            for _ in range(4):
                gate.release()
            await stage.crowd.all_answered()

        endpoint = {**row.endpoint, "instances": "auto", "control_endpoint_url": emulator.url}
        return await on_stage(act)(replace(row, endpoint=endpoint))


@contextmanager
def _counted_connections() -> Iterator[list[Origin]]:
    """The connections that are tried for."""
    tried: list[Origin] = []
    open_connection = Opener.open

    async def counted(opener: Opener, origin: Origin, owner: Owner) -> Connection:
        tried.append(origin)
        return await open_connection(opener, origin, owner)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Opener, "open", counted)
        yield tried
