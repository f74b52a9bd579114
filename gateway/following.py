"""A follower for one fleet, and the valve between it and its endpoint."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from structlog.typing import FilteringBoundLogger

from gateway.capacity import Follower, Resizable, follow
from gateway.config import Config
from gateway.config import Endpoint as EndpointSettings
from gateway.errors import Refusal
from gateway.sagemaker.control import PERMANENT, RefusedKeysError, describe
from gateway.sagemaker.control import Fleet as Described
from gateway.sagemaker.credentials import CredentialSource
from gateway.sagemaker.hosts import HostKind
from gateway.sagemaker.identities import Chain


@dataclass(frozen=True, slots=True)
class Place:
    """One control plane, and who asks it.

    Attributes:
        region: where it is.
        url: its base URL, if it is not AWS's own.
        chain: how the keys for it are found.
        kind: which of AWS's own hosts.
    """

    region: str
    url: str | None
    chain: Chain
    kind: HostKind


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a follower follows, and how: another one of these takes another follower."""

    key: str
    place: Place
    name: str
    variant: str | None
    inference_component: str | None
    concurrency_per_instance: int
    refresh_seconds: float


class Valve:
    """Between a follower and its endpoint: nothing passes before the endpoint is the follower's, nor after it.

    Args:
        health: the endpoint's.
    """

    def __init__(self, health: Resizable) -> None:
        self._health = health
        self._open = False
        self._capacity: int | None = None

    def resize(self, capacity: int) -> None:
        """Pass it on, or keep it until that may be."""
        self._capacity = capacity
        if self._open:
            self._health.resize(capacity)

    def open(self, *, known: bool) -> None:
        """From now on all passes; what was kept does only if it is known, or nothing was known before."""
        if not self._open and known and self._capacity is not None:
            self._health.resize(self._capacity)
        self._open = True

    def close(self) -> None:
        """From now on nothing passes."""
        self._open = False


def region_of(config: Config, settings: EndpointSettings) -> str:
    """Where an endpoint is."""
    return settings.region or config.aws.region


def fleet_of(config: Config, name: str, chain: Chain, kind: HostKind) -> Fleet:
    """The fleet of the endpoint that stands under a key."""
    settings = config.endpoints[name]
    url = settings.control_endpoint_url or config.aws.control_endpoint_url
    return Fleet(
        key=name,
        place=Place(region_of(config, settings), url, chain, kind),
        name=config.endpoint_name(name),
        variant=settings.target_variant,
        inference_component=settings.inference_component,
        concurrency_per_instance=settings.concurrency_per_instance,
        refresh_seconds=config.aws.refresh_seconds,
    )


@asynccontextmanager
async def open_following(
    fleet: Fleet, client: Any, credentials: CredentialSource, health: Resizable, log: FilteringBoundLogger
) -> AsyncIterator[tuple[Follower, Valve]]:
    """A follower that has read its fleet once, and follows it until the end."""
    valve = Valve(health)
    follower = Follower(
        fleet.key,
        read=partial(_read, fleet, client, credentials),
        permanent=PERMANENT,
        limiter=valve,
        concurrency_per_instance=fleet.concurrency_per_instance,
        refresh_seconds=fleet.refresh_seconds,
        log=log,
    )
    async with follow([follower]):
        yield follower, valve


async def _read(fleet: Fleet, client: Any, credentials: CredentialSource) -> Described:
    """What the fleet looks like now; where AWS does not take the keys, it is asked once more, with others."""
    parts = {"variant": fleet.variant, "inference_component": fleet.inference_component}
    keys = None
    with suppress(Refusal):  # without any, the description says so
        keys = credentials.current()
    try:
        return await describe(client, fleet.name, **parts)
    except RefusedKeysError:
        if keys is None:
            raise
        await credentials.doubt(keys)
        if credentials.problem is None and credentials.current() == keys:
            raise  # there are no others
    return await describe(client, fleet.name, **parts)
