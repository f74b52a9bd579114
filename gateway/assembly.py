"""Puts the endpoints of a config together, and those of the next one: permits, health, keys, hosts, followers."""

import asyncio
import os
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

from structlog.typing import FilteringBoundLogger

from gateway.capacity import AT_ONCE, FleetUnknownError, Follower
from gateway.config import Config
from gateway.config import Endpoint as EndpointSettings
from gateway.endpoint import Door, Endpoint
from gateway.following import Valve, fleet_of, open_following, region_of
from gateway.health import Health
from gateway.holdings import Holdings
from gateway.limiter import Limiter
from gateway.sagemaker.control import ControlError, open_control
from gateway.sagemaker.credentials import CredentialSource
from gateway.sagemaker.hosts import PLAIN, HostError, HostKind, call_url, host_kind
from gateway.sagemaker.identities import chains, open_identity
from gateway.sagemaker.protocol import OPERATIONS, taken
from gateway.sagemaker.signing import Signer


class AssemblyError(Exception):
    """The endpoints of a config cannot be put together; one line for each reason."""


@dataclass(frozen=True, slots=True)
class _Fitting:
    """What an endpoint is going to have."""

    endpoint: Endpoint
    settings: EndpointSettings
    credentials: CredentialSource
    doors: Mapping[str, Door]
    ejects: bool
    following: "tuple[Follower, Valve] | None"


@dataclass(frozen=True, slots=True)
class Draft:
    """The endpoints of a config as they are going to be; everything that they need is open."""

    fittings: Mapping[str, _Fitting]
    needed: frozenset[Hashable]


