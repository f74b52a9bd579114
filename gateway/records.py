"""Tells metrics and log of the requests that are over: of all that end in one turn of the event loop together."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from gateway.models import Record

Hook: TypeAlias = Callable[[Sequence[Record]], None]
"""Is told of requests that are over."""


class Records:
    """Collects records, and hands them to hooks once in a turn.

    A hook that is run for several requests at a stretch takes half of what it takes in between of other work, and
    whoever waits for a permit need not wait for it.

    Args:
        hooks: are told of records, in the order in which these came.
        report: is told of a hook that fails.
    """

    def __init__(self, hooks: Iterable[Hook], report: Callable[[str, Exception], None]) -> None:
        self._hooks = tuple(hooks)
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._records: list[Record] = []

    def add(self, record: Record) -> None:
        """Have the hooks told of it, before any task goes on that is woken later."""
        self._records.append(record)
        if len(self._records) == 1:
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        """Tell the hooks. One that fails may lose those of this turn; it must not cost the others a record."""
        records, self._records = self._records, []
        for hook in self._hooks:
            try:
                hook(records)
            except Exception as error:  # noqa: BLE001
                self._report("a hook failed", error)
