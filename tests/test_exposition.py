"""A scrape: the counts as they were at one moment, written while others come in, and without holding them up."""

import asyncio
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

import prometheus_client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gateway.metrics import BUCKETS, Exposition
from gateway.models import Record
from tests.counted import OPENMETRICS, RECORD, RECORDS, make, quiet, told

PREFIX = "sagemaker_gateway_"
MANY = [f"endpoint-{number}" for number in range(120)]
"""So many that every family is written in several parts."""

Values = dict[tuple[str, tuple[str, ...]], float]


def values(families: Collection[Metric]) -> Values:
    """Every sample of ours that is not 0, by its name and the values of its labels, by name of label."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.value and sample.name.startswith(PREFIX) and not sample.name.endswith("_created")
    }


class Reference:
    """The counts as `prometheus_client` keeps them itself."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("requests", "endpoint", "operation", "code")
        self._refusals = self._counter("refusals", "endpoint", "reason")
        self._errors = self._counter("upstream_errors", "endpoint", "error")
        self._failovers = self._counter("failovers", "endpoint", "reason")
        self._joins = self._counter("joins", "endpoint")
        self._times = {
            name: prometheus_client.Histogram(
                f"{PREFIX}{metric}_seconds", "-", ["endpoint"], registry=self.registry, buckets=BUCKETS
            )
            for name, metric in (
                ("duration", "request_duration"),
                ("queue", "queue_wait"),
                ("upstream", "upstream_duration"),
                ("first_byte", "upstream_first_byte"),
            )
        }

    def _counter(self, name: str, *labels: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(PREFIX + name, "-", labels, registry=self.registry)

    def __call__(self, record: Record, codes: Collection[str]) -> None:
        """Count one request."""
        endpoint = record.endpoint or "_unknown"
        code = str(record.status) if str(record.status) in codes else "_other"
        self._requests.labels(endpoint, record.operation or "_unknown", code).inc()
        if record.reason:
            self._refusals.labels(endpoint, record.reason).inc()
        if record.upstream_error:
            self._errors.labels(endpoint, record.upstream_error).inc()
        if record.joined:
            self._joins.labels(endpoint).inc()
        for failover in record.failovers:
            self._failovers.labels(failover.endpoint, failover.reason.value).inc()
            if failover.upstream_error:
                self._errors.labels(failover.endpoint, failover.upstream_error).inc()
        for name, histogram in self._times.items():
            if (seconds := getattr(record, name)) is not None:
                histogram.labels(endpoint).observe(seconds)


def own(text: str) -> Values:
    """The counts in the plain text of a scrape; what is asked for when it is scraped is left out."""
    found = values(list(text_string_to_metric_families(text)))
    return {key: value for key, value in found.items() if key[0].endswith(("_total", "_bucket", "_count", "_sum"))}


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, max_size=30))
def test_whatever_is_recorded_is_counted_as_prometheus_client_counts_it(records: list[Record]) -> None:
    """Counters, buckets and sums of any records, to the last bit of each."""
    metrics, reference = make(), Reference()
    codes = {
        sample.labels["code"]
        for family in text_string_to_metric_families(told(metrics, ""))
        for sample in family.samples
        if "code" in sample.labels
    }
    for record in records:
        metrics.count([record])
        reference(record, codes)

    assert own(told(metrics, "")) == values(list(reference.registry.collect()))


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "text/plain; version=1.0.0; escaping=values",
        OPENMETRICS,
        "application/openmetrics-text; version=2.0.0; escaping=allow-utf-8",
    ],
)
def test_a_scrape_reads_as_if_it_had_been_written_at_once(accept: str) -> None:
    """Each family begins once, in whatever form, and ends where the next one begins, however many endpoints it has."""
    metrics = make(endpoints=MANY)
    encode, _ = choose_encoder(accept)
    whole = encode(Whole(asyncio.run(metrics.look()))).decode()

    ours = told(metrics, accept)

    assert ours.startswith(whole.removesuffix("# EOF\n"))
    assert ours.endswith("# EOF\n") == whole.endswith("# EOF\n")


@dataclass
class Whole(Collector):
    """What a collector tells, with the parts of each family put together."""

    source: Collector

    def collect(self) -> list[Metric]:
        """Each once."""
        families: dict[str, Metric] = {}
        for part in self.source.collect():
            family = families.setdefault(part.name, Metric(part.name, part.documentation, part.type))
            family.samples += part.samples
        return list(families.values())


def test_a_part_of_the_samples_can_be_asked_for() -> None:
    """Those of some names, in both forms; where there is none of them, nothing."""
    metrics = make(endpoints=MANY)
    metrics.count([replace(RECORD, endpoint=MANY[7], joined=True)])
    names = [f"{PREFIX}capacity", f"{PREFIX}joins_total", "process_open_fds", "unheard_of"]

    plain = list(text_string_to_metric_families(told(metrics, "", names)))
    modern = list(openmetrics_parser.text_string_to_metric_families(told(metrics, OPENMETRICS, names)))  # type: ignore[no-untyped-call]

    for families in (plain, modern):
        assert Counter(sample.name for family in families for sample in family.samples) == {
            f"{PREFIX}capacity": len(MANY),
            f"{PREFIX}joins_total": len(MANY) + 1,
            "process_open_fds": 1,
        }
    assert values(plain)[f"{PREFIX}joins_total", (MANY[7],)] == 1
    assert (told(metrics, "", []), told(metrics, OPENMETRICS, ["unheard_of"])) == ("", "# EOF\n")


