"""What was found in a soak, in numbers; the verdicts come from here and from nowhere else."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from .ledger import Arrival, Room
from .plan import Call

HUNG_UP = "hung up"
LOST = "lost"
"""The connection ended without an answer, or none came at all."""

WRONG_BODY = "wrong body"
"""A whole answer, and another one than was asked for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a caller got.

    Attributes:
        kind: a status, `CUT`, or one of the words above.
        own: whether the gateway says that it is its own answer, and not SageMaker's.
    """

    kind: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """The gateway's process at one moment.

    Attributes:
        at: seconds from the start.
        resident_bytes: its memory.
        descriptors: its open files and sockets.
    """

    at: float
    resident_bytes: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Rest:
    """What is held while nobody calls.

    Attributes:
        descriptors: open files and sockets.
        tasks: those of asyncio.
        held: running, orphaned, cooling and waiting, of all endpoints together.
    """

    descriptors: int
    tasks: int
    held: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Counted:
    """The gateway's own counters.

    Attributes:
        requests: requests_total by operation and code.
        refusals: refusals_total by reason.
        failovers: failovers_total by reason.
    """

    requests: Mapping[tuple[str, str], int]
    refusals: Mapping[str, int]
    failovers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Farewell:
    """What became of those who were there when the gateway was told to end.

    Attributes:
        outcomes: each call with what its caller got.
        held: how many ran or waited at that moment.
        code: the exit code; None where there was no more waiting for one.
        seconds: how long it took.
    """

    outcomes: list[tuple[Call, Outcome]]
    held: int
    code: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened beside the calls.

    Attributes:
        expiries: how often keys expired.
        renewals: how often the gateway got itself others.
        absences: how often an endpoint was away.
        returns: how often it had calls again.
        reloads: how often another config was taken.
        bad_files: how often there was none in its file.
        refused: how often the gateway has said so.
    """

    expiries: int
    renewals: int
    absences: int
    returns: int
    reloads: int
    bad_files: int
    refused: int


@dataclass(slots=True)
class Facts:
    """All of it.

    Attributes:
        seed: of the plan.
        seconds: how long callers came.
        outcomes: each call with what its caller got.
        surplus: bytes that came to a caller unasked, how often.
        late_seconds: how far behind its plan a call was sent at most.
        rooms: the endpoints, as SageMaker saw them.
        arrivals: how each call met SageMaker, by id.
        strange: what SageMaker did not understand.
        peak_connections: the most connections to SageMaker at once.
        ended_idle: how many of them SageMaker ended while they idled.
        samples: the gateway's process, from time to time.
        before: at rest, before the first call.
        after: at rest again, or when there was no more waiting for it.
        counted: the gateway's metrics at the end.
        farewell: how the gateway ended.
        happened: what happened beside the calls; None where nothing did.
        complaints: lines of the gateway's log that speak of a bug.
    """

    seed: int
    seconds: float
    outcomes: list[tuple[Call, Outcome]]
    surplus: int
    late_seconds: float
    rooms: Mapping[str, Room]
    arrivals: Mapping[str, list[Arrival]]
    strange: list[str]
    peak_connections: int
    ended_idle: int
    samples: list[Sample]
    before: Rest
    after: Rest
    counted: Counted
    farewell: Farewell
    happened: Happened | None
    complaints: list[str] = field(default_factory=list)

    @property
    def everybody(self) -> list[tuple[Call, Outcome]]:
        """All calls with what their callers got, those of the end too, which no metric has seen."""
        return [*self.outcomes, *self.farewell.outcomes]

    def kinds(self) -> Counter[str]:
        """What callers got, counted."""
        return Counter(outcome.kind for _, outcome in self.outcomes)
