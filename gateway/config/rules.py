"""The rules that hold between settings: what one of them cannot tell by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.config.problems import Path, dotted, nearest, shown

OPS_PATHS = ("/livez", "/readyz", "/metrics", "/status")
"""Paths that the gateway answers itself."""
RESERVED_PREFIXES = ("/endpoints", "/-")
"""Below these stand the paths of the SageMaker Runtime API, and the gateway's own of releases to come."""


@dataclass(frozen=True)
class Conflict:
    """Two settings that do not go together, told at the place of the one to change.

    Attributes:
        path: Where the setting stands.
        found: What stands there.
        wanted: What would go together with the rest.
        hint: What to do about it; may be empty.
    """

    path: Path
    found: str
    wanted: str
    hint: str = ""

    def __str__(self) -> str:
        """The conflict in one line."""
        return f"{dotted(self.path)}: found {self.found}, wanted {self.wanted}" + (
            f", {self.hint}" if self.hint else ""
        )


def conflicts(tree: object) -> tuple[Conflict, ...]:
    """All conflicts of a config, as plain mappings and lists; whatever has another shape is passed over.

    Passing over is what lets a dangling name be found in a file that has other mistakes as well.
    """
    if not isinstance(tree, Mapping) or not isinstance(routes := tree.get("routes"), Mapping):
        return ()
    proper = {name: route for name, route in routes.items() if isinstance(route, Mapping)}
    endpoints = tree.get("endpoints")
    return (
        *(_dangling(proper, endpoints) if isinstance(endpoints, Mapping) else ()),
        *_twice(proper),
        *_weightless(proper),
        *_taken_paths(proper),
    )


def _targets(routes: Mapping[str, Mapping[str, object]]) -> Iterator[tuple[str, list[object]]]:
    for name, route in routes.items():
        targets = route.get("targets")
        if isinstance(targets, Sequence) and not isinstance(targets, str):
            yield name, list(targets)


def _named(routes: Mapping[str, Mapping[str, object]]) -> Iterator[tuple[str, list[tuple[Path, str]]]]:
    """The endpoints that a route names, each with its place."""
    for name, route in routes.items():
        named: list[tuple[Path, str]] = []
        for key in ("targets", "fallback"):
            entries = route.get(key)
            for index, entry in enumerate(entries if isinstance(entries, list | tuple) else ()):
                inside = isinstance(entry, Mapping) and key == "targets"
                endpoint = entry.get("endpoint") if inside else entry
                if isinstance(endpoint, str):
                    named.append((("routes", name, key, index, *(("endpoint",) if inside else ())), endpoint))
        yield name, named


def _dangling(routes: Mapping[str, Mapping[str, object]], endpoints: Mapping[str, object]) -> Iterator[Conflict]:
    for _, named in _named(routes):
        for path, endpoint in named:
            if endpoint not in endpoints:
                near = nearest(endpoint, endpoints)
                hint = f"the nearest is {shown(near)}" if near else ""
                yield Conflict(path, shown(endpoint), "a key of endpoints", hint)


def _twice(routes: Mapping[str, Mapping[str, object]]) -> Iterator[Conflict]:
    for name, named in _named(routes):
        seen: dict[str, Path] = {}
        for path, endpoint in named:
            if endpoint in seen:
                yield Conflict(
                    path,
                    shown(endpoint),
                    f"each endpoint once in {dotted(('routes', name))}",
                    f"{dotted(seen[endpoint])} has this one already",
                )
            seen.setdefault(endpoint, path)


def _weightless(routes: Mapping[str, Mapping[str, object]]) -> Iterator[Conflict]:
    for name, targets in _targets(routes):
        weights = [target.get("weight", 1) if isinstance(target, Mapping) else 1 for target in targets]
        # False == 0, but a boolean has a problem of its own.
        if weights and all(weight == 0 and not isinstance(weight, bool) for weight in weights):
            yield Conflict(("routes", name, "targets"), "nothing but weights of 0", "at least one weight above 0")


def _taken_paths(routes: Mapping[str, Mapping[str, object]]) -> Iterator[Conflict]:
    owners: dict[str, str] = {}
    for name, route in routes.items():
        path = route.get("path")
        if not isinstance(path, str):
            continue
        where = ("routes", name, "path")
        if path in OPS_PATHS:
            yield Conflict(where, shown(path), "a path that the gateway does not answer itself")
        elif any(path == prefix or path.startswith(prefix + "/") for prefix in RESERVED_PREFIXES):
            yield Conflict(where, shown(path), "a path outside /endpoints/ and /-/", "these are the gateway's own")
        elif path in owners:
            owner = dotted(("routes", owners[path]))
            yield Conflict(where, shown(path), "a path of its own", f"{owner} has this one already")
        else:
            owners[path] = name
