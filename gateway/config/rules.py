"""The rules that hold between settings: what one of them cannot tell by itself."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from gateway.config.problems import Path, dotted, nearest, shown

OPS_PATHS = ("/livez", "/readyz", "/metrics", "/status")
"""Paths that the gateway answers itself."""
RELOAD_PATH = "/-/reload"
"""Where operators have the config read again."""
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
    if not isinstance(tree, Mapping):
        return ()
    listen, admin, routes = (_group(tree, name) for name in ("listen", "admin", "routes"))
    proper = {name: route for name, route in routes.items() if isinstance(route, Mapping)}
    endpoints = tree.get("endpoints")
    return (
        *_exposed(listen),
        *_half(("listen", "tls"), _group(listen, "tls"), ("certificate", "key")),
        *_portless(admin),
        *_same_address(listen, admin),
        *(_dangling(proper, endpoints) if isinstance(endpoints, Mapping) else ()),
        *_twice(proper),
        *_weightless(proper),
        *_taken_paths(proper),
    )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only; a name other than `localhost` may not be."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == "localhost"


def _group(tree: Mapping[str, object], name: str) -> Mapping[str, object]:
    group = tree.get(name)
    return group if isinstance(group, Mapping) else {}


def _exposed(listen: Mapping[str, object]) -> Iterator[Conflict]:
    host, keys = listen.get("host"), listen.get("keys_file") is not None
    is_open = listen.get("open") is True
    if keys and is_open:
        hint = "drop one of them: with keys, nobody else may call"
        yield Conflict(("listen", "open"), "true", "false beside listen.keys_file", hint)
    elif isinstance(host, str) and not (keys or is_open or is_loopback(host)):
        hint = (
            "whoever reaches it could call every endpoint: set listen.keys_file, or listen.open: true "
            "where something in front asks callers who they are"
        )
        yield Conflict(("listen", "host"), shown(host), "an address of this machine only, such as 127.0.0.1", hint)


def _half(path: Path, group: Mapping[str, object], pair: tuple[str, str]) -> Iterator[Conflict]:
    """Where one of two settings stands that mean nothing without each other."""
    for one, other in (pair, pair[::-1]):
        if group.get(one) is not None and group.get(other) is None:
            yield Conflict((*path, one), "it alone", f"{dotted((*path, other))} beside it")


def _portless(admin: Mapping[str, object]) -> Iterator[Conflict]:
    if admin.get("host") is not None and admin.get("port") is None:
        yield Conflict(("admin", "host"), "it alone", "admin.port beside it", "without a port there is no such address")


def _same_address(listen: Mapping[str, object], admin: Mapping[str, object]) -> Iterator[Conflict]:
    """Where both listeners would have the same port of the same address."""
    port, host = admin.get("port"), listen.get("host", "127.0.0.1")
    if port and port == listen.get("port", 8080) and (admin.get("host") or host) == host:
        yield Conflict(("admin", "port"), str(port), "another one than listen.port, or an admin.host of its own")


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
