"""Prometheus metrics: one frozen record per request, and the limiters' statistics at scrape time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.errors import REASONS
from gateway.models import Failover, Record, Statistics, Unseen

PREFIX = "sagemaker_gateway_"
UNKNOWN = "_unknown"
"""The endpoint and the operation of a request that leads to none."""

OTHER_CODE = "_other"
# 499 is a caller that hung up before the answer, as NGINX counts it.
CODES = (200, 400, 403, 404, 405, 408, 413, 415, 417, 424, 429, 499, 500, 501, 502, 503, 504, 505, 530)
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 75, 120, 300, 600)
"""Seconds. They reach past SageMaker's limit of 60."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table of metrics: name without the prefix, help, labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ("endpoint",)


REQUESTS = Row(
    "requests", "Requests answered, by HTTP status; 499 is a caller that hung up.", ("endpoint", "operation", "code")
)
REFUSALS = Row("refusals", "Requests that the gateway itself refused.", ("endpoint", "reason"))
UPSTREAM_ERRORS = Row("upstream_errors", "Errors that SageMaker answered, by its error code.", ("endpoint", "error"))
FAILOVERS = Row(
    "failovers", "Callers that went on, because no model of the endpoint would see their call.", ("endpoint", "reason")
)
JOINS = Row("joins", "Retries of an SDK that joined the call of an earlier attempt, in place of another call.")
REQUEST_DURATION = Row("request_duration_seconds", "From a request's headers to its answer.")
QUEUE_WAIT = Row("queue_wait_seconds", "Time that calls waited for a permit.")
UPSTREAM_DURATION = Row("upstream_duration_seconds", "From dispatch to the last byte of SageMaker's answer.")
UPSTREAM_FIRST_BYTE = Row("upstream_first_byte_seconds", "From dispatch to the first byte of SageMaker's answer.")
BUILD_INFO = Row("build_info", "Always 1; the label tells the version.", ("version",))
INSTANCES = Row("instances", "Instances that serve the endpoint.")

STATE: tuple[tuple[Row, Callable[[Statistics], float]], ...] = (
    (Row("capacity", "Calls that may run at once."), lambda s: s.capacity),
    (Row("running", "Calls that run, orphaned ones included."), lambda s: s.running),
    (Row("orphaned", "Running calls whose caller has gone."), lambda s: s.orphaned),
    (Row("cooling", "Permits kept after a call was given up, because its model may still run."), lambda s: s.cooling),
    (Row("waiting", "Callers in the queue."), lambda s: s.waiting),
    (Row("oldest_waiter_seconds", "How long the first in the queue has waited."), lambda s: s.oldest_waiter_seconds),
)
FLEET_UNREADABLE = Row("fleet_unreadable", "1 while the last reading of the fleet failed; its last size is kept.")
FLEET_PROBING = Row("fleet_probing", "1 while the fleet has no room, or is not known: one call at a time tries.")
ROUTING_WARNING = Row("routing_warning", "1 where the endpoint's routing does not keep calls apart; /status says why.")
EJECTED = Row("ejected", "1 while the endpoint is left out, because call after call could not reach it.")
NO_CAPACITY = Row("no_capacity", "1 while SageMaker says that the endpoint has no capacity: one call at a time tries.")
CREDENTIALS_UNUSABLE = Row("credentials_unusable", "1 while there is nothing to sign the endpoint's calls with.")
READINGS = (
    INSTANCES,
    FLEET_UNREADABLE,
    FLEET_PROBING,
    ROUTING_WARNING,
    EJECTED,
    NO_CAPACITY,
    CREDENTIALS_UNUSABLE,
)
COUNTERS = (REQUESTS, REFUSALS, UPSTREAM_ERRORS, FAILOVERS, JOINS)
HISTOGRAMS = (REQUEST_DURATION, QUEUE_WAIT, UPSTREAM_DURATION, UPSTREAM_FIRST_BYTE)
GAUGES = (*(row for row, _ in STATE), *READINGS, BUILD_INFO)


Readings: TypeAlias = Mapping[Row, Mapping[str, Callable[[], float]]]


class _StateCollector(Collector):
    """Asks limiters, fleets and health when Prometheus asks."""

    def __init__(self, statistics: Mapping[str, Callable[[], Statistics]], readings: Readings) -> None:
        self.statistics = statistics
        self.readings = readings

    def collect(self) -> Iterator[GaugeMetricFamily]:
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
        self._state = _StateCollector(statistics, readings)
        registry.register(self._state)
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
