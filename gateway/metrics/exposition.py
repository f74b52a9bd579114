"""What a scraper is sent. `prometheus_client` writes it, in a thread, while the event loop goes on serving callers.

It takes a second for 500 endpoints. What is written has been looked at on the loop before, and changes no more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from threading import Event
from typing import TypeAlias

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Encode: TypeAlias = Callable[[Collector], bytes]
"""Writes all metrics in one of the forms that there are."""


class Exposition:
    """Answers scrapers, one after the other, so that several of them do not take several threads' time of callers.

    Args:
        look: sees all that there is to tell at this moment.
    """

    def __init__(self, look: Callable[[], Awaitable[Collector]]) -> None:
        self._look = look
        self._one = asyncio.Lock()
        self._process = process = CollectorRegistry()
        ProcessCollector(registry=process)
        PlatformCollector(registry=process)
        GCCollector(registry=process)

    async def __call__(self, accept: str, names: Collection[str] | None = None) -> tuple[str, bytearray]:
        """All samples, in plain text where there is no form such as is asked for.

        Args:
            accept: the header `Accept`.
            names: those of the samples that are wanted; None for all.

        Returns:
            The media type, and the text.
        """
        try:
            encode, media_type = choose_encoder(accept)
        except (TypeError, ValueError):
            encode, media_type = generate_latest, CONTENT_TYPE_LATEST
        async with self._one:
            registry = CollectorRegistry(support_collectors_without_names=True)
            registry.register(await self._look())
            registry.register(self._process)
            wanted = registry if names is None else registry.restricted_registry(names)
            gone = Event()
            try:
                return media_type, await asyncio.to_thread(_write, wanted, encode, gone)
            finally:
                gone.set()


def _write(source: Collector, encode: Encode, gone: Event) -> bytearray:
    """All of it, or as much as is written before its reader has gone."""
    text = bytearray()
    for each in written(source, encode):
        if gone.is_set():
            break
        text += each
    return text


def written(source: Collector, encode: Encode) -> Iterator[bytes]:
    """The text, part by part of each family.

    Written at once, some 100,000 samples would exist at the same time. The garbage collector would walk through them
    time and again, and nothing else runs while it does.
    """
    end = encode(CollectorRegistry())
    last = None
    for part in source.collect():
        text = encode(_Only(part)).removesuffix(end)
        yield _without_head(text) if part.name == last else text
        last = part.name
    yield end


@dataclass(frozen=True, slots=True)
class _Only(Collector):
    """One part of a family."""

    part: Metric

    def collect(self) -> tuple[Metric]:
        return (self.part,)


def _without_head(text: bytes) -> bytes:
    """The samples; name, help and type stand in front of an earlier part."""
    while text.startswith(b"#"):
        _, _, text = text.partition(b"\n")
    return text
