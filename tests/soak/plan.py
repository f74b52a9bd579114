"""Who calls what and when, what goes wrong, and who hangs up: all of it from one seed, before anything happens."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import merge
from random import Random

from .faults import FAULTS, NOTHING, Fault, Play
from .stand import COOLDOWN_SECONDS, SIZES, TIMEOUT_SECONDS, TRAFFIC, Traffic

OVERLOAD = 1.2
"""How many calls come, beside what there is room for."""

FAULT_SHARE = 0.055
HANG_UP_SHARE = 0.16
"""Some of those who mean to hang up are refused before; about a tenth of all remain."""

STREAMED_SHARE = 0.3
FRAMED_SHARE = 0.5
"""How many of the streams are for SDKs."""

ENDING_SHARE = 0.03
ENDING_SECONDS = 0.003
"""How many connections end at SageMaker once they have idled, and for how long at most."""

KEPT_SHARE = 0.8
"""How many callers leave their connection to the next one."""

LEAST_SECONDS, MOST_SECONDS = 0.05, 0.15
"""What an inference takes."""

BODY_BYTES = {100: 0.93, 20_000: 0.06, 300_000: 0.01}
"""Sizes of bodies, and how often they come."""

LAST_CALLS = 2
"""At the end, how many calls come for each permit."""

LAST_SECONDS = 0.3
"""What each of these takes."""

QUEUED_SECONDS = 0.6
"""How long those who hang up in the queue stay at most: about as long as the queues are."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """A caller who leaves.

    Attributes:
        running: whether it waits for its model to run before.
        after: how many seconds after that, or after its request, it leaves.
        reset: whether with a reset.
    """

    running: bool
    after: float
    reset: bool


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it is meant to be.

    Attributes:
        id: unlike any other; it travels as the inference id, and fills the body.
        at: when, in seconds from the start.
        traffic: what kind of caller it has.
        path: where it goes.
        streamed: whether its answer comes in parts.
        seconds: how long the model takes.
        fault: what goes wrong, the first time that it meets SageMaker.
        hang_up: whether its caller leaves, and when.
        body_bytes: the least length of its body.
        keeps: whether the connection serves another call.
        framed: whether the caller is an SDK, and reads frames.
        ends: how long SageMaker's connection may idle after this call before it ends; None where it stays.
    """

    id: str
    at: float
    traffic: Traffic
    path: str
    streamed: bool
    seconds: float
    fault: Fault
    hang_up: HangUp | None
    body_bytes: int
    keeps: bool
    framed: bool = False
    ends: float | None = None

    @property
    def body(self) -> bytes:
        """What is sent, and what a good answer brings back."""
        word = self.id.encode() + b" "
        return word * -(-self.body_bytes // len(word))

    @property
    def operation(self) -> str:
        """SageMaker's name of what is asked for."""
        return "InvokeEndpointWithResponseStream" if self.streamed else "InvokeEndpoint"


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole soak.

    Attributes:
        seed: where all of it comes from.
        seconds: how long callers come.
    """

    seed: int
    seconds: float

    def calls(self) -> Iterator[Call]:
        """All calls in order of their time; each kind of caller comes at random moments of its own."""
        flows = (self._flow(traffic) for traffic in TRAFFIC)
        return merge(*flows, key=lambda call: call.at)

    def last_calls(self) -> Iterator[Call]:
        """Those that are on their way when the gateway is told to end: all at once, and nothing goes wrong."""
        for traffic in TRAFFIC:
            for number in range(round(LAST_CALLS * traffic.permits)):
                yield Call(
                    id=f"{traffic.name}-{self.seed}-last-{number}",
                    at=0.0,
                    traffic=traffic,
                    path=traffic.paths[0],
                    streamed=False,
                    seconds=LAST_SECONDS,
                    fault=NOTHING,
                    hang_up=None,
                    body_bytes=min(BODY_BYTES),
                    keeps=True,
                )

    def sizes(self) -> Iterator[int]:
        """The sizes of the elastic fleet, one after the other; without an end."""
        chance = Random(f"{self.seed} sizes")
        while True:
            yield chance.choice(SIZES) if chance.random() < 1 / 2 else chance.randint(*SIZES)

    def _flow(self, traffic: Traffic) -> Iterator[Call]:
        chance, more = Random(f"{self.seed} {traffic.name}"), Random(f"{self.seed} {traffic.name} more")
        at, number = 0.0, 0
        while (at := at + chance.expovariate(rate(traffic))) < self.seconds:
            number += 1
            call = _draw(chance, traffic, f"{traffic.name}-{self.seed}-{number}", at)
            framed = call.streamed and more.random() < FRAMED_SHARE
            ends = more.uniform(0, ENDING_SECONDS) if more.random() < ENDING_SHARE else None
            yield replace(call, framed=framed, ends=ends)


def rate(traffic: Traffic) -> float:
    """How many callers of a kind come each second."""
    return OVERLOAD * traffic.permits / mean_hold_seconds()


def mean_hold_seconds() -> float:
    """How long a call keeps its permit on average, faults and all."""
    faulty = sum(
        share * sum(fault.weight * _hold_seconds(fault) for fault in choices) / sum(fault.weight for fault in choices)
        for share, choices in (
            (STREAMED_SHARE, _choices(streamed=True)),
            (1 - STREAMED_SHARE, _choices(streamed=False)),
        )
    )
    return FAULT_SHARE * faulty + (1 - FAULT_SHARE) * _hold_seconds(NOTHING)


def _hold_seconds(fault: Fault) -> float:
    if fault.unseen:
        return 0.0
    if fault.play is Play.SILENT:
        return TIMEOUT_SECONDS + COOLDOWN_SECONDS
    seconds = (LEAST_SECONDS + MOST_SECONDS) / 2 * fault.slowness
    return seconds + COOLDOWN_SECONDS if fault.goes_on else seconds


def _choices(*, streamed: bool) -> tuple[Fault, ...]:
    return tuple(fault for fault in FAULTS if (fault.streamed if streamed else fault.buffered))


def _draw(chance: Random, traffic: Traffic, name: str, at: float) -> Call:
    streamed = chance.random() < STREAMED_SHARE
    choices = _choices(streamed=streamed)
    faulty, leaves = chance.random() < FAULT_SHARE, chance.random() < HANG_UP_SHARE
    fault = chance.choices(choices, [each.weight for each in choices])[0] if faulty else NOTHING
    seconds = chance.uniform(LEAST_SECONDS, MOST_SECONDS)
    return Call(
        id=name,
        at=at,
        traffic=traffic,
        path=f"{traffic.paths[0]}-response-stream" if streamed else chance.choice(traffic.paths),
        streamed=streamed,
        seconds=seconds * fault.slowness,
        fault=fault,
        hang_up=_hang_up(chance, seconds) if leaves else None,
        body_bytes=chance.choices(tuple(BODY_BYTES), tuple(BODY_BYTES.values()))[0],
        keeps=chance.random() < KEPT_SHARE,
    )


def _hang_up(chance: Random, seconds: float) -> HangUp:
    running = chance.random() < 1 / 2
    return HangUp(running, chance.uniform(0, 0.9 * seconds if running else QUEUED_SECONDS), chance.random() < 1 / 2)
