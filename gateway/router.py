"""Which endpoints a request means: an exact look-up of its path, and what its headers rule out. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gateway.config import Config
from gateway.errors import BAD_METHOD, BAD_REQUEST, UNKNOWN_ROUTE, Refusal
from gateway.models import Headers, Operation

NO_ROUTE = (
    "No route or endpoint of the gateway's config has this path. Callers use POST /endpoints/{name}/invocations, "
    "or the path of a route; names are compared exactly."
)
"""What a caller is told whose path leads nowhere."""

SESSION = "x-amzn-sagemaker-session-id"
"""A session lives in the memory of one instance: https://docs.aws.amazon.com/sagemaker/latest/dg/stateful-sessions.html"""

Tier: TypeAlias = Mapping[str, int]
"""Keys of endpoints that may serve, each with its weight."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where a path leads.

    Attributes:
        route: the name under which the caller asked: a route, or an endpoint called directly.
        operation: what is asked of SageMaker.
        tiers: who may serve: the targets, then each fallback, which are asked only where no model saw the call before.
        endpoints: all of these, in order.
        settled: whether this is one endpoint, whatever a caller's headers say.
        max_body_bytes: longest body that all of them take.
    """

    route: str
    operation: Operation
    tiers: tuple[Tier, ...]
    endpoints: tuple[str, ...]
    settled: bool
    max_body_bytes: int


class Router:
    """All paths there are, worked out once. A caller's path is only ever compared, never taken apart or decoded.

    Args:
        config: routes and endpoints. A route goes before an endpoint of the same name.
        operations: what can be asked at `/endpoints/{name}/…`.
        path_operation: what is asked at the path of a route.
    """

    def __init__(self, config: Config, operations: Iterable[Operation], path_operation: Operation) -> None:
        self._endpoints = config.endpoints
        self._fixed = {name: endpoint.fixed_headers for name, endpoint in config.endpoints.items()}
        names: dict[str, tuple[Tier, ...]] = {name: ({name: 1},) for name in config.endpoints}
        for name, route in config.routes.items():
            targets = {target.endpoint: target.weight for target in route.targets if target.weight}
            names[name] = (targets, *({endpoint: 1} for endpoint in route.fallback))
        self.names = frozenset(names)
        """The names under which callers ask."""
        self._matches: dict[str, Match] = {
            f"/endpoints/{name}/{operation.suffix}": self._match(name, operation, tiers)
            for operation in operations
            for name, tiers in names.items()
        }
        for name, route in config.routes.items():
            if route.path is not None:
                self._matches[route.path] = self._match(name, path_operation, names[name])
        self.max_body_bytes = max(match.max_body_bytes for match in self._matches.values())
        """The longest body that is taken anywhere."""

    def match(self, path: str) -> Match | None:
        """Where the path leads; None where it leads nowhere.

        Args:
            path: the path as it stood in the request line, still percent-encoded, without the query.
        """
        return self._matches.get(path)

    def find(self, method: str, path: str) -> Match:
        """Where a request leads.

        Args:
            method: its HTTP method.
            path: as for `match`.

        Raises:
            Refusal: nowhere, or not by this method.
        """
        match = self.match(path)
        if match is None:
            raise Refusal(UNKNOWN_ROUTE, NO_ROUTE)
        if method != "POST":
            raise Refusal(BAD_METHOD, f"{method} is not taken here: use POST.", allow="POST")
        return match

    def narrow(self, match: Match, headers: Headers) -> Match:
        """What is left of a match for a caller with these headers.

        An endpoint whose settings fix a header is no place for a caller who asks for something else. A session never
        moves: its calls go to the first endpoint of the route that has a weight, whatever its room and health.

        Args:
            match: where the path leads.
            headers: those of the caller that go to SageMaker.

        Raises:
            Refusal: nothing is left.
        """
        if match.settled:
            return match
        asked = {name.lower(): value for name, value in headers}
        if SESSION in asked:
            match = self._match(match.route, match.operation, ({match.endpoints[0]: 1},))
        elif not any(self._fixed[endpoint] for endpoint in match.endpoints):
            return match
        ruled_out = {endpoint: clash for endpoint in match.endpoints if (clash := self._clash(endpoint, asked))}
        if len(ruled_out) == len(match.endpoints):
            raise Refusal(BAD_REQUEST, f"{next(iter(ruled_out.values()))} Leave the header out, or ask another route.")
        left = ({name: weight for name, weight in tier.items() if name not in ruled_out} for tier in match.tiers)
        tiers = tuple(filter(None, left))
        return self._match(match.route, match.operation, tiers)

    def _match(self, route: str, operation: Operation, tiers: tuple[Tier, ...]) -> Match:
        endpoints = tuple(endpoint for tier in tiers for endpoint in tier)
        return Match(
            route,
            operation,
            tiers,
            endpoints,
            settled=len(endpoints) == 1 and not self._fixed[endpoints[0]],
            max_body_bytes=min(operation.max_body_bytes, *(self._endpoints[name].max_body_bytes for name in endpoints)),
        )

    def _clash(self, endpoint: str, asked: Mapping[str, str]) -> str | None:
        for name, value in self._fixed[endpoint].items():
            other = asked.get(name.lower(), value)
            if other != value:
                return f"Endpoint {endpoint} of the gateway's config always has {name}: {value}, not {other}."
        return None
