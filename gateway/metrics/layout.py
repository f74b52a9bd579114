"""Where each number of an endpoint stands in its list: worked out once, and the same for all of them.

So an endpoint's series are one list of zeros, to count is to add to one of them, and a copy is one of the whole list.
"""

from collections.abc import Iterable

from gateway.errors import REASONS
from gateway.metrics.table import (
    BUCKETS,
    CODES,
    FAILOVERS,
    JOINS,
    OTHER_CODE,
    QUEUE_WAIT,
    REFUSALS,
    REQUEST_DURATION,
    REQUESTS,
    UPSTREAM_DURATION,
    UPSTREAM_ERRORS,
    UPSTREAM_FIRST_BYTE,
    Row,
)
from gateway.models import Unseen

BOUNDS = (*map(float, BUCKETS), float("inf"))
"""Those of a histogram's numbers, in order; behind them stands the sum."""


class Layout:
    """The places of all series of an endpoint.

    Args:
        operations: the values of the label `operation`.
        errors: the values of the label `error`.

    Attributes:
        size: how many numbers there are.
        counters: by row, the values of all labels but the endpoint, and the place.
        histograms: by row, the place of the first number.
    """

    def __init__(self, operations: Iterable[str], errors: Iterable[str]) -> None:
        self.size = 0
        self.counters: dict[Row, list[tuple[tuple[str, ...], int]]] = {}
        self.histograms: dict[Row, int] = {}
        self.requests = {
            operation: {code: self._counter(REQUESTS, operation, str(code)) for code in (*CODES, OTHER_CODE)}
            for operation in operations
        }
        self.refusals = {reason: self._counter(REFUSALS, reason) for reason in REASONS}
        self.upstream_errors = {error: self._counter(UPSTREAM_ERRORS, error) for error in errors}
        self.failovers = {reason: self._counter(FAILOVERS, reason.value) for reason in Unseen}
        self.joins = self._counter(JOINS)
        self.request_duration = self._histogram(REQUEST_DURATION)
        self.queue_wait = self._histogram(QUEUE_WAIT)
        self.upstream_duration = self._histogram(UPSTREAM_DURATION)
        self.upstream_first_byte = self._histogram(UPSTREAM_FIRST_BYTE)

    def zeros(self) -> list[float]:
        """The numbers of an endpoint of which nothing has been counted."""
        return [0.0] * self.size

    def _counter(self, row: Row, *labels: str) -> int:
        self.counters.setdefault(row, []).append((labels, self.size))
        return self._take(1)

    def _histogram(self, row: Row) -> int:
        self.histograms[row] = self.size
        return self._take(len(BOUNDS) + 1)

    def _take(self, count: int) -> int:
        place, self.size = self.size, self.size + count
        return place
