"""What a valid config means beyond its words."""

from collections.abc import Iterator

from gateway.config.problems import dotted
from gateway.config.settings import Config


def notes(config: Config) -> tuple[str, ...]:
    """What the author of a valid config should know, a sentence each; none of it is a mistake."""
    return (*_idle_targets(config), *_hidden(config), *_shared(config), *_impatient(config))


def _idle_targets(config: Config) -> Iterator[str]:
    for name, route in config.routes.items():
        if len(route.targets) > 1:
            first = route.targets[0].endpoint
            yield (
                f"{dotted(('routes', name))}: only the first target, {first}, takes calls in this release; "
                "the weights are checked and otherwise unused"
            )


def _hidden(config: Config) -> Iterator[str]:
    for name, route in config.routes.items():
        if name in config.endpoints and route.targets[0].endpoint != name:
            yield (
                f"{dotted(('routes', name))}: has the name of an endpoint and leads to {route.targets[0].endpoint}; "
                f"/endpoints/{name}/invocations means the route"
            )


def _shared(config: Config) -> Iterator[str]:
    owners: dict[str, str] = {}
    for key in config.endpoints:
        name = config.endpoint_name(key)
        if name in owners:
            other = dotted(("endpoints", owners[name]))
            yield (
                f"{dotted(('endpoints', key))}: is SageMaker's {name}, and so is {other}; "
                "each has its own permits, so both together must not be larger than the fleet"
            )
        owners.setdefault(name, key)


def _impatient(config: Config) -> Iterator[str]:
    for key, endpoint in config.endpoints.items():
        if endpoint.timeout_seconds > config.drain.timeout_seconds:
            yield (
                f"{dotted(('endpoints', key, 'timeout_seconds'))}: is longer than drain.timeout_seconds; "
                "a restart may cut off calls that would have been answered"
            )
