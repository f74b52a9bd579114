"""All that there was to show at one moment, as Prometheus' families of metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gateway.metrics.layout import BOUNDS, Layout
from gateway.metrics.table import (
    BUILD_INFO,
    CLOSING_REASONS,
    CONNECTION_STATES,
    CONNECTIONS,
    CONNECTIONS_CLOSED,
    COUNTERS,
    HISTOGRAMS,
    PREFIX,
    READINGS,
    STATE,
    Row,
)
from gateway.models import Connections, Statistics

PART = 100
"""About so many samples make a part of a family: half a millisecond's work or so."""

Readings: TypeAlias = Mapping[Row, Mapping[str, Callable[[], float]]]
"""For each row of `READINGS`, its value by endpoint."""

_Family: TypeAlias = type[CounterMetricFamily] | type[GaugeMetricFamily] | type[HistogramMetricFamily]
_LE = [floatToGoString(bound) for bound in BOUNDS]  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Seen:
    """One endpoint, as it was at one moment.

    Attributes:
        endpoint: its key in the config, or `UNKNOWN` for the requests that lead to none.
        layout: where each number stands.
        numbers: what has been counted.
        statistics: its limiter's; None for `UNKNOWN`, which has none.
        readings: likewise, by row of `READINGS`; empty for `UNKNOWN`.
    """

    endpoint: str
    layout: Layout
    numbers: Sequence[float]
    statistics: Statistics | None
    readings: Mapping[Row, float]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot(Collector):
    """What is told in one scrape. Nothing of it changes any more, so that it can be told in another thread.

    Attributes:
        version: the gateway's.
        endpoints: all of them, and `UNKNOWN`.
        connections: by listener, what has become of its connections.
    """

    version: str
    endpoints: Sequence[Seen]
    connections: Mapping[str, Connections]

    def collect(self) -> Iterator[Metric]:
        """Every family: a long one in parts, one right behind the other, and each is made when it is asked for."""
        for row in COUNTERS:
            if row is not CONNECTIONS_CLOSED:
                yield from _parts(CounterMetricFamily, row, self._counted(row))
        for row in HISTOGRAMS:
            yield from _parts(HistogramMetricFamily, row, self._timed(row))
        yield from _parts(GaugeMetricFamily, BUILD_INFO, [((self.version,), 1)])
        for row, value in STATE:
            yield from _parts(GaugeMetricFamily, row, self._stated(value))
        for row in READINGS:
            yield from _parts(GaugeMetricFamily, row, self._read(row))
        yield from _parts(GaugeMetricFamily, CONNECTIONS, self._connected(CONNECTION_STATES))
        yield from _parts(CounterMetricFamily, CONNECTIONS_CLOSED, self._connected(CLOSING_REASONS))

    def _counted(self, row: Row) -> Iterator[tuple[Any, ...]]:
        for each in self.endpoints:
            for labels, place in each.layout.counters.get(row, ()):
                yield (each.endpoint, *labels), each.numbers[place]

    def _timed(self, row: Row) -> Iterator[tuple[Any, ...]]:
        for each in self.endpoints:
            first = each.layout.histograms[row]
            end = first + len(BOUNDS)
            up_to = list(zip(_LE, accumulate(each.numbers[first:end]), strict=True))
            yield (each.endpoint,), up_to, each.numbers[end]

    def _stated(self, value: Callable[[Statistics], float]) -> Iterator[tuple[Any, ...]]:
        for each in self.endpoints:
            if each.statistics is not None:
                yield (each.endpoint,), value(each.statistics)

    def _read(self, row: Row) -> Iterator[tuple[Any, ...]]:
        for each in self.endpoints:
            if row in each.readings:
                yield (each.endpoint,), each.readings[row]

    def _connected(self, kinds: Iterable[tuple[str, Callable[[Connections], int]]]) -> Iterator[tuple[Any, ...]]:
        for listener, connections in self.connections.items():
            for kind, count in kinds:
                yield (listener, kind), count(connections)


def _parts(family: _Family, row: Row, metrics: Iterable[tuple[Any, ...]]) -> Iterator[Metric]:
    """A family of metrics, each as its `add_metric` takes it."""
    part = family(PREFIX + row.name, row.help, labels=row.labels)
    for metric in metrics:
        part.add_metric(*metric)
        if len(part.samples) >= PART:
            yield part
            part = family(PREFIX + row.name, row.help, labels=row.labels)
    yield part
