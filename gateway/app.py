"""Introduces the parts to each other, opens and closes them in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from functools import partial

from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from structlog.typing import FilteringBoundLogger

from gateway import __version__
from gateway.access import Access
from gateway.admin import Admin, Check
from gateway.assembly import Assembly, AssemblyError, open_assembly
from gateway.budget import Budget
from gateway.buffers import Buffers
from gateway.config import Config
from gateway.config.rules import is_loopback
from gateway.endpoint import Endpoint
from gateway.limiter import Limiter
from gateway.listening import AddressError, Listening, open_listening
from gateway.log import access_log
from gateway.metrics import Exposition, Metrics, Snapshot
from gateway.models import Record, Reloaded
from gateway.parting import Parting
from gateway.proxy import Proxy
from gateway.records import Records
from gateway.reload import Reloader
from gateway.roster import Roster, open_roster
from gateway.router import Router
from gateway.sagemaker.identities import problem_of
from gateway.sagemaker.protocol import ERROR_CODES, INVOKE_ENDPOINT, OPERATIONS
from gateway.tls import TlsError
from gateway.upstream import Upstream, open_upstream
from gateway.views import descriptions, readings, statistics
from gateway.visit import report

LAST_SECONDS = 2.0
"""How long what was cut off may take to tell its callers, before connections are closed."""


class StartError(Exception):
    """The gateway cannot start here; the message says why and what to do."""


@dataclass(slots=True)
class Gateway:
    """A gateway that takes calls.

    Attributes:
        listening: where.
        roster: who is here.
        access: keys and certificate.
        records: by which metrics and log are told of requests.
    """

    listening: Listening
    roster: Roster
    access: Access
    records: Records
    _assembly: Assembly
    _reloader: Reloader
    _log: FilteringBoundLogger
    _readiness: "_Readiness"

    @property
    def url(self) -> str:
        """Where callers are served."""
        return self.listening.url

    @property
    def admin_url(self) -> str:
        """Where operators are."""
        return self.listening.admin_url

    @property
    def limiters(self) -> Mapping[str, Limiter]:
        """Permits and queue of each endpoint."""
        return {name: endpoint.limiter for name, endpoint in self._assembly.endpoints.items()}

    @property
    def config(self) -> Config:
        """What holds now."""
        return self._reloader.config

    async def reload(self) -> Reloaded:
        """Take the config as it is by now, if it can be taken; else all stays as it is, and the log says why."""
        return await self._reloader.reload()

    async def drain(self) -> None:
        """Go away politely: not ready at once, no new calls after the delay, then wait for those at hand, bounded."""
        settings = self.config.drain
        self._readiness.leave()
        seconds = {"delay_seconds": settings.delay_seconds, "timeout_seconds": settings.timeout_seconds}
        self._log.info("draining", waiting=len(self.roster.turns), running=len(self.roster.calls), **seconds)
        await asyncio.sleep(settings.delay_seconds)
        self.roster.drain()
        try:
            async with asyncio.timeout(settings.timeout_seconds):
                await self.roster.wait_idle()
        except TimeoutError:
            await self.cut_off()
        else:
            self.records.tell()
            self._log.info("drained")

    async def cut_off(self) -> None:
        """End at once: who sends or waits is refused, what runs is given up, who does not read is left."""
        waiting, running = self.roster.cut_off()
        self.records.tell()
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
async def open_gateway(
    config: Config, log: FilteringBoundLogger, reread: Callable[[], Config] | None = None
) -> AsyncIterator[Gateway]:
    """A gateway that listens, and that is closed at the end.

    Args:
        config: its settings.
        log: what happens is told there.
        reread: the config that a reload takes, called in a thread; without it, the same again.

    Raises:
        StartError: an address cannot be listened on, the certificate cannot be used, the config asks for what this
            version cannot do, or aiohttp is installed without its C parser.
        ConfigError: the keys file cannot be used.
    """
    if HttpRequestParser is HttpRequestParserPy:
        raise StartError("aiohttp runs without its C parser, which is the safe one: install a wheel of it that has it")
    readiness, access = _Readiness(), _access(config, log)
    async with (
        _open_assembly(config, log) as assembly,
        open_upstream(f"sagemaker-gateway/{__version__}", Budget()) as upstream,
        open_roster() as roster,
    ):
        endpoints = assembly.endpoints
        metrics = _metrics(endpoints)
        records = Records((metrics.count, access_log(log)), report)
        proxy = _proxy(config, endpoints, upstream, tell=records.add, roster=roster, access=access)

        def show(shown: Mapping[str, Endpoint]) -> None:
            metrics.replace(statistics(shown), readings(shown))
            admin.replace(statistics(shown), descriptions(shown))

        parting = Parting(show, asyncio.get_running_loop().call_later, log, tell=records.tell)
        swap = partial(_swap, proxy, assembly, parting)
        reloader = Reloader(
            config, assembly=assembly, access=access, read=reread or (lambda: config), swap=swap, log=log
        )
        admin = Admin(
            expose=Exposition(partial(_look, records, metrics)),
            statistics=statistics(endpoints),
            describe=descriptions(endpoints),
            checks=_checks(assembly, readiness),
            version=__version__,
            reload=reloader.reload if _is_for_operators(config) else None,
        )
        async with _open_listening(config, access, records, proxy, admin) as listening:
            metrics.watch(listening.connections)
            with closing(parting):
                yield Gateway(listening, roster, access, records, assembly, reloader, log, readiness)


def _proxy(
    config: Config,
    endpoints: Mapping[str, Endpoint],
    upstream: Upstream,
    *,
    tell: Callable[[Record], None],
    roster: Roster,
    access: Access,
) -> Proxy:
    listen = config.listen
    return Proxy(
        router=_router(config),
        endpoints=endpoints,
        upstream=upstream,
        tell=tell,
        body_seconds=listen.body_timeout_seconds,
        roster=roster,
        join_retries=listen.join_retries,
        buffers=Buffers(listen.max_buffered_bytes),
        callers=access.callers,
    )


def _metrics(endpoints: Mapping[str, Endpoint]) -> Metrics:
    return Metrics(
        version=__version__,
        readings=readings(endpoints),
        statistics=statistics(endpoints),
        operations=[operation.name for operation in OPERATIONS],
        errors=ERROR_CODES,
    )


def _checks(assembly: Assembly, readiness: _Readiness) -> Mapping[str, Check]:
    return {
        "config": lambda: None,  # a gateway without a valid one does not start
        "credentials": lambda: problem_of(each.credentials for each in assembly.endpoints.values()),
        "draining": readiness.problem,
    }


def _swap(proxy: Proxy, assembly: Assembly, parting: Parting, config: Config, removed: Mapping[str, Endpoint]) -> None:
    """Lead callers by the config that holds now, and show its endpoints."""
    proxy.replace(_router(config), assembly.endpoints)
    parting.replace(assembly.endpoints, removed)


def _router(config: Config) -> Router:
    return Router(config, OPERATIONS, INVOKE_ENDPOINT)


def _is_for_operators(config: Config) -> bool:
    """Whether nobody but operators, and who is on this machine, reaches the ops paths."""
    return config.admin.port is not None or is_loopback(config.listen.host)


def _access(config: Config, log: FilteringBoundLogger) -> Access:
    """Keys and certificate, or why there cannot be any."""
    try:
        return Access(config, log)
    except TlsError as error:
        raise StartError(str(error)) from error


@asynccontextmanager
async def _open_assembly(config: Config, log: FilteringBoundLogger) -> AsyncIterator[Assembly]:
    """The endpoints, or why there cannot be any."""
    async with AsyncExitStack() as stack:
        try:
            assembly = await stack.enter_async_context(open_assembly(config, log))
        except AssemblyError as error:
            raise StartError(str(error)) from error
        yield assembly


@asynccontextmanager
async def _open_listening(
    config: Config, access: Access, records: Records, proxy: Proxy, admin: Admin
) -> AsyncIterator[Listening]:
    """The listeners, or why there cannot be any."""
    async with AsyncExitStack() as stack:
        stack.callback(records.close)  # after they have
        opening = open_listening(
            config, proxy, admin, context=access.context, tell=records.add, last_seconds=LAST_SECONDS
        )
        try:
            listening = await stack.enter_async_context(opening)
        except AddressError as error:
            raise StartError(str(error)) from error
        yield listening


async def _look(records: Records, metrics: Metrics) -> Snapshot:
    """What metrics are, with all requests counted that have ended by now."""
    records.tell()
    return await metrics.look()
