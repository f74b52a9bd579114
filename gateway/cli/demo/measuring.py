"""One run: a burst of calls in one way, by the callers' clock and answers and by the emulator's counters."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.cli.demo.calling import Burst, Finished, Outcome
from gateway.cli.demo.emulator import Witness
from gateway.cli.demo.processes import Stage
from gateway.cli.demo.scenes import Scene, Way
from gateway.emulator import Counters

SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured.

    Attributes:
        scene: What was tried.
        way: How the calls were made.
        outcome: What the callers saw.
        counters: What the emulator saw.
    """

    scene: Scene
    way: Way
    outcome: Outcome
    counters: Counters

    @property
    def succeeded(self) -> int:
        """How many calls got the model's answer."""
        return sum(status in SUCCESS for status in self.outcome.statuses)

    @property
    def failures(self) -> Mapping[int, int]:
        """How many calls failed, by HTTP status."""
        return Counter(status for status in self.outcome.statuses if status not in SUCCESS)

    @property
    def ratio(self) -> float | None:
        """How many times the physical limit it took; None where calls failed, since that limit is for all of them."""
        return None if self.failures else self.outcome.wall_seconds / self.scene.physical_seconds


async def measure(scene: Scene, way: Way, stage: Stage, witness: Witness, finished: Finished) -> Run:
    """Make the calls of a scene in one way, with fresh counters, and see the fleet to its rest.

    Raises:
        DemoError: A call got no answer at all, or the emulator does not come to rest.
    """
    await witness.reset()
    url = stage.gateway_url if way.through_gateway else stage.emulator_url
    outcome = await way.caller(Burst(url, scene.name, scene.calls, scene.patience_seconds), finished)
    counters = await witness.final_counters(scene.name, within_seconds=scene.patience_seconds)
    return Run(scene, way, outcome, counters)
