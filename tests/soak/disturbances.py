"""What happens beside the calls, again and again: fleets change, keys expire, an endpoint goes away, configs change."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from .keys import Keys
from .ledger import Ledger
from .sagemaker import SageMaker
from .stand import AWAY, FIXED, RELOADED, SMALL, Stand
from .watch import Gateway

SIZE_SECONDS = 5.0
"""How long an elastic fleet keeps its size."""

EXPIRY_SECONDS = 11.0
AWAY_SECONDS = 3.0
BACK_SECONDS = 17.0
"""How long an endpoint is away, and how long it is there in between: its pauses end in that time."""

RELOAD_SECONDS = 4.0
"""How long a config holds, or what is none is left in its file."""

POLL_SECONDS = 0.02

SOON = 6
"""In a short soak all of these are so much shorter than the whole, the first time."""


@dataclass(slots=True)
class Disturbances:
    """What has happened.

    Attributes:
        absences: how often an endpoint was away.
        returns: how often it has had calls again after that.
        reloads: how often another config was taken.
        bad_files: how often there was none in the file.
    """

    absences: int = 0
    returns: int = 0
    reloads: int = 0
    bad_files: int = 0

    async def expiries(self, keys: Keys, seconds: float) -> None:
        """Let the keys of the gateway expire, for ever."""
        await asyncio.sleep(min(EXPIRY_SECONDS, seconds / SOON))
        while True:
            keys.expire()
            await asyncio.sleep(EXPIRY_SECONDS)

    async def absences_of(self, gateway: Gateway, sagemaker: SageMaker, ledger: Ledger, seconds: float) -> None:
        """Let an endpoint be away, for ever now and then, until it has been ejected at least."""
        away, room = min(AWAY_SECONDS, seconds / SOON), ledger.rooms[AWAY]
        await asyncio.sleep(away)
        while True:
            sagemaker.go_away()
            self.absences += 1
            await asyncio.sleep(away)
            while not await gateway.ejects(AWAY):
                await asyncio.sleep(POLL_SECONDS)
            runs = room.runs
            sagemaker.side_door.open()
            since = asyncio.create_task(asyncio.sleep(BACK_SECONDS))
            while room.runs == runs:
                await asyncio.sleep(POLL_SECONDS)
            self.returns += 1
            await since

    async def reloads_of(self, gateway: Gateway, stand: Stand, ledger: Ledger, seconds: float) -> None:
        """Let an endpoint have fewer permits and all of them again, and then a file that is no config, for ever."""
        pause = min(RELOAD_SECONDS, seconds / SOON)
        while True:
            await asyncio.sleep(pause)
            gateway.reload(stand.config(SMALL))
            await gateway.until_capacity(RELOADED, SMALL)
            ledger.tell(RELOADED, SMALL)
            await asyncio.sleep(pause)
            ledger.tell(RELOADED, FIXED[RELOADED])
            gateway.reload(stand.config())
            await gateway.until_capacity(RELOADED, FIXED[RELOADED])
            self.reloads += 2
            await asyncio.sleep(pause)
            self.bad_files += 1
            gateway.reload("endpoints: [")
            while gateway.refused_reloads() < self.bad_files:
                await asyncio.sleep(POLL_SECONDS)


async def resize(sagemaker: SageMaker, sizes: Iterator[int]) -> None:
    """Let the elastic fleet change its size, for ever."""
    for size in sizes:
        sagemaker.size = size
        await asyncio.sleep(SIZE_SECONDS)
