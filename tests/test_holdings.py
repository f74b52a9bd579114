"""Holdings: what is open stays as long as somebody needs it, and what fails leaves nothing open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from gateway.holdings import Holdings
from tests.waiting import until


class House:
    """Things that note when they are opened and closed."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.diary: list[str] = []
        self.most = 0
        self._opening = 0

    @asynccontextmanager
    async def thing(self, name: str) -> AsyncIterator[str]:
        """A thing; one with `bad` in its name cannot be opened, and one with `slow` never is."""
        self._opening += 1
        self.most = max(self.most, self._opening)
        try:
            await (asyncio.Event().wait() if "slow" in name else asyncio.sleep(0))
        finally:
            self._opening -= 1
        if "bad" in name:
            raise ValueError(name)
        self.open.append(name)
        try:
            yield name.upper()
        finally:
            self.open.remove(name)
            self.diary.append(name)


async def test_what_is_held_is_not_opened_again() -> None:
    """And what nobody needs is closed, what was opened last first."""
    house, holdings = House(), Holdings()
    wanted = {name: partial(house.thing, name) for name in ("a", "b", "c")}

    assert await holdings.hold(wanted) == {"a": "A", "b": "B", "c": "C"}
    assert await holdings.hold({"b": partial(house.thing, "bad")}) == {"b": "B"}
    await holdings.keep({"a"})
    assert (house.diary, set(holdings.keys)) == (["c", "b"], {"a"})
    await holdings.keep(())

    assert house.open == []


async def test_all_that_cannot_be_opened_is_told() -> None:
    """In the order in which it was wanted; the rest is held, for its owner to keep or not."""
    house, holdings = House(), Holdings()

    with pytest.raises(ExceptionGroup) as caught:
        await holdings.hold({name: partial(house.thing, name) for name in ("bad-1", "a", "bad-2")})

    assert [str(error) for error in caught.value.exceptions] == ["bad-1", "bad-2"]
    assert (house.open, set(holdings.keys)) == (["a"], {"a"})
    await holdings.keep(())


@pytest.mark.parametrize(("at_once", "most"), [(2, 2), (None, 5)])
async def test_so_many_are_opened_at_once(at_once: int | None, most: int) -> None:
    """All, where nothing is said."""
    house, holdings = House(), Holdings()

    await holdings.hold({name: partial(house.thing, name) for name in "abcde"}, at_once=at_once)
    await holdings.keep(())

    assert house.most == most


async def test_who_is_cancelled_leaves_nothing_open() -> None:
    """Neither what was open by then nor what was about to be."""
    house, holdings = House(), Holdings()
    opening = asyncio.create_task(holdings.hold({name: partial(house.thing, name) for name in ("a", "slow", "b")}))
    await until(lambda: house.open == ["a", "b"])

    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    assert (house.open, holdings.keys) == ([], frozenset())
