"""How long an endpoint takes for a call, lately; and so how long a caller is going to wait."""

LEAST_CALLS = 10
"""Fewer tell nothing."""

MEMORY = 0.05
"""The weight of the last call beside those before it: a change is seen after some 20 calls."""


class Pace:
    """The recent mean of the time that calls keep their permit."""

    __slots__ = ("_calls", "_mean")

    def __init__(self) -> None:
        self._calls = 0
        self._mean = 0.0

    def observe(self, seconds: float) -> None:
        """Say how long a call has kept its permit."""
        self._calls += 1
        # A plain mean at first, so that the first call does not count for twenty.
        self._mean += (seconds - self._mean) * max(MEMORY, 1 / self._calls)

    def wait(self, ahead: int, capacity: int) -> float | None:
        """How long somebody is going to wait for a permit, in seconds; None where that is not known yet.

        Args:
            ahead: how many go before them.
            capacity: how many calls run at once.
        """
        if self._calls < LEAST_CALLS or not capacity:
            return None
        return (ahead + 0.5) * self._mean / capacity
