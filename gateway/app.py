"""Introduces the parts to each other, opens and closes them in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from structlog.typing import FilteringBoundLogger

from gateway import __version__
from gateway.admin import Admin
from gateway.capacity import FleetStatistics, FleetUnknownError, Follower, follow
from gateway.config import Config
from gateway.config.rules import OPS_PATHS
from gateway.limiter import Limiter
from gateway.log import access_log
from gateway.metrics import FLEET_PROBING, FLEET_UNREADABLE, INSTANCES, ROUTING_WARNING, Metrics
from gateway.proxy import Endpoint, Proxy
from gateway.roster import Roster
from gateway.router import Router
from gateway.sagemaker.control import PERMANENT, ControlError, describe, open_control
from gateway.sagemaker.credentials import CredentialSource, open_credentials
from gateway.sagemaker.hosts import runtime_url
from gateway.sagemaker.protocol import ERROR_CODES, INVOKE_ENDPOINT, OPERATIONS
from gateway.sagemaker.signing import Signer
from gateway.upstream import open_upstream

LAST_SECONDS = 2.0
"""How long what was cut off may take to tell its callers, before connections are closed."""

BACKLOG = 4096
"""Connections that the kernel keeps until they are accepted: a burst of thousands of callers loses none."""


class StartError(Exception):
    """The gateway cannot start here; the message says why and what to do."""


@dataclass(slots=True)
class Gateway:
    """A gateway that takes calls.

    Attributes:
        url: where.
        limiters: permits and queue of each endpoint.
        config: what it was made from.
        roster: who is here.
    """

    url: str
    limiters: Mapping[str, Limiter]
    config: Config
    roster: Roster
    _log: FilteringBoundLogger
    _readiness: "_Readiness"

    async def drain(self) -> None:
        """Go away politely: not ready at once, no new calls after the delay, then wait for those at hand, bounded."""
        settings = self.config.drain
        self._readiness.leave()
        self._log.info("draining", delay_seconds=settings.delay_seconds, timeout_seconds=settings.timeout_seconds)
        await asyncio.sleep(settings.delay_seconds)
        self.roster.drain()
        try:
            async with asyncio.timeout(settings.timeout_seconds):
                await self.roster.wait_idle()
        except TimeoutError:
            await self.cut_off()
        else:
            self._log.info("drained")

    async def cut_off(self) -> None:
        """End at once: who sends or waits is refused, what runs is given up, who does not read is left."""
        waiting, running = self.roster.cut_off()
        self._log.warning("drain_cut_off", waiting=waiting, running=running)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self.roster.wait_idle()


class _Readiness:
    """Whether traffic should come here."""

    def __init__(self) -> None:
        self._leaving = False

    def leave(self) -> None:
        self._leaving = True

    def problem(self) -> str | None:
        return "shutting down" if self._leaving else None


@asynccontextmanager
async def open_gateway(config: Config, log: FilteringBoundLogger) -> AsyncIterator[Gateway]:
    """A gateway that listens, and that is closed at the end.

    Raises:
        StartError: the address cannot be listened on, the config asks for what this version cannot do, or aiohttp is
            installed without its C parser.
    """
    if HttpRequestParser is HttpRequestParserPy:
        raise StartError("aiohttp runs without its C parser, which is the safe one: install a wheel of it that has it")
    limiters = {
        name: Limiter(capacity=endpoint.capacity or 0, max_waiting=endpoint.queue.max_waiting)
        for name, endpoint in config.endpoints.items()
    }
    readiness, roster = _Readiness(), Roster()
    async with (
        open_credentials(log) as credentials,
        open_upstream(f"sagemaker-gateway/{__version__}") as upstream,
        _follow_fleets(config, limiters, credentials, log) as followers,
    ):
        metrics = _metrics(config, limiters, followers)
        proxy = Proxy(
            router=Router(config, OPERATIONS, INVOKE_ENDPOINT),
            endpoints=_endpoints(config, limiters),
            credentials=credentials,
            upstream=upstream,
            hooks=(metrics, access_log(log)),
            body_seconds=config.listen.body_timeout_seconds,
            roster=roster,
        )
        admin = _admin(
            config=config,
            limiters=limiters,
            followers=followers,
            metrics=metrics,
            credentials=credentials,
            readiness=readiness,
        )
        async with _listen(config, proxy, admin) as url:
            yield Gateway(url, limiters, config, roster, log, readiness)


@asynccontextmanager
async def _listen(config: Config, proxy: Proxy, admin: Admin) -> AsyncIterator[str]:
    """An open listener; its URL."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        handler = admin.handle if request.rel_url.raw_path in OPS_PATHS else proxy.handle
        return await handler(request)

    listen = config.listen
    server = web.Server(
        handle,
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=listen.keepalive_seconds,
    )
    runner = web.ServerRunner(server, shutdown_timeout=LAST_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, listen.host, listen.port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise StartError(
                f"cannot listen on {listen.host}:{listen.port}: {error.strerror or error}; "
                "free the address, or change listen.host or listen.port"
            ) from error
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        yield f"http://{host}:{site.port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _follow_fleets(
    config: Config, limiters: Mapping[str, Limiter], credentials: CredentialSource, log: FilteringBoundLogger
) -> AsyncIterator[Mapping[str, Follower]]:
    """For each endpoint with `instances: auto` somebody who keeps its limiter as large as its fleet."""
    followed = {name: endpoint for name, endpoint in config.endpoints.items() if endpoint.capacity is None}
    if not followed:
        yield {}
        return
    aws = config.aws
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(
                open_control(aws.region, aws.control_endpoint_url, credentials.current)
            )
            followers = {
                name: Follower(
                    name,
                    read=partial(describe, client, config.endpoint_name(name)),
                    permanent=PERMANENT,
                    limiter=limiters[name],
                    concurrency_per_instance=endpoint.concurrency_per_instance,
                    refresh_seconds=aws.refresh_seconds,
                    log=log,
                )
                for name, endpoint in followed.items()
            }
            await stack.enter_async_context(follow(followers.values()))
        except (FleetUnknownError, ControlError) as error:
            raise StartError(str(error)) from error
        yield followers


