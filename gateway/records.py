"""Tells metrics and log of the requests that are over: of all that end within some milliseconds together."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from gateway.models import Record

Hook: TypeAlias = Callable[[Sequence[Record]], None]
"""Is told of requests that are over."""

LATER_SECONDS = 0.005
"""How long a record waits for others: a line of the log is late by that, and nothing else is."""

MOST = 64
"""So many wait at most. Their lines are written at once, and a pipe whose reader is late holds 64 KiB."""


class Records:
    """Collects records, and hands them to hooks some milliseconds later.

    A hook that is run for several requests at a stretch takes half of what it takes in between of other work, many
    lines are written to the log at the price of one, and neither an answer nor a permit waits for it.

    Args:
        hooks: are told of records, in the order in which these came.
        report: is told of a hook that fails.
    """

    def __init__(self, hooks: Iterable[Hook], report: Callable[[str, Exception], None]) -> None:
        self._hooks = tuple(hooks)
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._records: list[Record] = []
        self._timer: asyncio.TimerHandle | None = None
        self._most = MOST

    def add(self, record: Record) -> None:
        """Have the hooks told of it, soon."""
        self._records.append(record)
        if len(self._records) >= self._most:
            self.tell()
        elif self._timer is None:
            self._timer = self._loop.call_later(LATER_SECONDS, self.tell)

    def close(self) -> None:
        """Let nothing wait any more: what ends from here on may be the last that the loop does."""
        self._most = 1
        self.tell()

    def tell(self) -> None:
        """Tell the hooks now. One that fails may lose what it was to be told; it must not cost the others a record."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        records, self._records = self._records, []
        if not records:
            return
        for hook in self._hooks:
            try:
                hook(records)
            except Exception as error:  # noqa: BLE001
                self._report("a hook failed", error)
