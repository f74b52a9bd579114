"""Which endpoints a request means: an exact look-up of its path. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.config import Config
from gateway.models import Operation

NO_ROUTE = (
    "No route or endpoint of the gateway's config has this path. Callers use POST /endpoints/{name}/invocations, "
    "or the path of a route; names are compared exactly."
)
"""What a caller is told whose path leads nowhere."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where a path leads.

    Attributes:
        route: the name under which the caller asked: a route, or an endpoint called directly.
        operation: what is asked of SageMaker.
        endpoints: keys of the endpoints that may serve, in order.
    """

    route: str
    operation: Operation
    endpoints: tuple[str, ...]


class Router:
    """All paths there are, worked out once. A caller's path is only ever compared, never taken apart or decoded.

    Args:
        config: routes and endpoints. A route goes before an endpoint of the same name.
        operations: what can be asked at `/endpoints/{name}/…`.
        path_operation: what is asked at the path of a route.
    """

    def __init__(self, config: Config, operations: Iterable[Operation], path_operation: Operation) -> None:
        names: dict[str, tuple[str, ...]] = {name: (name,) for name in config.endpoints}
        names |= {name: tuple(target.endpoint for target in route.targets) for name, route in config.routes.items()}
        self._matches: dict[str, Match] = {
            f"/endpoints/{name}/{operation.suffix}": Match(name, operation, endpoints)
            for operation in operations
            for name, endpoints in names.items()
        }
        for name, route in config.routes.items():
            if route.path is not None:
                self._matches[route.path] = Match(name, path_operation, names[name])

    def match(self, path: str) -> Match | None:
        """Where the path leads; None where it leads nowhere.

        Args:
            path: the path as it stood in the request line, still percent-encoded, without the query.
        """
        return self._matches.get(path)
