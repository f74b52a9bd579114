"""Metrics: the promised names, all series from the start, none from a caller, and counts that add up."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from gateway.errors import REASONS
from gateway.metrics import READINGS, Metrics
from gateway.models import Connections, Failover, Record, Statistics, Unseen
from tests.counted import (
    ENDPOINTS,
    ERRORS,
    LISTENERS,
    OPENMETRICS,
    OPERATIONS,
    RECORD,
    RECORDS,
    make,
    quiet,
    told,
)

PREFIX = "sagemaker_gateway_"
UNKNOWN = "_unknown"
FAILOVERS = ("unreachable", "throttled", "not_ready", "no_capacity", "credentials", "queue_full")
CODES = [
    *map(str, (200, 400, 403, 404, 405, 408, 413, 415, 417, 424, 429, 499, 500, 501, 502, 503, 504, 505, 530)),
    "_other",
]
BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 75, 120, 300, 600, float("inf")]

TABLE = {
    "requests": ("counter", {"endpoint", "operation", "code"}),
    "request_duration_seconds": ("histogram", {"endpoint"}),
    "queue_wait_seconds": ("histogram", {"endpoint"}),
    "upstream_duration_seconds": ("histogram", {"endpoint"}),
    "upstream_first_byte_seconds": ("histogram", {"endpoint"}),
    "refusals": ("counter", {"endpoint", "reason"}),
    "upstream_errors": ("counter", {"endpoint", "error"}),
    "failovers": ("counter", {"endpoint", "reason"}),
    "joins": ("counter", {"endpoint"}),
    "capacity": ("gauge", {"endpoint"}),
    "instances": ("gauge", {"endpoint"}),
    "fleet_unreadable": ("gauge", {"endpoint"}),
    "fleet_probing": ("gauge", {"endpoint"}),
    "routing_warning": ("gauge", {"endpoint"}),
    "ejected": ("gauge", {"endpoint"}),
    "no_capacity": ("gauge", {"endpoint"}),
    "credentials_unusable": ("gauge", {"endpoint"}),
    "running": ("gauge", {"endpoint"}),
    "orphaned": ("gauge", {"endpoint"}),
    "cooling": ("gauge", {"endpoint"}),
    "waiting": ("gauge", {"endpoint"}),
    "oldest_waiter_seconds": ("gauge", {"endpoint"}),
    "connections": ("gauge", {"listener", "state"}),
    "connections_closed": ("counter", {"listener", "reason"}),
    "build_info": ("gauge", {"version"}),
}
"""Type and labels of every metric that is promised."""

Series = tuple[str, frozenset[tuple[str, str]]]
Changes = dict[tuple[str, ...], float]

LOST = replace(
    RECORD,
    endpoint=None,
    operation=None,
    status=404,
    reason="unknown_route",
    queue=None,
    first_byte=None,
    upstream=None,
)


def by_text(metrics: Metrics) -> Iterable[Metric]:
    """What Prometheus reads in its own format."""
    return list(parser.text_string_to_metric_families(told(metrics, "")))


def by_openmetrics(metrics: Metrics) -> Iterable[Metric]:
    """What Prometheus reads in OpenMetrics, whose parser refuses whatever is not to the letter."""
    return list(openmetrics_parser.text_string_to_metric_families(told(metrics, OPENMETRICS)))  # type: ignore[no-untyped-call]


def samples(metrics: Metrics) -> dict[Series, float]:
    """All of our own samples."""
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
        for family in by_openmetrics(metrics)
        for sample in family.samples
        if sample.name.startswith(PREFIX)
    }


def changes(before: Mapping[Series, float], after: Mapping[Series, float]) -> Changes:
    """What has changed, without buckets: name and values of labels, by name of label."""
    return {
        (name, *(value for _, value in sorted(labels))): after[name, labels] - before[name, labels]
        for name, labels in after
        if after[name, labels] != before[name, labels] and not name.endswith("_bucket")
    }


@pytest.mark.parametrize("read", [by_text, by_openmetrics])
def test_prometheus_reads_the_promised_metrics(read: Callable[[Metrics], Iterable[Metric]]) -> None:
    """In both formats: name, type and labels of each, a text of help, and nothing of our own beside them."""
    found = {
        family.name.removeprefix(PREFIX): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in read(make())
        if family.name.startswith(PREFIX)
    }
    assert found == TABLE
    assert [family.name for family in read(make()) if family.name.startswith(PREFIX) and not family.documentation] == []


def test_process_platform_and_garbage_collector_are_there_too() -> None:
    """What every Python service shows."""
    names = {family.name for family in by_openmetrics(make())}
    assert {"process_cpu_seconds", "process_open_fds", "python_info", "python_gc_collections"} <= names


def combined(name: str, **labels: Iterable[str]) -> set[Series]:
    """The series of one name, for all combinations of these values of labels."""
    return {(name, frozenset(zip(labels, values, strict=True))) for values in product(*labels.values())}


def test_every_series_exists_from_the_start() -> None:
    """So that the first event is a rise from 0 and not a series that appears: each combination of labels, once."""
    everywhere = (*ENDPOINTS, UNKNOWN)
    histograms = [name for name, (kind, _) in TABLE.items() if kind == "histogram"]
    gauges = [name for name, (kind, labels) in TABLE.items() if kind == "gauge" and "endpoint" in labels]
    bounds = ["+Inf", *(str(float(bound)) for bound in BUCKETS[:-1])]
    assert set(samples(make())) == set().union(
        combined("requests_total", endpoint=ENDPOINTS, operation=OPERATIONS, code=CODES),
        combined("requests_total", endpoint=[UNKNOWN], operation=[UNKNOWN], code=CODES),
        combined("refusals_total", endpoint=everywhere, reason=REASONS),
        combined("upstream_errors_total", endpoint=ENDPOINTS, error=ERRORS),
        combined("failovers_total", endpoint=everywhere, reason=FAILOVERS),
        combined("joins_total", endpoint=everywhere),
        *(combined(f"{name}_{part}", endpoint=everywhere) for name in histograms for part in ("count", "sum")),
        *(combined(f"{name}_bucket", endpoint=everywhere, le=bounds) for name in histograms),
        *(combined(name, endpoint=ENDPOINTS) for name in gauges),
        combined("connections", listener=LISTENERS, state=["busy", "idle"]),
        combined("connections_closed_total", listener=LISTENERS, reason=["refused", "evicted", "slow", "stalled"]),
        combined("build_info", version=["1.2.3"]),
    )


def test_nothing_is_counted_before_the_first_request() -> None:
    """All counters and histograms begin at 0."""
    gauges = {name for name, (kind, _) in TABLE.items() if kind == "gauge"}
    assert {value for (name, _), value in samples(make()).items() if name not in gauges} == {0.0}


def test_gauges_ask_the_limiters_at_scrape_time() -> None:
    """Each shows the state of that moment, of its own endpoint."""
    now = {"resnet": Statistics(4, 3, 2, 1, 7, 1.5), "bert": Statistics(1, 0, 0, 0, 0, 0.0)}
    metrics = make({name: lambda name=name: now[name] for name in ENDPOINTS})  # type: ignore[misc]

    def shown(endpoint: str) -> list[float]:
        found = samples(metrics)
        names = ["capacity", "running", "orphaned", "cooling", "waiting", "oldest_waiter_seconds"]
        return [found[name, frozenset({("endpoint", endpoint)})] for name in names]

    assert (shown("resnet"), shown("bert")) == ([4, 3, 2, 1, 7, 1.5], [1, 0, 0, 0, 0, 0])
    now["bert"] = Statistics(2, 1, 0, 0, 0, 0.25)
    assert shown("bert") == [2, 1, 0, 0, 0, 0.25]
    assert samples(metrics)["build_info", frozenset({("version", "1.2.3")})] == 1


def test_gauges_ask_fleets_and_health_at_scrape_time() -> None:
    """Each shows its own reading of that moment, of its own endpoint."""
    names = [
        *("instances", "fleet_unreadable", "fleet_probing", "routing_warning"),
        *("ejected", "no_capacity", "credentials_unusable"),
    ]
    now = {(name, endpoint): float(10 * number) for number, name in enumerate(names) for endpoint in ENDPOINTS}
    metrics = make(
        readings={row: {name: partial(lambda *key: now[key], row.name, name) for name in ENDPOINTS} for row in READINGS}
    )

    def shown() -> dict[tuple[str, str], float]:
        found = samples(metrics)
        return {key: found[key[0], frozenset({("endpoint", key[1])})] for key in now}

    assert [row.name for row in READINGS] == names
    for number, key in enumerate(now):
        now[key] = float(number)
        assert shown() == now


def test_connections_are_asked_for_at_scrape_time() -> None:
    """Those of each listener: how many are open, by whether they are busy, and why others were closed."""
    now = {"listen": Connections(open=7, idle=3, refused=1, evicted=2, slow=5, stalled=6)}
    metrics = make()
    metrics.watch({"listen": lambda: now["listen"]})

    def shown() -> dict[tuple[str, ...], float]:
        return {
            (name, *(value for _, value in sorted(labels))): value
            for (name, labels), value in samples(metrics).items()
            if name.startswith("connections")
        }

    assert shown() == {
        ("connections", "listen", "busy"): 4,
        ("connections", "listen", "idle"): 3,
        ("connections_closed_total", "listen", "refused"): 1,
        ("connections_closed_total", "listen", "evicted"): 2,
        ("connections_closed_total", "listen", "slow"): 5,
        ("connections_closed_total", "listen", "stalled"): 6,
    }
    now["listen"] = replace(now["listen"], idle=7)
    assert shown()["connections", "listen", "busy"] == 0


DONE: Changes = {
    ("request_duration_seconds_count", "resnet"): 1,
    ("request_duration_seconds_sum", "resnet"): 3,
}
CALLED: Changes = {
    **DONE,
    ("queue_wait_seconds_count", "resnet"): 1,
    ("upstream_duration_seconds_count", "resnet"): 1,
    ("upstream_duration_seconds_sum", "resnet"): 2,
}
ANSWERED: Changes = {
    **CALLED,
    ("upstream_first_byte_seconds_count", "resnet"): 1,
    ("upstream_first_byte_seconds_sum", "resnet"): 1,
}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (RECORD, {**ANSWERED, ("requests_total", "200", "resnet", "InvokeEndpoint"): 1}),
        (
            replace(RECORD, status=424, upstream_error="ModelError", queue=0.5),
            {
                **ANSWERED,
                ("queue_wait_seconds_sum", "resnet"): 0.5,
                ("requests_total", "424", "resnet", "InvokeEndpoint"): 1,
                ("upstream_errors_total", "resnet", "ModelError"): 1,
            },
        ),
        (
            replace(RECORD, status=424, reason="timeout", first_byte=None),
            {
                **CALLED,
                ("requests_total", "424", "resnet", "InvokeEndpoint"): 1,
                ("refusals_total", "resnet", "timeout"): 1,
            },
        ),
        (
            replace(RECORD, status=413, reason="too_large", first_byte=None, upstream=None, queue=None),
            {
                **DONE,
                ("requests_total", "413", "resnet", "InvokeEndpoint"): 1,
                ("refusals_total", "resnet", "too_large"): 1,
            },
        ),
        (
            replace(RECORD, status=499, orphaned=True),
            {**ANSWERED, ("requests_total", "499", "resnet", "InvokeEndpoint"): 1},
        ),
        (
            replace(
                RECORD,
                failovers=(
                    Failover("bert", Unseen.THROTTLED, "ThrottlingException"),
                    Failover("bert", Unseen.QUEUE_FULL, None),
                    Failover("resnet", Unseen.NO_CAPACITY, "_other"),
                    Failover("resnet", Unseen.NO_CAPACITY, "_other"),
                ),
            ),
            {
                **ANSWERED,
                ("requests_total", "200", "resnet", "InvokeEndpoint"): 1,
                ("failovers_total", "bert", "throttled"): 1,
                ("failovers_total", "bert", "queue_full"): 1,
                ("failovers_total", "resnet", "no_capacity"): 2,
                ("upstream_errors_total", "bert", "ThrottlingException"): 1,
                ("upstream_errors_total", "resnet", "_other"): 2,
            },
        ),
        (
            replace(RECORD, joined=True),
            {**ANSWERED, ("requests_total", "200", "resnet", "InvokeEndpoint"): 1, ("joins_total", "resnet"): 1},
        ),
        (replace(RECORD, status=207), {**ANSWERED, ("requests_total", "_other", "resnet", "InvokeEndpoint"): 1}),
        (
            LOST,
            {
                ("request_duration_seconds_count", UNKNOWN): 1,
                ("request_duration_seconds_sum", UNKNOWN): 3,
                ("requests_total", "404", UNKNOWN, UNKNOWN): 1,
                ("refusals_total", UNKNOWN, "unknown_route"): 1,
            },
        ),
    ],
    ids=[
        "answered",
        "error of SageMaker",
        "given up",
        "refused",
        "caller gone",
        "gone on",
        "joined",
        "unknown status",
        "no endpoint",
    ],
)
def test_one_request_counts_where_it_belongs_and_nowhere_else(record: Record, expected: Changes) -> None:
    """Counts and sums of exactly these series rise."""
    metrics = make()
    before = samples(metrics)
    metrics.count([record])
    assert changes(before, samples(metrics)) == expected


@pytest.mark.parametrize("seconds", BUCKETS[:-1])
def test_a_duration_falls_into_its_bucket(seconds: float) -> None:
    """A bucket's bound belongs to it; buckets are the promised ones, which reach past the 60 s of SageMaker."""
    metrics = make()
    metrics.count([replace(RECORD, duration=seconds)])
    found = samples(metrics)
    counts = {
        float(dict(labels)["le"]): value
        for (name, labels), value in found.items()
        if name == "request_duration_seconds_bucket" and ("endpoint", "resnet") in labels
    }
    assert counts == {bucket: float(bucket >= seconds) for bucket in BUCKETS}


