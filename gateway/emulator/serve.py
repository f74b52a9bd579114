"""Runs the emulator as a process does: until SIGTERM or SIGINT, leaving nothing behind."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from gateway.emulator.emulator import Emulator
from gateway.emulator.settings import EmulatorSettings

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve(settings: EmulatorSettings, on_ready: Callable[[str], Awaitable[None]]) -> None:
    """Run the emulator until SIGTERM or SIGINT, while it starts included, and stop all instances before returning.

    Args:
        settings: What to emulate.
        on_ready: Awaited with the address, as soon as all instances are up and requests are taken. When it returns, the
            emulator stops; a signal cancels it.

    Raises:
        StartError: An instance or the listener did not come up.
    """
    loop = asyncio.get_running_loop()
    lifetime = asyncio.create_task(_live(settings, on_ready))
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, lifetime.cancel)
    try:
        await asyncio.wait({lifetime})
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
        lifetime.cancel()
        await asyncio.wait({lifetime})
    if not lifetime.cancelled():
        lifetime.result()


async def _live(settings: EmulatorSettings, on_ready: Callable[[str], Awaitable[None]]) -> None:
    async with Emulator(settings) as emulator:
        await on_ready(emulator.url)
