"""What the models saw, call by call, and how many of them ran at once at each endpoint."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from .faults import Fault

GRACE_SECONDS = 2.0
"""How long calls that were sent before the gateway has heard of a smaller fleet may take to arrive."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One time that a call met SageMaker.

    Attributes:
        endpoint: where.
        fault: what went wrong.
    """

    endpoint: str
    fault: Fault


@dataclass(slots=True)
class Room:
    """One endpoint.

    Attributes:
        size: how many models may run at once.
        running: how many do.
        peak: the most that did.
        runs: how many did altogether.
        over: how often one more began than there was room for.
        busy_seconds: the time of all models together.
    """

    size: int
    running: int = 0
    peak: int = 0
    runs: int = 0
    over: int = 0
    busy_seconds: float = 0.0
    _moved_at: float = 0.0
    _ends: list[float] = field(default_factory=list)
    _before: list[tuple[float, int]] = field(default_factory=list)

    def resize(self, size: int, now: float) -> None:
        """Say that the gateway is told another size."""
        if size < self.size:
            self._before.append((now + GRACE_SECONDS, self.size))
        self.size = size

    def start(self, now: float) -> None:
        """A model begins."""
        self.advance(now)
        self.runs += 1
        self.running += 1
        self.peak = max(self.peak, self.running)
        self._before = [(until, size) for until, size in self._before if until > now]
        self.over += self.running > max([self.size, *(size for _, size in self._before)])

    def end_at(self, moment: float) -> None:
        """A model is going to end by itself."""
        heappush(self._ends, moment)

    def advance(self, now: float) -> None:
        """Note what has happened since."""
        while self._ends and self._ends[0] <= now:
            self._move(heappop(self._ends))
            self.running -= 1
        self._move(now)

    def _move(self, now: float) -> None:
        if now > self._moved_at:
            self.busy_seconds += self.running * (now - self._moved_at)
            self._moved_at = now


class Ledger:
    """The counters of all endpoints; ends that are known in advance count at their own time, however late that is seen.

    Args:
        sizes: the endpoints, and how many models may run at once at each.
        clock: seconds, monotonic.
    """

    def __init__(self, sizes: Mapping[str, int], clock: Callable[[], float]) -> None:
        self._clock = clock
        self.rooms = {endpoint: Room(size) for endpoint, size in sizes.items()}
        self.arrivals: defaultdict[str, list[Arrival]] = defaultdict(list)
        """By the id of the call."""

    def arrive(self, endpoint: str, call: str, fault: Fault) -> None:
        """A call has come; unless the fault spares it, a model begins to run."""
        self.arrivals[call].append(Arrival(endpoint, fault))
        if not fault.unseen:
            self.rooms[endpoint].start(self._clock())

    def miss(self, endpoint: str, call: str, fault: Fault) -> None:
        """A call has come that no model is going to see, though its sender cannot know."""
        self.arrivals[call].append(Arrival(endpoint, fault))

    def end_in(self, endpoint: str, seconds: float) -> None:
        """A model ends so many seconds from now, whoever waits for it."""
        self.rooms[endpoint].end_at(self._clock() + seconds)

    def tell(self, endpoint: str, size: int) -> None:
        """The gateway is told how large an endpoint is."""
        self.rooms[endpoint].resize(size, self._clock())

    def settle(self) -> None:
        """Count up to now."""
        for room in self.rooms.values():
            room.advance(self._clock())
