"""The story of a soak: a gateway at rest, minutes of what it is there for, and the same gateway at rest again."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .callers import Callers
from .facts import Facts, Rest, Sample
from .ledger import Ledger
from .plan import Plan
from .sagemaker import SageMaker, resize, serving
from .stand import ELASTIC, FIXED, config
from .watch import open_gateway

SAMPLE_SECONDS = 0.5
SETTLE_SECONDS = 30.0
"""Longer than the gateway keeps idle connections to SageMaker."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One soak.

    Attributes:
        plan: what happens.
        hang_up: whether SageMaker closes its idle connections at the end, so that the gateway's own keep-alive time
            need not be waited for.
        surplus: permits that the gateway has too many: for a test of the soak.
    """

    plan: Plan
    hang_up: bool = False
    surplus: int = 0


async def soak(directory: Path, settings: Settings) -> Facts:
    """Run it.

    Args:
        directory: where the gateway's files may be put.
        settings: what is run.
    """
    plan, sizes = settings.plan, settings.plan.sizes()
    ledger = Ledger({**FIXED, ELASTIC: next(sizes)}, time.monotonic)
    callers = Callers()
    sagemaker = SageMaker(callers.calls, ledger, callers.runs)
    async with serving(sagemaker) as url:
        async with open_gateway(directory, config(url, surplus=settings.surplus)) as gateway:
            before = await gateway.rest()
            samples: list[Sample] = []
            started = time.monotonic()

            async def look() -> None:
                while True:
                    samples.append(gateway.sample(started))
                    await asyncio.sleep(SAMPLE_SECONDS)

            await _beside(callers.run(gateway.port, plan.calls()), look(), resize(sagemaker, sizes))
            if settings.hang_up:
                sagemaker.hang_up()

            def at_rest(rest: Rest) -> bool:
                idle = not any(rest.held.values())
                return idle and rest.descriptors <= before.descriptors and rest.tasks <= before.tasks

            after = await gateway.settled(at_rest, SETTLE_SECONDS)
            samples.append(gateway.sample(started))
            counted = await gateway.counted()
        complaints = gateway.complaints()
    ledger.settle()
    return Facts(
        seed=plan.seed,
        seconds=plan.seconds,
        outcomes=callers.outcomes,
        surplus=callers.surplus,
        late_seconds=callers.late_seconds,
        rooms=ledger.rooms,
        arrivals=ledger.arrivals,
        strange=sagemaker.strange,
        peak_connections=sagemaker.peak_connections,
        samples=samples,
        before=before,
        after=after,
        counted=counted,
        complaints=complaints,
    )


async def _beside(story: Coroutine[Any, Any, None], *others: Coroutine[Any, Any, None]) -> None:
    """Run the story to its end, and meanwhile the others."""
    tasks = [asyncio.create_task(other) for other in others]
    try:
        await story
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
