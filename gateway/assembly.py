"""Puts the endpoints of a config together: permits, health, keys, hosts, and a follower where the fleet decides."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from structlog.typing import FilteringBoundLogger

from gateway.capacity import Follower, follow
from gateway.config import Config
from gateway.config import Endpoint as EndpointSettings
from gateway.endpoint import Door, Endpoint
from gateway.health import Health
from gateway.limiter import Limiter
from gateway.sagemaker.control import PERMANENT, describe, open_control
from gateway.sagemaker.credentials import CredentialSource
from gateway.sagemaker.hosts import HostKind, call_url, host_kind
from gateway.sagemaker.protocol import OPERATIONS, taken
from gateway.sagemaker.signing import Signer


@asynccontextmanager
async def open_endpoints(
    config: Config, credentials: Mapping[str, CredentialSource], log: FilteringBoundLogger
) -> AsyncIterator[dict[str, Endpoint]]:
    """The endpoints by their keys, each as large as its fleet, until the end.

    Args:
        config: the settings.
        credentials: by endpoint, what its calls are signed with.
        log: where changes of a fleet are told.

    Raises:
        FleetUnknownError: some fleets cannot be followed; all of them are named.
        ControlError: there can be no client of the control plane.
        HostError: some endpoint's host cannot be told.
    """
    kinds = {
        profile: host_kind(
            fips=config.aws.use_fips_endpoint, dual_stack=config.aws.use_dualstack_endpoint, profile=profile
        )
        for profile in {endpoint.profile for endpoint in config.endpoints.values()}
    }
    alternatives = _alternatives(config)
    endpoints: dict[str, Endpoint] = {}
    for name, settings in config.endpoints.items():
        limiter = Limiter(capacity=settings.capacity or 0, max_waiting=settings.queue.max_waiting)
        health = Health(
            limiter,
            ejects=name in alternatives,
            later=asyncio.get_running_loop().call_later,
            changed=partial(_nudge, endpoints, name),
        )
        doors = _doors(config, name, kinds[settings.profile])
        endpoints[name] = Endpoint(name, settings, limiter, health, credentials[name], doors)
    try:
        async with AsyncExitStack() as stack:
            clients: dict[object, Any] = {}
            for endpoint in endpoints.values():
                if endpoint.settings.capacity is None:
                    kind = kinds[endpoint.settings.profile]
                    client = await _client(config, endpoint, kind, clients, stack)
                    endpoint.follower = _follower(config, endpoint, client, log)
            await stack.enter_async_context(follow([each.follower for each in endpoints.values() if each.follower]))
            yield endpoints
    finally:
        for endpoint in endpoints.values():
            endpoint.health.close()


def _alternatives(config: Config) -> set[str]:
    """Endpoints in place of which a caller of some route can go elsewhere."""
    routes = [[target.endpoint for target in route.targets] + [*route.fallback] for route in config.routes.values()]
    return {endpoint for names in routes if len(names) > 1 for endpoint in names}


def _nudge(endpoints: Mapping[str, Endpoint], name: str) -> None:
    if (follower := endpoints[name].follower) is not None:
        follower.nudge()


def _region(config: Config, settings: EndpointSettings) -> str:
    return settings.region or config.aws.region


def _doors(config: Config, name: str, kind: HostKind) -> dict[str, Door]:
    settings = config.endpoints[name]
    doors = {}
    for operation in OPERATIONS:
        url = call_url(config, name, operation, kind)
        signer = Signer(method="POST", url=url, region=_region(config, settings))
        doors[operation.name] = Door(url, signer, taken(operation, settings.fixed_headers))
    return doors


async def _client(
    config: Config, endpoint: Endpoint, kind: HostKind, clients: dict[object, Any], stack: AsyncExitStack
) -> Any:
    """A client of the control plane, one for all endpoints that live in the same place and have the same keys."""
    settings, source = endpoint.settings, endpoint.credentials
    region, url = _region(config, settings), settings.control_endpoint_url or config.aws.control_endpoint_url
    key = (region, url, source, kind)
    if key not in clients:
        clients[key] = await stack.enter_async_context(open_control(region, url, source.current, kind))
    return clients[key]


def _follower(config: Config, endpoint: Endpoint, client: Any, log: FilteringBoundLogger) -> Follower:
    settings = endpoint.settings
    return Follower(
        endpoint.name,
        read=partial(
            describe,
            client,
            config.endpoint_name(endpoint.name),
            variant=settings.target_variant,
            inference_component=settings.inference_component,
        ),
        permanent=PERMANENT,
        limiter=endpoint.health,
        concurrency_per_instance=settings.concurrency_per_instance,
        refresh_seconds=config.aws.refresh_seconds,
        log=log,
    )
