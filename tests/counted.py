"""Metrics on their own: of a few endpoints, with any records, and what a scraper is sent of them."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from hypothesis import strategies as st

from gateway.errors import REASONS
from gateway.limiter import Limiter
from gateway.metrics import READINGS, Exposition, Metrics, Readings
from gateway.models import Connections, Failover, Record, Statistics, Unseen

ENDPOINTS = ("resnet", "bert")
LISTENERS = ("listen", "admin")
OPERATIONS = ("InvokeEndpoint", "InvokeEndpointAsync")
ERRORS = ("ModelError", "ThrottlingException", "_other")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
"""The header `Accept` of a scraper that prefers it."""

RECORD = Record(
    request_id="the-request",
    aws_request_id=None,
    method="POST",
    path="/endpoints/resnet/invocations",
    remote="127.0.0.1",
    caller=None,
    endpoint="resnet",
    operation="InvokeEndpoint",
    status=200,
    reason=None,
    upstream_error=None,
    duration=3.0,
    queue=0.0,
    first_byte=1.0,
    upstream=2.0,
    bytes_in=2,
    bytes_out=2,
    orphaned=False,
)

SECONDS = st.floats(0, 1000)
MAYBE_SECONDS = st.none() | SECONDS
TIMES: dict[str, st.SearchStrategy[Any]] = {
    "duration": SECONDS,
    "queue": MAYBE_SECONDS,
    "first_byte": MAYBE_SECONDS,
    "upstream": MAYBE_SECONDS,
}
OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "request_id": st.text(),
    "aws_request_id": st.none() | st.text(),
    "method": st.text(),
    "path": st.text(),
    "remote": st.none() | st.text(),
    "status": st.integers(100, 999) | st.sampled_from([200, 404, 424, 429, 499, 503]),
    "reason": st.none() | st.sampled_from(REASONS),
    "bytes_in": st.integers(0),
    "bytes_out": st.integers(0),
    "orphaned": st.booleans(),
}
GONE_ON = st.builds(
    Failover,
    endpoint=st.sampled_from(ENDPOINTS),
    reason=st.sampled_from(Unseen),
    upstream_error=st.none() | st.sampled_from(ERRORS),
)
RECORDS = st.one_of(
    st.builds(
        Record,
        endpoint=st.sampled_from(ENDPOINTS),
        failovers=st.lists(GONE_ON, max_size=4).map(tuple),
        joined=st.booleans(),
        operation=st.sampled_from(OPERATIONS),
        upstream_error=st.none() | st.sampled_from(ERRORS),
        **TIMES,
        **OTHERS,
    ),
    st.builds(
        Record,
        endpoint=st.none(),
        failovers=st.just(()),
        joined=st.just(value=False),
        operation=st.none(),
        upstream_error=st.none(),
        **TIMES,
        **OTHERS,
    ),
)


def quiet(endpoints: Collection[str]) -> tuple[dict[str, Callable[[], Statistics]], Readings]:
    """Statistics and readings of endpoints at which nothing happens."""
    statistics = {name: Limiter(capacity=1, max_waiting=1).statistics for name in endpoints}
    return statistics, {row: {name: partial(float, 0) for name in endpoints} for row in READINGS}


def make(
    statistics: Mapping[str, Callable[[], Statistics]] | None = None,
    readings: Readings | None = None,
    endpoints: Collection[str] = ENDPOINTS,
) -> Metrics:
    """Metrics of two endpoints, or others, and of two listeners."""
    usual = quiet(endpoints)
    metrics = Metrics(
        version="1.2.3",
        readings=readings or usual[1],
        statistics=statistics or usual[0],
        operations=OPERATIONS,
        errors=ERRORS,
    )
    metrics.watch({name: partial(Connections, 0, 0, 0, 0, 0, 0) for name in LISTENERS})
    return metrics


def told(metrics: Metrics, accept: str, names: Collection[str] | None = None) -> str:
    """What a scraper is sent."""
    _, text = asyncio.run(Exposition(metrics.look)(accept, names))
    return text.decode()
