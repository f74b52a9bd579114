"""The hook that counts: one frozen record per request, and a snapshot of it all whenever Prometheus asks.

Only the event loop counts, so that counting needs no lock: it is a few additions to numbers of our own.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping

from gateway.metrics.layout import BOUNDS, Layout
from gateway.metrics.snapshot import Readings, Seen, Snapshot
from gateway.metrics.table import OTHER_CODE, UNKNOWN
from gateway.models import Connections, Failover, Record, Statistics

GLANCE = 50
"""So many endpoints are looked at in one turn of the event loop: half a millisecond or so."""

_SUM = len(BOUNDS)


class Metrics:
    """All counts, and the hook that adds to them.

    Args:
        version: the gateway's.
        readings: for each row of `READINGS`, its value by endpoint.
        statistics: by endpoint, its limiter's statistics.
        operations: the values of the label `operation`.
        errors: the values of the label `error`.
    """

    def __init__(
        self,
        *,
        version: str,
        readings: Readings,
        statistics: Mapping[str, Callable[[], Statistics]],
        operations: Iterable[str],
        errors: Iterable[str],
    ) -> None:
        self._version = version
        self._layout = Layout(operations, errors)
        self._counts: dict[str, list[float]] = {}
        self._unknown_layout = Layout((UNKNOWN,), ())
        self._unknown = self._unknown_layout.zeros()
        self._connections: Mapping[str, Callable[[], Connections]] = {}
        self.replace(statistics, readings)

    def replace(self, statistics: Mapping[str, Callable[[], Statistics]], readings: Readings) -> None:
        """From now on these endpoints. All series of others are gone at once, and those of new ones exist at once.

        A series exists from the start, so that rates see the first event.
        """
        self._statistics, self._readings = statistics, readings
        kept = {endpoint: counts for endpoint, counts in self._counts.items() if endpoint in statistics}
        # Another mapping, so that whoever walks through this one goes on.
        self._counts = kept | {endpoint: self._layout.zeros() for endpoint in statistics if endpoint not in kept}

    def watch(self, connections: Mapping[str, Callable[[], Connections]]) -> None:
        """From now on show what becomes of these listeners' connections, by listener."""
        self._connections = connections

    def count(self, records: Iterable[Record]) -> None:
        """Count requests."""
        for record in records:
            self._count(record)

    def _count(self, record: Record) -> None:
        for failover in record.failovers:
            self._count_failover(failover)
        if record.endpoint is None:
            at, counts = self._unknown_layout, self._unknown
        elif record.endpoint in self._counts:
            at, counts = self._layout, self._counts[record.endpoint]
        else:
            return  # the endpoint has left the config, and its series with it
        codes = at.requests[record.operation or UNKNOWN]
        counts[codes.get(record.status, codes[OTHER_CODE])] += 1
        for first, seconds in (
            (at.request_duration, record.duration),
            (at.queue_wait, record.queue),
            (at.upstream_duration, record.upstream),
            (at.upstream_first_byte, record.first_byte),
        ):
            if seconds is not None:
                counts[first + bisect_left(BOUNDS, seconds)] += 1
                counts[first + _SUM] += seconds
        if record.reason is not None:
            counts[at.refusals[record.reason]] += 1
        if record.upstream_error is not None:
            counts[at.upstream_errors[record.upstream_error]] += 1
        if record.joined:
            counts[at.joins] += 1

    async def look(self) -> Snapshot:
        """All that there is to tell. Each endpoint is seen at one moment, so that all that is told of it agrees."""
        seen: list[Seen] = []
        for each in self._see():
            seen.append(each)
            if len(seen) % GLANCE == 0:
                await asyncio.sleep(0)
        connections = {listener: connections() for listener, connections in self._connections.items()}
        return Snapshot(self._version, seen, connections)

    def _see(self) -> Iterator[Seen]:
        """Every endpoint, also where the next config comes meanwhile: then those of the last one."""
        layout, statistics, readings = self._layout, self._statistics, self._readings
        yield Seen(UNKNOWN, self._unknown_layout, tuple(self._unknown), None, {})
        for endpoint, counts in self._counts.items():
            now = {row: by_endpoint[endpoint]() for row, by_endpoint in readings.items()}
            yield Seen(endpoint, layout, tuple(counts), statistics[endpoint](), now)

    def _count_failover(self, failover: Failover) -> None:
        counts = self._counts.get(failover.endpoint)
        if counts is not None:
            counts[self._layout.failovers[failover.reason]] += 1
            if failover.upstream_error is not None:
                counts[self._layout.upstream_errors[failover.upstream_error]] += 1