@settings(max_examples=40, deadline=None)
@given(st.lists(RECORDS, max_size=30))
def test_whatever_is_recorded_adds_up_and_adds_no_series(records: list[Record]) -> None:
    """Sums over all labels are the numbers of records, and no caller, path or status makes a series of its own."""
    metrics = make()
    before = samples(metrics)
    for record in records:
        metrics.count([record])
    after = samples(metrics)
    assert set(after) == set(before)
    totals: Counter[str] = Counter()
    for (name, _), value in after.items():
        if name.endswith(("_total", "_count")):
            totals[name] += int(value)
    assert totals == Counter(
        requests_total=len(records),
        refusals_total=sum(record.reason is not None for record in records),
        upstream_errors_total=sum(record.upstream_error is not None for record in records)
        + sum(failover.upstream_error is not None for record in records for failover in record.failovers),
        failovers_total=sum(len(record.failovers) for record in records),
        joins_total=sum(record.joined for record in records),
        request_duration_seconds_count=len(records),
        queue_wait_seconds_count=sum(record.queue is not None for record in records),
        upstream_duration_seconds_count=sum(record.upstream is not None for record in records),
        upstream_first_byte_seconds_count=sum(record.first_byte is not None for record in records),
    )


def test_endpoints_come_and_go_with_all_of_their_series() -> None:
    """What comes has all series at once, and what goes leaves none, also where a late request still ends."""
    metrics = make()
    before = set(samples(metrics))
    metrics.count([RECORD])
    kept, gone = "bert", RECORD.endpoint
    assert {*ENDPOINTS} == {kept, gone}

    metrics.replace(*quiet((kept, "yolo")))
    metrics.count([replace(RECORD, failovers=(Failover("resnet", Unseen.THROTTLED, ERRORS[0]),))])
    metrics.count([replace(RECORD, endpoint=kept, failovers=(Failover("resnet", Unseen.THROTTLED, ERRORS[0]),))])

    named = {
        (name, frozenset((k, "resnet" if v == "yolo" else v) for k, v in labels)) for name, labels in samples(metrics)
    }
    assert named == before
    assert not [labels for _, labels in samples(metrics) if ("endpoint", "resnet") in labels]
    metrics.replace({}, {})
    assert {dict(labels).get("endpoint") for _, labels in samples(metrics)} <= {None, "_unknown"}


def test_two_gateways_in_one_process_do_not_share_counts() -> None:
    """The registry is its own, not the process's."""
    first, second = make(), make()
    first.count([RECORD])
    key = ("requests_total", frozenset({("endpoint", "resnet"), ("operation", "InvokeEndpoint"), ("code", "200")}))
    assert (samples(first)[key], samples(second)[key]) == (1, 0)
