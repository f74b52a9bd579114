"""The registry, and the hook that fills it: one frozen record per request."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from gateway.errors import REASONS
from gateway.metrics.collectors import ConnectionCollector, Readings, StateCollector
from gateway.metrics.table import (
    BUCKETS,
    BUILD_INFO,
    CODES,
    FAILOVERS,
    JOINS,
    OTHER_CODE,
    PREFIX,
    QUEUE_WAIT,
    REFUSALS,
    REQUEST_DURATION,
    REQUESTS,
    UNKNOWN,
    UPSTREAM_DURATION,
    UPSTREAM_ERRORS,
    UPSTREAM_FIRST_BYTE,
    Row,
)
from gateway.models import Connections, Failover, Record, Statistics, Unseen


class _EndpointSeries:
    """The series of one endpoint, looked up once. They exist from the start, so that rates see the first event."""

    def __init__(self, metrics: "Metrics", endpoint: str, operations: Iterable[str], errors: Iterable[str]) -> None:
        self._endpoint = endpoint
        self._made: list[tuple[Counter | Histogram, tuple[str, ...]]] = []
        self.requests = {
            operation: {code: self._counter(metrics.requests, operation, str(code)) for code in (*CODES, OTHER_CODE)}
            for operation in operations
        }
        self.refusals = {reason: self._counter(metrics.refusals, reason) for reason in REASONS}
        self.upstream_errors = {error: self._counter(metrics.upstream_errors, error) for error in errors}
        self.failovers = {reason: self._counter(metrics.failovers, reason.value) for reason in Unseen}
        self.joins = self._counter(metrics.joins)
        self.request_duration = self._histogram(metrics.request_duration)
        self.queue_wait = self._histogram(metrics.queue_wait)
        self.upstream_duration = self._histogram(metrics.upstream_duration)
        self.upstream_first_byte = self._histogram(metrics.upstream_first_byte)

    def remove(self) -> None:
        """Let them exist no longer."""
        for metric, labels in self._made:
            metric.remove(*labels)

    def _counter(self, metric: Counter, *labels: str) -> Callable[[], None]:
        self._made.append((metric, (self._endpoint, *labels)))
        return metric.labels(self._endpoint, *labels).inc

    def _histogram(self, metric: Histogram) -> Callable[[float], None]:
        self._made.append((metric, (self._endpoint,)))
        return metric.labels(self._endpoint).observe


class Metrics:
    """The registry, and the hook that fills it.

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
        self.registry = registry = CollectorRegistry(auto_describe=True)
        self.requests = self._counter(REQUESTS)
        self.refusals = self._counter(REFUSALS)
        self.upstream_errors = self._counter(UPSTREAM_ERRORS)
        self.failovers = self._counter(FAILOVERS)
        self.joins = self._counter(JOINS)
        self.request_duration = self._histogram(REQUEST_DURATION)
        self.queue_wait = self._histogram(QUEUE_WAIT)
        self.upstream_duration = self._histogram(UPSTREAM_DURATION)
        self.upstream_first_byte = self._histogram(UPSTREAM_FIRST_BYTE)
        self._gauge(BUILD_INFO).labels(version).set(1)
        self._state, self._connections = StateCollector(statistics, readings), ConnectionCollector()
        registry.register(self._state)
        registry.register(self._connections)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._operations, self._errors = tuple(operations), tuple(errors)
        self._series: dict[str, _EndpointSeries] = {}
        self._unknown = _EndpointSeries(self, UNKNOWN, (UNKNOWN,), ())
        self.replace(statistics, readings)

    def replace(self, statistics: Mapping[str, Callable[[], Statistics]], readings: Readings) -> None:
        """From now on these endpoints. All series of others are gone at once, and those of new ones exist at once."""
        self._state.statistics, self._state.readings = statistics, readings
        for endpoint in [endpoint for endpoint in self._series if endpoint not in statistics]:
            self._series.pop(endpoint).remove()
        for endpoint in statistics:
            if endpoint not in self._series:
                self._series[endpoint] = _EndpointSeries(self, endpoint, self._operations, self._errors)

    def watch(self, connections: Mapping[str, Callable[[], Connections]]) -> None:
        """From now on show what becomes of these listeners' connections, by listener."""
        self._connections.connections = connections

    def __call__(self, record: Record) -> None:
        """Count one request."""
        for failover in record.failovers:
            self._count(failover)
        series = self._unknown if record.endpoint is None else self._series.get(record.endpoint)
        if series is None:
            return  # the endpoint has left the config, and its series with it
        codes = series.requests[record.operation or UNKNOWN]
        codes.get(record.status, codes[OTHER_CODE])()
        series.request_duration(record.duration)
        if record.reason is not None:
            series.refusals[record.reason]()
        if record.queue is not None:
            series.queue_wait(record.queue)
        if record.upstream is not None:
            series.upstream_duration(record.upstream)
        if record.first_byte is not None:
            series.upstream_first_byte(record.first_byte)
        if record.upstream_error is not None:
            series.upstream_errors[record.upstream_error]()
        if record.joined:
            series.joins()

    def _count(self, failover: Failover) -> None:
        left = self._series.get(failover.endpoint)
        if left is not None:
            left.failovers[failover.reason]()
            if failover.upstream_error is not None:
                left.upstream_errors[failover.upstream_error]()

    def _counter(self, row: Row) -> Counter:
        return Counter(PREFIX + row.name, row.help, row.labels, registry=self.registry)

    def _histogram(self, row: Row) -> Histogram:
        return Histogram(PREFIX + row.name, row.help, row.labels, registry=self.registry, buckets=BUCKETS)

    def _gauge(self, row: Row) -> Gauge:
        return Gauge(PREFIX + row.name, row.help, row.labels, registry=self.registry)
