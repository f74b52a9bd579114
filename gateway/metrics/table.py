"""The table of metrics: what there is, by name, help and labels."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.models import Connections, Statistics

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
CONNECTIONS = Row("connections", "Connections that are open, by whether a request is on them.", ("listener", "state"))
CONNECTION_STATES: tuple[tuple[str, Callable[[Connections], int]], ...] = (
    ("busy", lambda c: c.open - c.idle),
    ("idle", lambda c: c.idle),
)
CONNECTIONS_CLOSED = Row(
    "connections_closed", "Connections that the gateway closed before their callers did.", ("listener", "reason")
)
CLOSING_REASONS: tuple[tuple[str, Callable[[Connections], int]], ...] = (
    ("refused", lambda c: c.refused),
    ("evicted", lambda c: c.evicted),
    ("slow", lambda c: c.slow),
    ("stalled", lambda c: c.stalled),
)

COUNTERS = (REQUESTS, REFUSALS, UPSTREAM_ERRORS, FAILOVERS, JOINS, CONNECTIONS_CLOSED)
HISTOGRAMS = (REQUEST_DURATION, QUEUE_WAIT, UPSTREAM_DURATION, UPSTREAM_FIRST_BYTE)
GAUGES = (*(row for row, _ in STATE), *READINGS, CONNECTIONS, BUILD_INFO)
