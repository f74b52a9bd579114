"""The event loop of the process: uvloop where it exists."""

import asyncio
from collections.abc import Coroutine
from typing import Any

try:
    from uvloop import new_event_loop
except ImportError:  # Windows, PyPy
    from asyncio import new_event_loop  # type: ignore[assignment]


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end, on the fastest loop there is."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)
