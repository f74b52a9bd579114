"""The story of a soak: a gateway at rest, minutes of what it is there for, and the same gateway at rest again."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .callers import Callers
from .disturbances import Disturbances, resize
from .facts import Facts, Happened, Rest, Sample
from .farewell import farewell
from .keys import Keys
from .ledger import Ledger
from .plan import Call, Plan
from .sagemaker import SageMaker
from .stand import ELASTIC, FIXED, Stand
from .watch import Gateway, open_gateway

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
        surplus: instances that the gateway has too many: for a test of the soak.
        disturbed: whether things happen beside the calls.
    """

    plan: Plan
    hang_up: bool = False
    surplus: int = 0
    disturbed: bool = True


async def soak(directory: Path, settings: Settings) -> Facts:
    """Run it.

    Args:
        directory: where the gateway's files may be put.
        settings: what is run.
    """
    plan, sizes = settings.plan, settings.plan.sizes()
    calls: dict[str, Call] = {}
    ledger, keys = Ledger({**FIXED, ELASTIC: next(sizes)}, time.monotonic), Keys(directory)
    callers = Callers(calls)
    sagemaker = SageMaker(calls, ledger, keys, callers.runs)
    disturbances = Disturbances()
    with sagemaker.serving():
        stand = Stand(sagemaker.door.url, sagemaker.side_door.url, settings.surplus)
        async with open_gateway(directory, stand.config(), keys.config) as gateway:
            before = await gateway.rest()
            samples: list[Sample] = []
            started = time.monotonic()

            async def look() -> None:
                while True:
                    samples.append(gateway.sample(started))
                    await asyncio.sleep(SAMPLE_SECONDS)

            others = [look(), resize(sagemaker, sizes)]
            if settings.disturbed:
                others += [
                    disturbances.expiries(keys, plan.seconds),
                    disturbances.absences_of(gateway, sagemaker, ledger, plan.seconds),
                    disturbances.reloads_of(gateway, stand, ledger, plan.seconds),
                ]
            await _beside(callers.run(gateway.port, plan.calls()), *others)
            if settings.hang_up:
                sagemaker.hang_up()

            def at_rest(rest: Rest) -> bool:
                idle = not any(rest.held.values())
                return idle and rest.descriptors <= before.descriptors and rest.tasks <= before.tasks

            after = await gateway.settled(at_rest, SETTLE_SECONDS)
            samples.append(gateway.sample(started))
            counted = await gateway.counted()
            end = await farewell(gateway, calls, plan)
        complaints = gateway.complaints()
        await sagemaker.stop()
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
        ended_idle=sagemaker.ended_idle,
        samples=samples,
        before=before,
        after=after,
        counted=counted,
        farewell=end,
        happened=_happened(disturbances, keys, gateway) if settings.disturbed else None,
        complaints=complaints,
    )


def _happened(disturbances: Disturbances, keys: Keys, gateway: Gateway) -> Happened:
    return Happened(
        expiries=keys.expiries,
        renewals=keys.issued - 1,
        absences=disturbances.absences,
        returns=disturbances.returns,
        reloads=disturbances.reloads,
        bad_files=disturbances.bad_files,
        refused=gateway.refused_reloads(),
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
