"""What is tried: so many calls at once, on so many instances, in these ways, with all times scaled alike."""

from dataclasses import dataclass

from gateway.cli.demo.calling import Caller, blocking, overlapping

MODEL_SECONDS = 5.0
"""What an inference takes, before scaling."""

SAGEMAKER_SECONDS = 60.0
"""How long SageMaker waits for a container's answer, before scaling."""

SLACK_SECONDS = 30.0
"""What callers and the gateway's queue wait beyond the time that the work takes one call after the other."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of calling: how, and whether through the gateway or straight at SageMaker."""

    title: str
    caller: Caller
    through_gateway: bool


BLOCKING = Way("blocking client", blocking, through_gateway=False)
DIRECT = Way("overlapping calls", overlapping, through_gateway=False)
GATEWAY = Way("with the gateway", overlapping, through_gateway=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """Calls at once on one endpoint.

    Attributes:
        name: The endpoint, in the emulator and in the gateway.
        calls: How many, all at once.
        instances: How many serve them, each one at a time.
        scale: What all times are multiplied with.
        ways: How the calls are made, one way after the other.
    """

    name: str
    calls: int
    instances: int
    scale: float
    ways: tuple[Way, ...]

    @property
    def call_seconds(self) -> float:
        """What one call takes at an instance."""
        return MODEL_SECONDS * self.scale

    @property
    def limit_seconds(self) -> float:
        """How long SageMaker waits for a call's answer."""
        return SAGEMAKER_SECONDS * self.scale

    @property
    def physical_seconds(self) -> float:
        """No way of calling can be done earlier: the work of all calls, spread evenly over the instances."""
        return self.calls * self.call_seconds / self.instances

    @property
    def patience_seconds(self) -> float:
        """How long callers, and the gateway's queue, wait: enough even for one call after the other."""
        return self.calls * self.call_seconds + SLACK_SECONDS

    @property
    def title(self) -> str:
        """The scene in a line."""
        sizes = f"{self.calls} calls at once on {self.instances} instances of {self.call_seconds:g} s"
        scaled = "" if self.scale == 1 else f" (all times x {self.scale:g})"
        return f"{sizes}, SageMaker's limit {self.limit_seconds:g} s{scaled}"


def scenes(*, fast: bool) -> tuple[Scene, Scene]:
    """The seed experiment and the overload; the first scaled down too where it has to be fast."""
    seed = Scene("seed", calls=4, instances=2, scale=0.05 if fast else 1, ways=(BLOCKING, DIRECT, GATEWAY))
    overload = Scene("overload", calls=40, instances=2, scale=0.02, ways=(DIRECT, GATEWAY))
    return seed, overload
