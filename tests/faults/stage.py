"""A stage for one row: the far end, a gateway in this process, and its permits before our eyes."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from gateway.app import Gateway, open_gateway
from gateway.config import Config
from gateway.limiter import Limiter, Permit
from gateway.log import make_logger
from gateway.models import Statistics
from tests.faults.crowd import Crowd, answered, counted
from tests.faults.row import ENDPOINT, NOTHING, Outcome, Player, Row
from tests.ports import free_port
from tests.raw import RawServer, Script, raw_server
from tests.stand import REGION
from tests.waiting import until

SETTLE_SECONDS = 5.0
"""How long permits may take to come back at the end, before they count as left behind."""


@dataclass
class Stage:
    """One row under way.

    Attributes:
        row: the row.
        gateway: the gateway.
        far_end: what has come to SageMaker's end.
        port: where that is.
        released: the permits that were given back.
        crowd: the callers.
        permits: the gauges at the moment that counts.
        promises: what else was promised, and whether it is so.
        notes: figures for the report.
    """

    row: Row
    gateway: Gateway
    far_end: RawServer
    port: int
    released: list[Permit]
    stack: AsyncExitStack
    crowd: Crowd = field(init=False)
    permits: str | None = None
    promises: dict[str, bool] = field(default_factory=dict)
    notes: str = ""
    _last: str = NOTHING

    def __post_init__(self) -> None:
        """Callers of this gateway: how the permits are when one gets an answer is what counts by default."""
        self.crowd = Crowd(self.gateway.url, self._answered)

    @property
    def limiter(self) -> Limiter:
        """The permits."""
        return self.gateway.limiters[ENDPOINT]

    @property
    def now(self) -> Statistics:
        """The gauges."""
        return self.limiter.statistics()

    def note_permits(self) -> None:
        """Say that this is the moment that counts."""
        self.permits = gauges(self.now)

    async def until_held(self, **figures: int) -> None:
        """Wait until the gauges say so."""
        await until(lambda: all(getattr(self.now, name) == figure for name, figure in figures.items()))

    async def until_sent(self, count: int) -> None:
        """Wait until the far end has got so many requests."""
        await until(lambda: len(self.far_end.requests) >= count)

    async def listen(self, *scripts: Script) -> None:
        """Have somebody listen where nobody did."""
        self.far_end = await self.stack.enter_async_context(raw_server(*scripts, port=self.port))

    async def outcome(self) -> Outcome:
        """What came of it, once everybody has their answer; and whether one more call works."""
        await self.crowd.all_answered()
        with suppress(TimeoutError):
            await until(lambda: gauges(self.now) == NOTHING, seconds=SETTLE_SECONDS)
        left, counts = gauges(self.now), await self._counts()
        released, runs, expected = len(self.released), len(self.far_end.requests), self.row.expected
        self.far_end.gate.release()
        return Outcome(
            replies=dict(self.crowd.replies),
            counted={name: count for name, count in counts.items() if name not in expected.chance},
            chance=expected.chance,
            permits=self._last if self.permits is None else self.permits,
            released=None if expected.released is None else released,
            runs=None if expected.runs is None else runs,
            promises=self.promises,
            left=left,
            following=(await Crowd(self.gateway.url).call()).status,
            leaks=tuple(sorted(self.crowd.leaks)),
            notes=self.notes,
        )

    async def _counts(self) -> dict[str, int]:
        """The counters, as soon as they have counted everybody: who hung up is counted when their call ends."""
        counts = await counted(self.gateway.url)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                while answered(counts) < len(self.crowd.calls):
                    counts = await counted(self.gateway.url)
        return counts

    def _answered(self) -> None:
        self._last = gauges(self.now)


def gauges(now: Statistics) -> str:
    """The permits in words."""
    figures = {name: getattr(now, name) for name in ("running", "orphaned", "cooling", "waiting")}
    return ", ".join(f"{figure} {name}" for name, figure in figures.items() if figure) or NOTHING


def on_stage(act: Callable[[Stage], Awaitable[None]]) -> Player:
    """Have callers act before a gateway in this process."""

    async def play(row: Row) -> Outcome:
        async with _open_stage(row) as stage:
            await act(stage)
            return await stage.outcome()

    return play


@asynccontextmanager
async def _open_stage(row: Row) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        stack.enter_context(row.world())
        released = stack.enter_context(_counted_releases())
        far_end, port = RawServer(), free_port()
        if row.far_end:
            far_end = await stack.enter_async_context(raw_server(*row.far_end))
            port = far_end.port
        config = config_of(row, port)
        gateway = await stack.enter_async_context(open_gateway(config, make_logger(stream=io.StringIO())))
        stage = Stage(row, gateway, far_end, port, released, stack)
        stack.push_async_callback(stage.crowd.close)
        yield stage


def config_of(row: Row, port: int) -> Config:
    """The config of the gateway before a far end at a port."""
    return Config.model_validate(
        {
            "listen": {"port": 0},
            "aws": {"region": REGION, "endpoint_url": row.url.format(port=port), "refresh_seconds": 1},
            "endpoints": {ENDPOINT: {"instances": 1, **row.endpoint}},
            **row.config,
        }
    )


@contextmanager
def _counted_releases() -> Iterator[list[Permit]]:
    """Each permit that is given back, in order."""
    released: list[Permit] = []
    release = Permit.release

    def counted_release(permit: Permit) -> None:
        released.append(permit)
        release(permit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Permit, "release", counted_release)
        yield released
