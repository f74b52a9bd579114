"""The guard: the gateway's CPU per request beside the pooled client's, in a short run that noise does not decide.

`python -m tests.bench.guard` tells the ratio; with `--accept` it becomes the reference that the test compares with.
"""

import asyncio
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import uvloop

from .processes import ROOT
from .report import versions
from .systems import GATEWAY, POOLED, Stand, stand
from .turns import in_turns
from .whole import Load, cost

REFERENCE = Path(__file__).parent / "results" / "guard.json"
SLACK = 1.25
"""A ratio that is so many times the reference is a regression."""

LOAD = Load(body_bytes=100, connections=32, requests=250)
ROUNDS = 12
TRIES = 6
"""How often so many rounds more are run before a regression is believed."""

ACCEPT_ROUNDS = 5 * ROUNDS


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU per request, from interleaved rounds.

    Attributes:
        ours: the gateway's.
        theirs: the pooled client's.
    """

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """The least beside the least: whatever else a machine does adds to a figure, and never takes off it."""
        return min(self.ours) / min(self.theirs)

    async def measure(self, systems: Stand, rounds: int) -> None:
        """Some rounds more."""

        async def turn(name: str, _: int) -> float:
            return (await cost(systems.systems[name], LOAD, requests=LOAD.share(name))).cpu

        found = await in_turns(rounds, {name: partial(turn, name) for name in (GATEWAY, POOLED)})
        self.ours.extend(found[GATEWAY])
        self.theirs.extend(found[POOLED])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the guard found.

    Attributes:
        ratio: the gateway's CPU per request beside the pooled client's.
        most: what it may be.
        rounds: how many rounds it took to say so.
    """

    ratio: float
    most: float
    rounds: int

    @property
    def regressed(self) -> bool:
        """Whether the gateway costs clearly more than it did."""
        return self.ratio > self.most


def reference() -> float:
    """The ratio that was accepted last."""
    return float(json.loads(REFERENCE.read_text())["ratio"])


async def watch(
    directory: Path, *, accepted: float, checkout: Path = ROOT, rounds: int = ROUNDS, tries: int = TRIES
) -> Verdict:
    """Measure until the ratio is good, or there have been enough rounds to believe that it is not.

    Args:
        directory: where configs and logs may be put.
        accepted: the ratio that is compared with.
        checkout: whose gateway it is.
        rounds: how many rounds a try has.
        tries: how many there are at the most.
    """
    costs = Costs([], [])
    async with stand(directory, (GATEWAY, POOLED), checkout=checkout) as systems:
        for _ in range(tries):
            await costs.measure(systems, rounds)
            verdict = Verdict(costs.ratio, SLACK * accepted, len(costs.ours))
            if not verdict.regressed:
                break
    return verdict


async def _measure() -> float:
    costs = Costs([], [])
    with TemporaryDirectory(prefix="guard-") as name:
        async with stand(Path(name), (GATEWAY, POOLED)) as systems:
            await costs.measure(systems, ACCEPT_ROUNDS)
    return costs.ratio


@click.command()
@click.option("--accept", is_flag=True, help="Make the ratio the reference.")
def main(*, accept: bool) -> None:
    """Tell the gateway's CPU per request beside the pooled client's, and what was accepted."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ratio = runner.run(_measure())
    click.echo(f"{ratio:.3f} of the pooled client's CPU per request", nl=False)
    click.echo(f"; accepted is {reference():.3f}" if REFERENCE.exists() else "")
    if accept:
        found = {"ratio": round(ratio, 3), "rounds": ACCEPT_ROUNDS, "with": versions()}
        REFERENCE.write_text(json.dumps(found, indent=2) + "\n")
        click.echo(f"written: {REFERENCE}")


if __name__ == "__main__":
    main(prog_name="python -m tests.bench.guard")
