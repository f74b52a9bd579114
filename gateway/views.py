"""How the endpoints look from outside: what metrics and `/status` read of them, at the moment they are asked."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial

from gateway.capacity import FleetStatistics
from gateway.endpoint import Endpoint
from gateway.metrics import (
    CREDENTIALS_UNUSABLE,
    EJECTED,
    FLEET_PROBING,
    FLEET_UNREADABLE,
    INSTANCES,
    NO_CAPACITY,
    ROUTING_WARNING,
    Readings,
    Row,
)
from gateway.models import Statistics


def _of_fleet(read: Callable[[FleetStatistics], float]) -> Callable[[Endpoint], float]:
    return lambda endpoint: float(read(endpoint.follower.statistics())) if endpoint.follower else 0.0


def _instances(endpoint: Endpoint) -> float:
    fixed = endpoint.settings.instances
    return _of_fleet(lambda fleet: fleet.instances)(endpoint) if fixed == "auto" else float(fixed)


GAUGES: Mapping[Row, Callable[[Endpoint], float]] = {
    INSTANCES: _instances,
    FLEET_UNREADABLE: _of_fleet(lambda fleet: fleet.problem is not None),
    FLEET_PROBING: _of_fleet(lambda fleet: fleet.probing),
    ROUTING_WARNING: _of_fleet(lambda fleet: fleet.routing_warning is not None),
    EJECTED: lambda endpoint: float(endpoint.health.statistics().ejected),
    NO_CAPACITY: lambda endpoint: float(endpoint.health.statistics().no_capacity),
    CREDENTIALS_UNUSABLE: lambda endpoint: float(endpoint.credentials.problem is not None),
}


def readings(endpoints: Mapping[str, Endpoint]) -> Readings:
    """For each gauge that is not a limiter's, its value by endpoint."""
    return {
        row: {name: partial(read, endpoint) for name, endpoint in endpoints.items()} for row, read in GAUGES.items()
    }


def statistics(endpoints: Mapping[str, Endpoint]) -> dict[str, Callable[[], Statistics]]:
    """The limiters' statistics, by endpoint."""
    return {name: endpoint.limiter.statistics for name, endpoint in endpoints.items()}


def descriptions(endpoints: Mapping[str, Endpoint]) -> dict[str, Callable[[], dict[str, object]]]:
    """What `described` says, by endpoint."""
    return {name: partial(described, endpoint) for name, endpoint in endpoints.items()}


def described(endpoint: Endpoint) -> dict[str, object]:
    """What config, fleet and calls say of an endpoint, for `/status`."""
    settings = endpoint.settings
    fixed = {
        name: value
        for name in ("inference_component", "target_variant", "region")
        if (value := getattr(settings, name)) is not None
    }
    return {
        "endpoint_name": settings.endpoint_name or endpoint.name,
        **fixed,
        "instances": settings.instances,
        "concurrency_per_instance": settings.concurrency_per_instance,
        **({"fleet": asdict(endpoint.follower.statistics())} if endpoint.follower else {}),
        "health": asdict(endpoint.health.statistics()),
        "credentials": endpoint.credentials.problem or "ok",
        **({"removed": True} if endpoint.removed else {}),
    }
