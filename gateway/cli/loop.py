"""The event loop of the process, uvloop where it exists, and what runs on it beside the rest."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

try:
    from uvloop import new_event_loop
except ImportError:  # Windows, PyPy
    from asyncio import new_event_loop  # type: ignore[assignment]


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end, on the fastest loop there is."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Have something done until the end, in a task of that name."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
