"""What a valid config means beyond its words."""

from collections.abc import Iterator

from gateway.config.problems import dotted
from gateway.config.rules import is_loopback
from gateway.config.settings import Config, Endpoint, Route


def notes(config: Config) -> tuple[str, ...]:
    """What the author of a valid config should know, a sentence each; none of it is a mistake."""
    return (
        *_overheard(config),
        *_weightless(config),
        *_spare(config),
        *_hidden(config),
        *_shared(config),
        *_elsewhere(config),
        *_impatient(config),
    )


def _overheard(config: Config) -> Iterator[str]:
    listen, reached = config.listen, not is_loopback(config.listen.host)
    if reached and listen.open:
        yield "listen.open: whoever reaches the gateway may call every endpoint; something in front has to ask them"
    if reached and listen.keys_file is not None and listen.tls.certificate is None:
        yield "listen.tls: there is no certificate; keys and bodies travel in clear text, at least on the last mile"
    if reached and listen.keys_file is not None and config.admin.port is None:
        yield "admin.port: there is none; /metrics and /status tell everybody who reaches the gateway, without a key"


def _weightless(config: Config) -> Iterator[str]:
    for name, route in config.routes.items():
        for index, target in enumerate(route.targets):
            if target.weight == 0:
                where = dotted(("routes", name, "targets", index))
                yield f"{where}: has the weight 0, so that {target.endpoint} takes no calls of this route"


def _spare(config: Config) -> Iterator[str]:
    used = {target.endpoint for route in config.routes.values() for target in route.targets if target.weight}
    spare: dict[str, list[str]] = {}
    for name, route in config.routes.items():
        for endpoint in route.fallback:
            if endpoint not in used:
                spare.setdefault(endpoint, []).append(dotted(("routes", name)))
    for endpoint, routes in spare.items():
        yield (
            f"{dotted(('endpoints', endpoint))}: is only a fallback (of {', '.join(routes)}); "
            "routes lead to it where no model of their targets saw a call"
        )


def _hidden(config: Config) -> Iterator[str]:
    for name, route in config.routes.items():
        leads_to = _endpoints_of(route)
        if name in config.endpoints and name not in leads_to:
            yield (
                f"{dotted(('routes', name))}: has the name of an endpoint and leads to {', '.join(leads_to)}; "
                f"/endpoints/{name}/invocations means the route"
            )


def _endpoints_of(route: Route) -> tuple[str, ...]:
    return (*(target.endpoint for target in route.targets if target.weight), *route.fallback)


def _shared(config: Config) -> Iterator[str]:
    owners: dict[tuple[str | None, ...], list[str]] = {}
    for key, endpoint in config.endpoints.items():
        name = config.endpoint_name(key)
        place = (name, endpoint.region or config.aws.region, endpoint.profile, endpoint.role_arn, endpoint.endpoint_url)
        earlier = owners.setdefault(place, [])
        other = next((each for each in earlier if _overlap(config.endpoints[each], endpoint)), None)
        if other is not None:
            yield (
                f"{dotted(('endpoints', key))}: is SageMaker's {name}, and so is {dotted(('endpoints', other))}; "
                "each has its own permits, so both together must not be larger than the fleet"
            )
        earlier.append(key)


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    """Whether two entries for one SageMaker endpoint may call the same instances: one that names no part means all."""
    parts = (
        (one.inference_component, other.inference_component),
        (one.target_variant, other.target_variant),
    )
    return all(None in pair or pair[0] == pair[1] for pair in parts)


def _elsewhere(config: Config) -> Iterator[str]:
    url = config.aws.endpoint_url
    for key, endpoint in config.endpoints.items():
        if url and endpoint.endpoint_url is None and endpoint.region not in (None, config.aws.region):
            yield (
                f"{dotted(('endpoints', key, 'region'))}: is not aws.region, and yet the calls go to aws.endpoint_url "
                f"({url}), signed for {endpoint.region}; if that host is of one region, set endpoint_url here"
            )


def _impatient(config: Config) -> Iterator[str]:
    for key, endpoint in config.endpoints.items():
        if endpoint.timeout_seconds > config.drain.timeout_seconds:
            yield (
                f"{dotted(('endpoints', key, 'timeout_seconds'))}: is longer than drain.timeout_seconds; "
                "a restart may cut off calls that would have been answered"
            )
