"""What is held open, each thing by what it was opened for, as long as somebody needs it."""

import asyncio
from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Holdings:
    """Things that are open. Nobody opens and closes at the same time: that is for the owner to see to."""

    def __init__(self) -> None:
        self._held: dict[Hashable, tuple[Any, AsyncExitStack]] = {}

    @property
    def keys(self) -> frozenset[Hashable]:
        """What they were opened for."""
        return frozenset(self._held)

    async def hold(
        self, wanted: Mapping[K, Callable[[], AbstractAsyncContextManager[V]]], *, at_once: int | None = None
    ) -> dict[K, V]:
        """What is wanted: that which is held already, and that which is opened now.

        Args:
            wanted: how each thing is opened.
            at_once: how many are opened at the same time; all, where nothing is said.

        Raises:
            ExceptionGroup: some could not be opened. The others are held, until `keep` is told otherwise.
        """
        missing = [key for key in wanted if key not in self._held]
        gate = asyncio.Semaphore(at_once or max(1, len(missing)))

        async def open_one(key: K) -> tuple[V, AsyncExitStack]:
            async with gate, AsyncExitStack() as stack:
                return await stack.enter_async_context(wanted[key]()), stack.pop_all()

        opened = await self._all([asyncio.create_task(open_one(key)) for key in missing])
        problems = []
        for key, outcome in zip(missing, opened, strict=True):
            if isinstance(outcome, Exception):
                problems.append(outcome)
            else:
                self._held[key] = outcome
        if problems:
            raise ExceptionGroup("not all could be opened", problems)
        return {key: self._held[key][0] for key in wanted}

    async def keep(self, keys: Collection[Hashable]) -> None:
        """Close all but these, what was opened last first."""
        async with AsyncExitStack() as stack:
            for key in [key for key in self._held if key not in keys]:
                stack.push_async_callback(self._held.pop(key)[1].aclose)

    async def _all(self, tasks: list["asyncio.Task[tuple[V, AsyncExitStack]]"]) -> list[Any]:
        """What became of the tasks; who is cancelled meanwhile leaves nothing open."""
        try:
            return await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, tuple):
                    await outcome[1].aclose()
            raise
