"""A future of which whoever waits for it goes on at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, copy_context

import pytest

from gateway.handover import Handover

NAME: ContextVar[str] = ContextVar("NAME")


class Story:
    """What happened, in order.

    Attributes:
        told: it.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    async def wait(self, future: Handover[str], name: str = "a task") -> None:
        """Wait for something to be handed over, and tell of it."""
        NAME.set(name)
        handed = await future
        self.told.append(f"{NAME.get()} has {handed}")
        await asyncio.sleep(0)
        self.told.append("a turn later")


@asynccontextmanager
async def waiting(story: Story) -> AsyncIterator[tuple[Handover[str], asyncio.Task[None]]]:
    """A future for which a task waits, which is over at the end."""
    future: Handover[str] = Handover()
    task = asyncio.create_task(story.wait(future))
    await asyncio.sleep(0)
    yield future, task
    await asyncio.wait([task])


async def test_whoever_waits_goes_on_at_once() -> None:
    """Handed over by the loop, it is used before anything else happens, until there is something to wait for again."""
    story = Story()
    async with waiting(story) as (future, task):

        def hand() -> None:
            asyncio.get_running_loop().call_soon(story.told.append, "what came before")
            future.hand("it")
            story.told.append("handed over")

        asyncio.get_running_loop().call_soon(hand)

    assert task.exception() is None
    assert story.told == ["a task has it", "handed over", "what came before", "a turn later"]


@pytest.mark.parametrize("context", [Context(), copy_context()], ids=["empty", "not empty"])
async def test_it_goes_on_in_its_own_context(context: Context) -> None:
    """What the task sets after that is there when it goes on once more."""
    future: Handover[str] = Handover()

    async def name() -> str:
        NAME.set(await future)
        await asyncio.sleep(0)
        return NAME.get("nothing")

    task = asyncio.create_task(name(), context=context)
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(future.hand, "it")

    assert await task == "it"


async def test_within_a_task_it_takes_a_turn() -> None:
    """Two tasks cannot run at once: handed over by one, it is used in the next turn."""
    story = Story()
    async with waiting(story) as (future, _):
        future.hand("it")
        story.told.append("handed over")

    assert story.told == ["handed over", "a task has it", "a turn later"]


async def test_what_nobody_waits_for_yet_is_kept() -> None:
    """It may be there before anybody waits, and is had then without a pause."""
    future: Handover[str] = Handover()
    asyncio.get_running_loop().call_soon(future.hand, "it")
    await asyncio.sleep(0)

    assert await future == "it"


async def test_it_is_handed_over_once() -> None:
    """A second time is a mistake, and so is to hand something to somebody who has left."""
    future: Handover[str] = Handover()
    future.hand("it")

    with pytest.raises(asyncio.InvalidStateError):
        future.hand("it again")
    future = Handover()
    future.cancel()
    with pytest.raises(asyncio.InvalidStateError):
        future.hand("it")


@pytest.mark.parametrize("end", ["cancel the task", "cancel the future", "fail"])
async def test_all_else_is_as_with_any_future(end: str) -> None:
    """Whoever waits may be cancelled, and so may what is waited for; or it fails."""
    story = Story()
    async with waiting(story) as (future, task):
        if end == "cancel the task":
            task.cancel()
        elif end == "cancel the future":
            future.cancel()
        else:
            future.set_exception(RuntimeError(end))

    if end == "fail":
        assert str(task.exception()) == end
    else:
        assert task.cancelled()
        assert future.cancelled()
    assert story.told == []


async def test_what_fails_then_fails_for_whoever_waited() -> None:
    """What goes wrong after it was handed over is the task's, not that of whoever handed it over."""
    failed: list[BaseException | None] = []
    future: Handover[str] = Handover()

    async def fail() -> None:
        await future
        raise RuntimeError("it broke")

    task = asyncio.create_task(fail())
    task.add_done_callback(lambda done: failed.append(done.exception()))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(future.hand, "it")
    await asyncio.wait([task])
    await asyncio.sleep(0)

    assert [str(each) for each in failed] == ["it broke"]