class Assembly:
    """The endpoints of the config that holds, and what is open for them.

    An endpoint that is in two configs in a row is the same object in both, so that its permits, its queue and what is
    known of it go on. So is one that comes back while there are calls of it.

    Args:
        log: where changes of fleets and credentials are told.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self.endpoints: Mapping[str, Endpoint] = {}
        """By their keys; another mapping after each `adopt`."""
        self._log = log
        self._holdings = Holdings()
        self._known: WeakValueDictionary[str, Endpoint] = WeakValueDictionary()
        self._valves: dict[str, Valve] = {}

    async def prepare(self, config: Config) -> Draft:
        """Open all that the endpoints of a config need beside what is open; nothing else changes.

        Raises:
            AssemblyError: something of it cannot be opened; then nothing more is open than before.
        """
        before = self._holdings.keys
        try:
            return await self._prepare(config)
        except BaseException as error:
            await self._holdings.keep(before)
            if problems := _problems(error):
                raise AssemblyError("\n".join(dict.fromkeys(map(str, problems)))) from problems[0]
            raise

    def adopt(self, draft: Draft) -> dict[str, Endpoint]:
        """Let the endpoints be as the draft has them; those that it lacks, and that are no more."""
        old, self.endpoints = self.endpoints, {name: each.endpoint for name, each in draft.fittings.items()}
        removed = {name: endpoint for name, endpoint in old.items() if name not in self.endpoints}
        for name, endpoint in removed.items():
            endpoint.removed = True
            self._turn_off(name)
        for name, fitting in draft.fittings.items():
            self._fit(name, fitting)
        return removed

    async def tidy(self, draft: Draft) -> None:
        """Close what endpoints no longer need, once they are as the draft has them."""
        await self._holdings.keep(draft.needed)

    async def close(self) -> None:
        """Close everything."""
        for endpoint in self._known.values():
            endpoint.health.close()
        await self._holdings.keep(())

    async def _prepare(self, config: Config) -> Draft:
        own, hold = chains(config), self._holdings.hold
        kinds, doors = await asyncio.to_thread(_hosts, config)
        sources = await hold({chain: partial(open_identity, chain, self._log) for chain in own.values()})
        auto = [name for name, settings in config.endpoints.items() if settings.capacity is None]
        fleets = {name: fleet_of(config, name, own[name], kinds[name]) for name in auto}
        clients = await hold(
            {
                place: partial(open_control, place.region, place.url, sources[place.chain].current, place.kind)
                for place in dict.fromkeys(fleet.place for fleet in fleets.values())
            },
            at_once=1,
        )
        endpoints = {
            name: self._known.get(name) or self._make(name, settings, sources[own[name]], doors[name])
            for name, settings in config.endpoints.items()
        }
        followings = await hold(
            {
                fleet: partial(
                    open_following,
                    fleet,
                    clients[fleet.place],
                    sources[fleet.place.chain],
                    endpoints[name].health,
                    self._log,
                )
                for name, fleet in fleets.items()
            },
            at_once=AT_ONCE,
        )
        others = _alternatives(config)
        fittings = {
            name: _Fitting(
                endpoints[name],
                settings,
                sources[own[name]],
                doors[name],
                name in others,
                followings[fleets[name]] if name in fleets else None,
            )
            for name, settings in config.endpoints.items()
        }
        return Draft(fittings, frozenset((*sources, *clients, *followings)))

    def _make(
        self, name: str, settings: EndpointSettings, credentials: CredentialSource, doors: Mapping[str, Door]
    ) -> Endpoint:
        """An endpoint without any permits yet."""
        limiter = Limiter(capacity=0, max_waiting=settings.queue.max_waiting)
        later = asyncio.get_running_loop().call_later
        health = Health(limiter, ejects=False, later=later, changed=partial(_nudge, self._known, name))
        endpoint = self._known[name] = Endpoint(name, settings, limiter, health, credentials, doors)
        return endpoint

    def _fit(self, name: str, fitting: _Fitting) -> None:
        """Let an endpoint be as its fitting says, its permits last: what they admit finds all the rest in place."""
        endpoint, following = fitting.endpoint, fitting.following
        if _urls(endpoint.doors) != _urls(fitting.doors):
            endpoint.health.forget()
        endpoint.settings, endpoint.credentials, endpoint.doors = fitting.settings, fitting.credentials, fitting.doors
        endpoint.removed = False
        endpoint.health.eject(ejects=fitting.ejects)
        endpoint.limiter.bound(fitting.settings.queue.max_waiting)
        endpoint.follower, valve = following or (None, None)
        if self._valves.get(name) is not valve:
            self._turn_off(name)
        if valve is not None and endpoint.follower is not None:
            self._valves[name] = valve
            fresh = endpoint.limiter.capacity == 0
            valve.open(known=fresh or endpoint.follower.statistics().fleet is not None)
        elif fitting.settings.capacity is not None:
            endpoint.limiter.resize(fitting.settings.capacity)

    def _turn_off(self, name: str) -> None:
        if (valve := self._valves.pop(name, None)) is not None:
            valve.close()


@asynccontextmanager
async def open_assembly(config: Config, log: FilteringBoundLogger) -> AsyncIterator[Assembly]:
    """The endpoints of a config, each as large as its fleet, until the end.

    Raises:
        AssemblyError: they cannot be put together.
    """
    assembly = Assembly(log)
    try:
        assembly.adopt(await assembly.prepare(config))
        yield assembly
    finally:
        await assembly.close()


def _problems(error: BaseException) -> list[Exception]:
    """What an operator can mend; nothing where something else went wrong."""
    causes = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
    known = all(isinstance(cause, FleetUnknownError | ControlError | HostError) for cause in causes)
    return [cause for cause in causes if isinstance(cause, Exception)] if known else []


def _alternatives(config: Config) -> set[str]:
    """Endpoints in place of which a caller of some route can go elsewhere."""
    routes = [[target.endpoint for target in route.targets] + [*route.fallback] for route in config.routes.values()]
    return {endpoint for names in routes if len(names) > 1 for endpoint in names}


def _nudge(endpoints: Mapping[str, Endpoint], name: str) -> None:
    endpoint = endpoints.get(name)
    if endpoint is not None and endpoint.follower is not None:
        endpoint.follower.nudge()


def _hosts(config: Config) -> tuple[dict[str, HostKind], dict[str, dict[str, Door]]]:
    """By endpoint, which of AWS's hosts it has, and where its calls go. AWS's own settings are read from files."""
    aws, endpoints = config.aws, config.endpoints
    asking = {name: endpoint for name, endpoint in endpoints.items() if _asks_aws(config, endpoint)}
    kinds = {
        profile: host_kind(fips=aws.use_fips_endpoint, dual_stack=aws.use_dualstack_endpoint, profile=profile)
        for profile in {endpoint.profile for endpoint in asking.values()}
    }
    own = {name: kinds[endpoint.profile] if name in asking else PLAIN for name, endpoint in endpoints.items()}
    return own, {name: _doors(config, name, kind) for name, kind in own.items()}


def _asks_aws(config: Config, endpoint: EndpointSettings) -> bool:
    """Whether AWS's own settings matter to an endpoint: they name its hosts, or are asked for by its profile."""
    has_url = bool(endpoint.endpoint_url or config.aws.endpoint_url)
    named = endpoint.profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    return not has_url or endpoint.capacity is None or bool(named)


def _doors(config: Config, name: str, kind: HostKind) -> dict[str, Door]:
    settings = config.endpoints[name]
    doors = {}
    for operation in OPERATIONS:
        url = call_url(config, name, operation, kind)
        signer = Signer(method="POST", url=url, region=region_of(config, settings))
        doors[operation.name] = Door(
            url=url,
            signer=signer,
            fixed=taken(operation, settings.fixed_headers),
            timeout_seconds=settings.stream_timeout_seconds if operation.streams else settings.timeout_seconds,
            max_response_bytes=settings.max_response_bytes,
        )
    return doors


def _urls(doors: Mapping[str, Door]) -> Iterable[str]:
    return [door.url for door in doors.values()]
