"""How often calls are tried again: a tenth of them at most, so that an outage is not met with twice the load."""

RATIO = 0.1
"""Retries for each call."""

MOST = 10.0
"""How many may be saved up: what the last hundred calls have left."""


class Budget:
    """Retries that may be made.

    https://sre.google/sre-book/handling-overload/ (retry budgets)
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MOST

    def earn(self) -> None:
        """Say that a call is made."""
        self._left = min(MOST, self._left + RATIO)

    def spend(self) -> bool:
        """Take one retry; False if there is none left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
