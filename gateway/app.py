"""Introduces the parts to each other, opens and closes them in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from ssl import SSLContext
from typing import TypeAlias

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from structlog.typing import FilteringBoundLogger

from gateway import __version__
from gateway.access import Access
from gateway.admin import Admin, Handler
from gateway.assembly import open_endpoints
from gateway.budget import Budget
from gateway.buffers import Buffers
from gateway.capacity import FleetUnknownError
from gateway.config import Config, Listen
from gateway.config.rules import OPS_PATHS
from gateway.endpoint import Endpoint
from gateway.limiter import Limiter
from gateway.listener import Limits, open_listener
from gateway.log import access_log
from gateway.metrics import Metrics
from gateway.models import Record
from gateway.proxy import Proxy
from gateway.roster import Roster
from gateway.router import Router
from gateway.sagemaker.control import ControlError
from gateway.sagemaker.credentials import CredentialSource
from gateway.sagemaker.hosts import HostError
from gateway.sagemaker.identities import open_identities, problem_of
from gateway.sagemaker.protocol import ERROR_CODES, INVOKE_ENDPOINT, OPERATIONS
from gateway.tls import TlsError
from gateway.upstream import open_upstream
from gateway.views import described, readings

LAST_SECONDS = 2.0
"""How long what was cut off may take to tell its callers, before connections are closed."""

Hooks: TypeAlias = tuple[Callable[[Record], None], ...]
"""Who is told of each request once it is over."""


class StartError(Exception):
    """The gateway cannot start here; the message says why and what to do."""


@dataclass(slots=True)
class Gateway:
    """A gateway that takes calls.

    Attributes:
        url: where.
        admin_url: where operators reach it.
        limiters: permits and queue of each endpoint.
        config: what it was made from.
        roster: who is here.
        access: keys and certificate.
    """

    url: str
    admin_url: str
    limiters: Mapping[str, Limiter]
    config: Config
    roster: Roster
    access: Access
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
        StartError: an address cannot be listened on, the certificate cannot be used, the config asks for what this
            version cannot do, or aiohttp is installed without its C parser.
        ConfigError: the keys file cannot be used.
    """
    if HttpRequestParser is HttpRequestParserPy:
        raise StartError("aiohttp runs without its C parser, which is the safe one: install a wheel of it that has it")
    readiness, roster, access = _Readiness(), Roster(), _access(config, log)
    async with (
        open_identities(config, log) as credentials,
        open_upstream(f"sagemaker-gateway/{__version__}", Budget()) as upstream,
        _open_endpoints(config, credentials, log) as endpoints,
    ):
        statistics = {name: endpoint.limiter.statistics for name, endpoint in endpoints.items()}
        metrics = Metrics(
            version=__version__,
            readings=readings(endpoints),
            statistics=statistics,
            operations=[operation.name for operation in OPERATIONS],
            errors=ERROR_CODES,
        )
        hooks: Hooks = (metrics, access_log(log))
        proxy = Proxy(
            router=Router(config, OPERATIONS, INVOKE_ENDPOINT),
            endpoints=endpoints,
            upstream=upstream,
            hooks=hooks,
            body_seconds=config.listen.body_timeout_seconds,
            roster=roster,
            join_retries=config.listen.join_retries,
            buffers=Buffers(config.listen.max_buffered_bytes),
            callers=access.callers,
        )
        admin = Admin(
            registry=metrics.registry,
            statistics=statistics,
            describe={name: partial(described, config, endpoint) for name, endpoint in endpoints.items()},
            checks={
                "config": lambda: None,  # a gateway without a valid one does not start
                "credentials": partial(problem_of, credentials.values()),
                "draining": readiness.problem,
            },
            version=__version__,
        )
        async with _listen(config, access, hooks, proxy, admin) as (url, admin_url):
            limiters = {name: endpoint.limiter for name, endpoint in endpoints.items()}
            yield Gateway(url, admin_url, limiters, config, roster, access, log, readiness)


def _access(config: Config, log: FilteringBoundLogger) -> Access:
    """Keys and certificate, or why there cannot be any."""
    try:
        return Access(config, log)
    except TlsError as error:
        raise StartError(str(error)) from error


@asynccontextmanager
async def _open_endpoints(
    config: Config, credentials: Mapping[str, CredentialSource], log: FilteringBoundLogger
) -> AsyncIterator[Mapping[str, Endpoint]]:
    """The endpoints, or why there cannot be any."""
    async with AsyncExitStack() as stack:
        try:
            endpoints = await stack.enter_async_context(open_endpoints(config, credentials, log))
        except (FleetUnknownError, ControlError, HostError) as error:
            raise StartError(str(error)) from error
        yield endpoints


@asynccontextmanager
async def _listen(
    config: Config, access: Access, hooks: Hooks, proxy: Proxy, admin: Admin
) -> AsyncIterator[tuple[str, str]]:
    """Open listeners: the URL of callers, and that of operators."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        handler = admin.handle if request.rel_url.raw_path in OPS_PATHS else proxy.handle
        return await handler(request)

    listen, port = config.listen, config.admin.port
    if port is None:
        async with _listener(
            handle, hooks, listen, "listen", host=listen.host, port=listen.port, context=access.context
        ) as url:
            yield url, url
    else:
        host = config.admin.host or listen.host
        async with (
            _listener(admin.handle, hooks, listen, "admin", host=host, port=port, context=None) as admin_url,
            _listener(
                proxy.handle, hooks, listen, "listen", host=listen.host, port=listen.port, context=access.context
            ) as url,
        ):
            yield url, admin_url


@asynccontextmanager
async def _listener(
    handler: Handler, hooks: Hooks, listen: Listen, group: str, *, host: str, port: int, context: SSLContext | None
) -> AsyncIterator[str]:
    """One open listener, whose address the config has in a group of that name; its URL."""
    limits = Limits(
        connections=listen.max_connections,
        head_seconds=listen.header_timeout_seconds,
        keepalive_seconds=listen.keepalive_seconds,
        stall_seconds=listen.stall_timeout_seconds,
    )
    async with AsyncExitStack() as stack:
        try:
            listener = await stack.enter_async_context(
                open_listener(
                    handler,
                    host=host,
                    port=port,
                    context=context,
                    hooks=hooks,
                    limits=limits,
                    last_seconds=LAST_SECONDS,
                )
            )
        except OSError as error:
            raise StartError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                f"free the address, or change {group}.host or {group}.port"
            ) from error
        yield listener.url