def agreeing(text: str, endpoints: Collection[str]) -> int:
    """How many requests of some endpoints a scrape tells of, all of whose samples of an endpoint agree."""
    requests: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    buckets: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{PREFIX}requests_total":
                requests[sample.labels["endpoint"]] += int(sample.value)
            elif sample.name == f"{PREFIX}request_duration_seconds_count":
                counts[sample.labels["endpoint"]] += int(sample.value)
            elif sample.name == f"{PREFIX}request_duration_seconds_sum":
                sums[sample.labels["endpoint"]] += int(sample.value)
            elif sample.name == f"{PREFIX}request_duration_seconds_bucket" and sample.labels["le"] == "+Inf":
                buckets[sample.labels["endpoint"]] += int(sample.value)
    assert requests == counts == buckets == sums
    assert set(requests) == {*endpoints, "_unknown"}
    return requests.total()


async def test_a_scrape_agrees_with_itself_while_requests_come_in() -> None:
    """Of each endpoint it tells of one moment: requests, their times and the buckets of these are as many."""
    metrics = make(endpoints=MANY)
    expose = Exposition(metrics.look)
    recorded = 0

    async def request() -> None:
        nonlocal recorded
        for number in count():
            metrics.count([replace(RECORD, endpoint=MANY[number % len(MANY)], duration=1)])
            recorded += 1
            await asyncio.sleep(0)

    requests = asyncio.create_task(request())
    seen = []
    for _ in range(3):
        before = recorded
        _, text = await expose("")
        seen.append((before, agreeing(text.decode(), MANY), recorded))
    requests.cancel()
    await asyncio.wait((requests,))

    assert [told for before, told, after in seen if not before <= told < after] == []


async def test_a_scrape_tells_of_the_endpoints_that_were_there_when_it_began() -> None:
    """Also where the next config comes between its looking at one endpoint and at another."""
    metrics = make(endpoints=MANY)
    scrape = asyncio.create_task(Exposition(metrics.look)(""))
    await asyncio.sleep(0)
    metrics.replace(*quiet(["another"]))
    metrics.count([replace(RECORD, endpoint="another", duration=1)])

    _, during = await scrape
    _, after = await Exposition(metrics.look)("")

    assert agreeing(during.decode(), MANY) == 0
    assert agreeing(after.decode(), ["another"]) == 1


async def test_scrapes_at_the_same_time_are_both_right() -> None:
    """Each in its own form, of all endpoints."""
    metrics = make(endpoints=MANY)
    metrics.count([replace(RECORD, endpoint=MANY[0], duration=1)])
    expose = Exposition(metrics.look)

    (plain_type, plain), (modern_type, modern), (_, some) = await asyncio.gather(
        expose(""), expose(OPENMETRICS), expose("", [f"{PREFIX}joins_total"])
    )

    assert (plain_type.split(";")[0], modern_type.split(";")[0]) == ("text/plain", "application/openmetrics-text")
    assert agreeing(plain.decode(), MANY) == 1
    families = list(openmetrics_parser.text_string_to_metric_families(modern.decode()))  # type: ignore[no-untyped-call]
    assert values(families)[f"{PREFIX}request_duration_seconds_count", (MANY[0],)] == 1
    assert some.count(b"\n") == len(MANY) + 1 + 2


@dataclass(eq=False)
class Endless(Collector):
    """Never comes to its end."""

    begun: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    def collect(self) -> Iterator[Metric]:
        """One number after the other."""
        try:
            for number in count():
                yield GaugeMetricFamily("number", "One after the other.", value=number)
                self.begun.set()
        finally:
            self.left.set()


async def test_a_scraper_that_hangs_up_leaves_nothing_behind() -> None:
    """What is written for it stops, and the next scraper has its turn."""
    endless, metrics = Endless(), make()
    sources: Iterator[Collector] = iter((endless, await metrics.look()))

    async def look() -> Collector:
        return next(sources)

    expose = Exposition(look)
    impatient, patient = asyncio.create_task(expose("")), asyncio.create_task(expose(""))
    await asyncio.to_thread(endless.begun.wait)
    impatient.cancel()

    _, text = await patient
    assert impatient.cancelled()
    assert agreeing(text.decode(), ("resnet", "bert")) == 0
    assert await asyncio.to_thread(endless.left.wait, 10)


class Broken(Collector):
    """Fails in the middle."""

    def collect(self) -> Iterator[Metric]:
        """One number, and no other."""
        yield GaugeMetricFamily("number", "The only one.", value=1)
        raise ValueError("no more")


async def test_what_goes_wrong_is_told_and_the_next_scraper_has_its_turn() -> None:
    """On the loop and in the thread, whatever it is."""
    metrics = make()
    snapshot = await metrics.look()
    looks = iter((LookupError("nothing to see"), Broken(), snapshot))

    async def look() -> Collector:
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    expose = Exposition(look)
    with pytest.raises(LookupError, match="nothing to see"):
        await expose("")
    with pytest.raises(ValueError, match="no more"):
        await expose("")
    _, text = await expose("")
    assert agreeing(text.decode(), ("resnet", "bert")) == 0
