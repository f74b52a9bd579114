"""What is asked when Prometheus asks: limiters, fleets, health, connections."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.metrics.table import (
    CLOSING_REASONS,
    CONNECTION_STATES,
    CONNECTIONS,
    CONNECTIONS_CLOSED,
    PREFIX,
    STATE,
    Row,
)
from gateway.models import Connections, Statistics

Readings: TypeAlias = Mapping[Row, Mapping[str, Callable[[], float]]]
"""For each row of `READINGS`, its value by endpoint."""


class StateCollector(Collector):
    """Asks limiters, fleets and health.

    Args:
        statistics: by endpoint, its limiter's statistics.
        readings: likewise, all else.
    """

    def __init__(self, statistics: Mapping[str, Callable[[], Statistics]], readings: Readings) -> None:
        self.statistics = statistics
        self.readings = readings

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """A family for each row."""
        now = {endpoint: statistics() for endpoint, statistics in self.statistics.items()}
        for row, value in STATE:
            family = GaugeMetricFamily(PREFIX + row.name, row.help, labels=row.labels)
            for endpoint, statistics in now.items():
                family.add_metric([endpoint], value(statistics))
            yield family
        for row, by_endpoint in self.readings.items():
            family = GaugeMetricFamily(PREFIX + row.name, row.help, labels=row.labels)
            for endpoint, read in by_endpoint.items():
                family.add_metric([endpoint], read())
            yield family


class ConnectionCollector(Collector):
    """Asks listeners.

    Attributes:
        connections: by listener, what has become of its connections.
    """

    def __init__(self) -> None:
        self.connections: Mapping[str, Callable[[], Connections]] = {}

    def collect(self) -> Iterator[Metric]:
        """Both families."""
        now = {listener: connections() for listener, connections in self.connections.items()}
        gauge = GaugeMetricFamily(PREFIX + CONNECTIONS.name, CONNECTIONS.help, labels=CONNECTIONS.labels)
        counter = CounterMetricFamily(
            PREFIX + CONNECTIONS_CLOSED.name, CONNECTIONS_CLOSED.help, labels=CONNECTIONS_CLOSED.labels
        )
        for listener, connections in now.items():
            for state, count in CONNECTION_STATES:
                gauge.add_metric([listener, state], count(connections))
            for reason, count in CLOSING_REASONS:
                counter.add_metric([listener, reason], count(connections))
        yield gauge
        yield counter
