"""Prometheus metrics: one frozen record per request, and all that has a state at scrape time."""

from gateway.metrics.exposition import Exposition
from gateway.metrics.recording import Metrics
from gateway.metrics.snapshot import Readings, Snapshot
from gateway.metrics.table import (
    BUCKETS,
    COUNTERS,
    CREDENTIALS_UNUSABLE,
    EJECTED,
    FLEET_PROBING,
    FLEET_UNREADABLE,
    GAUGES,
    HISTOGRAMS,
    INSTANCES,
    NO_CAPACITY,
    READINGS,
    ROUTING_WARNING,
    Row,
)

__all__ = [
    "BUCKETS",
    "COUNTERS",
    "CREDENTIALS_UNUSABLE",
    "EJECTED",
    "FLEET_PROBING",
    "FLEET_UNREADABLE",
    "GAUGES",
    "HISTOGRAMS",
    "INSTANCES",
    "NO_CAPACITY",
    "READINGS",
    "ROUTING_WARNING",
    "Exposition",
    "Metrics",
    "Readings",
    "Row",
    "Snapshot",
]