def _endpoints(config: Config, limiters: Mapping[str, Limiter]) -> dict[str, Endpoint]:
    region = config.aws.region
    base = config.aws.endpoint_url or runtime_url(region)
    endpoints = {}
    for name, settings in config.endpoints.items():
        doors = {}
        for operation in OPERATIONS:
            url = f"{base}/endpoints/{config.endpoint_name(name)}/{operation.suffix}"
            doors[operation.name] = (url, Signer(method="POST", url=url, region=region))
        endpoints[name] = Endpoint(name, settings, limiters[name], doors)
    return endpoints


def _ask(follower: Follower | None, read: Callable[[FleetStatistics], float]) -> float:
    return 0.0 if follower is None else float(read(follower.statistics()))


def _metrics(config: Config, limiters: Mapping[str, Limiter], followers: Mapping[str, Follower]) -> Metrics:
    def of_fleets(read: Callable[[FleetStatistics], float]) -> dict[str, Callable[[], float]]:
        return {name: partial(_ask, followers.get(name), read) for name in config.endpoints}

    fixed = {name: endpoint.instances for name, endpoint in config.endpoints.items() if endpoint.instances != "auto"}
    instances = of_fleets(lambda fleet: fleet.instances)
    instances |= {name: partial(float, count) for name, count in fixed.items()}
    return Metrics(
        version=__version__,
        fleets={
            INSTANCES: instances,
            FLEET_UNREADABLE: of_fleets(lambda fleet: fleet.problem is not None),
            FLEET_PROBING: of_fleets(lambda fleet: fleet.probing),
            ROUTING_WARNING: of_fleets(lambda fleet: fleet.routing_warning is not None),
        },
        statistics={name: limiter.statistics for name, limiter in limiters.items()},
        operations=[operation.name for operation in OPERATIONS],
        errors=ERROR_CODES,
    )


def _admin(
    *,
    config: Config,
    limiters: Mapping[str, Limiter],
    followers: Mapping[str, Follower],
    metrics: Metrics,
    credentials: CredentialSource,
    readiness: _Readiness,
) -> Admin:
    def described(name: str) -> dict[str, object]:
        endpoint = config.endpoints[name]
        fleet = {"fleet": asdict(followers[name].statistics())} if name in followers else {}
        return {
            "endpoint_name": config.endpoint_name(name),
            "instances": endpoint.instances,
            "concurrency_per_instance": endpoint.concurrency_per_instance,
            **fleet,
        }

    return Admin(
        registry=metrics.registry,
        statistics={name: limiter.statistics for name, limiter in limiters.items()},
        describe={name: partial(described, name) for name in config.endpoints},
        checks={
            "config": lambda: None,  # a gateway without a valid one does not start
            "credentials": lambda: credentials.problem,
            "draining": readiness.problem,
        },
        version=__version__,
    )
