"""Clients of the control plane, made by aiobotocore; loaded by `control` when there is a fleet to follow."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from gateway.sagemaker.hosts import HostKind
from gateway.sagemaker.keychain import Keychain
from gateway.sagemaker.rules import descriptions
from gateway.sagemaker.signing import Credentials

CONNECT_SECONDS = 5.0


@asynccontextmanager
async def open_client(
    region: str, endpoint_url: str | None, keys: Callable[[], Credentials], kind: HostKind, *, read_seconds: float
) -> AsyncIterator[Any]:
    """A client of the service `sagemaker`, which has no types.

    Args:
        region: where the endpoints are.
        endpoint_url: where the control plane is, if it is not AWS's own.
        keys: what to sign with, asked for each request; it may raise a Refusal.
        kind: which of AWS's own hosts, where there is no `endpoint_url`.
        read_seconds: how long it may be silent.

    Raises:
        BotoCoreError: AWS's own settings of this process are not usable.
    """
    session = AioSession()
    session.register_component("credential_provider", Keychain(keys))
    session.register_component("data_loader", descriptions())
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": 1},
        use_fips_endpoint=kind.fips,
        use_dualstack_endpoint=kind.dual_stack,
        warm_up_loader_caches=True,  # botocore's large description of the service is read in a thread
    )
    async with session.create_client(
        "sagemaker", region_name=region, endpoint_url=endpoint_url, config=config
    ) as client:
        yield client
