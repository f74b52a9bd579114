"""A future of which whoever waits for it goes on at once, and not in the next turn of the event loop."""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TypeVar

T = TypeVar("T")


class Handover(asyncio.Future[T]):
    """What one task waits for, and is handed to it in the middle of a turn.

    A turn of a busy event loop is as long as all that is ready in it. What waits for the next one waits for that long,
    be it one step from being sent.
    """

    _waiting: tuple[Callable[["Handover[T]"], object], Context] | None = None

    def add_done_callback(self, fn: Callable[["Handover[T]"], object], /, *, context: Context | None = None) -> None:
        """Remember who waits: the task calls this when it awaits."""
        super().add_done_callback(fn, context=context)
        self._waiting = fn, copy_context() if context is None else context

    def hand(self, value: T) -> None:
        """Set the result, and have the waiting task go on until it waits again.

        Within another task it goes on in the next turn, as from any future: two of them cannot run at once.

        Raises:
            asyncio.InvalidStateError: it has a result, or is cancelled.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is None or asyncio.current_task() is not None:
            self.set_result(value)
            return
        go_on, context = waiting
        self.remove_done_callback(go_on)
        self.set_result(value)
        context.run(go_on, self)
