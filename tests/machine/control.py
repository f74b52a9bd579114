"""The control plane and the chain of credentials, in the hands of a test."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from structlog.typing import FilteringBoundLogger

from gateway.sagemaker.credentials import CredentialSource, FrozenKeys, Provider, kept_fresh


class Control:
    """What SageMaker tells of its fleets.

    Args:
        told: is told of each reading that succeeds: which fleet, and how many instances.
    """

    def __init__(self, told: Callable[[str, int], None]) -> None:
        self.instances = 1
        self.readable = True
        self._told = told

    @asynccontextmanager
    async def open(self, *_place: object) -> AsyncIterator["Control"]:
        """A client of it."""
        yield self

    async def describe_endpoint(self, **names: str) -> dict[str, Any]:
        """A fleet as it is now."""
        if not self.readable:
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "DescribeEndpoint")
        self._told(names["EndpointName"], self.instances)
        variant = {"VariantName": "v", "CurrentInstanceCount": self.instances}
        return {"EndpointStatus": "InService", "ProductionVariants": [variant]}


@dataclass
class _Keys:
    """One pair of keys."""

    access_key: str
    secret_key: str = "secret"
    token: str | None = None

    async def get_frozen_credentials(self) -> FrozenKeys:
        """They do not change."""
        return self


class Chain:
    """Where keys come from: others each time, or always the same.

    Args:
        clock: seconds of now.

    Attributes:
        renews: whether they are others.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.renews = True
        self._given = 0

    @asynccontextmanager
    async def open(self, _chain: object, log: FilteringBoundLogger) -> AsyncIterator[CredentialSource]:
        """A source of credentials that asks here."""
        source = CredentialSource(self._load, log, clock=self._clock)
        async with kept_fresh([source]):
            yield source

    async def _load(self) -> Provider:
        self._given += self.renews
        keys: Provider = _Keys(f"AKIA{self._given}")
        return keys
