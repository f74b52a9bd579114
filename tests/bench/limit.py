"""How near to the physical limit a crowd is served: thousands of calls at once, on instances that do one at a time."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from .envoy import serving_envoy
from .figures import Aim, Figure, Headline, Result, Table
from .instances import COUNTERS_PATH
from .load import WrongAnswer, open_callers
from .processes import Server, on_cores, serving, shared_out
from .systems import ENDPOINT, ENVOY, GATEWAY, PATH, serving_gateway
from .turns import in_turns

CALLS = 4_000
INSTANCES = 100
SECONDS = 0.05
LIMIT_SECONDS = CALLS / INSTANCES * SECONDS
MOST = 1.03
"""The aim: so many times the physical limit."""

BODY_BYTES = 100
PATIENCE_SECONDS = 300
"""So long that nobody is refused for what a slow machine makes the gateway expect."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round came to.

    Attributes:
        wall: seconds from the first byte sent to the last answer.
        cpu: microseconds of the server's CPU per call.
        peak: how many calls ran at once at the most, counted by the instances.
        late: seconds by which the instances themselves were late, per call.
    """

    wall: float
    cpu: float
    peak: int
    late: float


async def measure(directory: Path, *, rounds: int) -> Result:
    """The gateway and Envoy, each with a fleet of its own, in interleaved rounds.

    Args:
        directory: where configs and logs may be put.
        rounds: how many.
    """
    own, others = shared_out()
    async with AsyncExitStack() as stack:
        # Else Linux has an instance wait on the core of whoever has just sent to it, while another core idles.
        stack.enter_context(on_cores(others))
        subjects = {}
        for name in (GATEWAY, ENVOY):
            command = ["-m", "tests.bench.instances", str(INSTANCES), str(SECONDS)]
            log = directory / f"{name}-instances.log"
            fleet = await stack.enter_async_context(serving(command, log=log))
            with on_cores(own):
                server = await stack.enter_async_context(_serving(name, directory / f"{name}-limit", fleet))
            subjects[name] = partial(_round, server, fleet)
        found = await in_turns(rounds, subjects)
    return _result(found, rounds)


@asynccontextmanager
async def _serving(name: str, files: Path, fleet: Server) -> AsyncIterator[Server]:
    if name == ENVOY:
        async with serving_envoy(files, fleet.port, running=INSTANCES, waiting=CALLS) as server:
            yield server
        return
    endpoint = {"instances": INSTANCES, "queue": {"max_waiting": CALLS, "timeout_seconds": PATIENCE_SECONDS}}
    async with serving_gateway(
        files, f"http://127.0.0.1:{fleet.port}", settings={"endpoints": {ENDPOINT: endpoint}}
    ) as server:
        yield server


async def _round(server: Server, fleet: Server, _: int) -> Round:
    async with open_callers(server.port, PATH, body_bytes=BODY_BYTES, connections=CALLS) as callers:
        await callers.run(INSTANCES)  # the connections to the instances are open from here on
        await counters_of(fleet)
        before = server.cpu_seconds()
        wall = await callers.run(CALLS)
        used = server.cpu_seconds() - before
    counters = await counters_of(fleet)
    if counters["calls"] != CALLS or counters["refused"] or counters["peak"] > INSTANCES:
        raise WrongAnswer(f"{CALLS} calls on {INSTANCES} instances: the instances say {counters}")
    return Round(wall, used / CALLS * 1e6, int(counters["peak"]), counters["late"] / CALLS)


async def counters_of(fleet: Server) -> dict[str, float]:
    """What the instances have counted since they were last asked."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{fleet.port}{COUNTERS_PATH}", data=b"") as answer,
    ):
        found: dict[str, float] = json.loads(await answer.read())
        return found


def _result(found: dict[str, list[Round]], rounds: int) -> Result:
    over = {name: Figure(tuple(each.wall / LIMIT_SECONDS for each in some)) for name, some in found.items()}
    rows = [
        (
            name,
            Figure(tuple(each.wall for each in some)).text(".3f"),
            over[name].text(".3f", "×"),  # noqa: RUF001
            Figure(tuple(each.cpu for each in some)).text(),
            Figure(tuple(float(each.peak) for each in some)).text(),
            Figure(tuple(each.late * 1e6 for each in some)).text(),
        )
        for name, some in found.items()
    ]
    table = Table(
        title=f"A crowd: {CALLS:,} calls of {SECONDS * 1000:g} ms at once, on {INSTANCES} instances",
        columns=("", "wall s", f"beside {LIMIT_SECONDS:g} s", "CPU µs per call", "peak", "instances late, µs per call"),
        rows=rows,
        note=f"{rounds} interleaved rounds. Callers have their connections open, all requests leave at once, and "
        "the clock runs from the first byte to the last answer. An instance is busy for exactly its time from the "
        "last byte of a request; the peak is counted there, and one call too many would have ended the bench. "
        "Of several cores the server has one to itself, as it has where its instances are other machines; they and "
        "the callers are on the others.",
    )
    aim = Aim(f"{CALLS:,} calls at once, beside the physical limit", over[GATEWAY], MOST)
    headline = Headline(f"{CALLS:,} calls at once, wall beside the limit", over, ".2f")
    return Result((table,), (aim,), (headline,))
