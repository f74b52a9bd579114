"""The end of a gateway that is told to go while callers run and wait."""

import asyncio
import signal
import time
from contextlib import suppress

from .callers import Callers
from .facts import Farewell
from .plan import Call, Plan
from .watch import Gateway

POLL_SECONDS = 0.02
EXIT_SECONDS = 20.0


async def farewell(gateway: Gateway, calls: dict[str, Call], plan: Plan) -> Farewell:
    """Have the last callers come, tell the gateway to end once it has heard all of them, and wait until it has.

    Args:
        gateway: the gateway.
        calls: where all calls stand, by id.
        plan: tells the last ones.
    """
    last, callers = list(plan.last_calls()), Callers(calls)
    calling = asyncio.create_task(callers.run(gateway.port, last))
    while not calling.done():
        held = await gateway.held()
        if held["running"] + held["waiting"] + len(callers.outcomes) >= len(last):
            break
        await asyncio.sleep(POLL_SECONDS)
    held_then = len(last) - len(callers.outcomes)
    told = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    await calling
    code = None
    with suppress(TimeoutError):
        async with asyncio.timeout(EXIT_SECONDS):
            code = await gateway.process.wait()
    return Farewell(callers.outcomes, held_then, code, time.monotonic() - told)
