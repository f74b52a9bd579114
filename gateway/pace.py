"""How long an endpoint takes for a call, lately; and so how long a caller is going to wait."""

LEAST_CALLS = 10
"""Fewer tell nothing, of an endpoint that runs one call at a time."""

WAVES = 2
"""Of one that runs several, so many of each more: a burst, by its own coming, slows down the calls it begins with."""

OUTLIER = 4.0
"""So many times the mean is the most that one call counts: a single one that hung should not refuse everybody."""

MEMORY = 0.05
"""The weight of the last call beside those before it: a change is seen after some 20 calls."""


SHORTEST = 1e-6
"""Seconds that a call takes at least, so that nothing is divided by 0."""


class Pace:
    """The recent mean of the time that calls keep their permit."""

    __slots__ = ("_calls", "_mean")

    def __init__(self) -> None:
        self._calls = 0
        self._mean = 0.0

    def observe(self, seconds: float) -> None:
        """Say how long a call has kept its permit."""
        if self._calls >= LEAST_CALLS:
            seconds = min(seconds, OUTLIER * self._mean)
        self._calls += 1
        # A plain mean at first, so that the first call does not count for twenty.
        self._mean += (seconds - self._mean) * max(MEMORY, 1 / self._calls)

    def rate(self, capacity: int) -> float | None:
        """How many permits come free in a second, while all are in use; None where that is not known yet.

        Args:
            capacity: how many calls run at once.
        """
        if not capacity or self._calls < LEAST_CALLS + WAVES * (capacity - 1):
            return None
        return capacity / max(self._mean, SHORTEST)
