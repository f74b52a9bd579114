"""A stand: the emulator with real instances, a gateway in front of it, and a caller, all on loopback."""

import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import Gateway, open_gateway
from gateway.config import Config, ConfigError
from gateway.emulator import Counters, Emulator, EmulatorSettings
from gateway.log import make_logger
from gateway.models import Reloaded
from tests.raw import RawServer, Script, raw_server

REGION = "ap-northeast-1"
ACCESS_KEY_ID = "AKIAEMULATOR"
SECRET_ACCESS_KEY = "emulator-secret"


@dataclass(frozen=True)
class StandSettings:
    """What a stand is made of.

    Attributes:
        fleets: the emulator's endpoints, by name.
        endpoints: the gateway's settings for them; what is left out is taken from the fleet.
        config: other groups of the gateway's config.
    """

    fleets: Mapping[str, Mapping[str, Any]]
    endpoints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def emulator(self) -> EmulatorSettings:
        """The settings of the emulator."""
        return EmulatorSettings.model_validate({"listen": {"port": 0}, "region": REGION, "endpoints": self.fleets})

    def gateway(self, upstream: str) -> Config:
        """The config of the gateway in front of it."""
        endpoints = {
            name: {"instances": self.fleets.get(name, {}).get("instances", 1), **self.endpoints.get(name, {})}
            for name in {**self.fleets, **self.endpoints}
        }
        return Config.model_validate(
            {
                "listen": {"port": 0},
                "aws": {
                    "region": REGION,
                    "endpoint_url": upstream,
                    "control_endpoint_url": upstream,
                    "refresh_seconds": 1,
                },
                "endpoints": endpoints,
                **self.config,
            }
        )


@dataclass(frozen=True)
class Reply:
    """What a caller got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass
class Stand:
    """Everything at hand."""

    emulator: Emulator
    gateway: Gateway
    session: aiohttp.ClientSession
    logged: io.StringIO
    next: list[Config | ConfigError]
    """What a reload finds: the last of them."""

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return self.gateway.url

    async def reload(self, settings: StandSettings) -> Reloaded:
        """Have the gateway take another config; the emulator stays as it is."""
        self.next.append(settings.gateway(self.emulator.url))
        return await self.gateway.reload()

    def counters(self, endpoint: str) -> Counters:
        """What the fleet saw."""
        return self.emulator.counters(endpoint)

    def log(self, event: str) -> list[dict[str, Any]]:
        """The log lines of one event so far."""
        self.gateway.records.tell()
        return [line for line in lines_of(self.logged) if line["event"] == event]

    def events(self) -> list[str]:
        """The events of the lines that are in the log by now, in their order."""
        return [line["event"] for line in lines_of(self.logged)]

    async def request(self, method: str, path: str, body: bytes = b"{}", **headers: str) -> Reply:
        """Any request; underscores in names of headers stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, data=io.BytesIO(body), headers=named) as response:
            return Reply(response.status, response.headers.copy(), await response.read())

    async def invoke(self, endpoint: str, body: bytes = b"{}", **headers: str) -> Reply:
        """InvokeEndpoint through the gateway."""
        return await self.request("POST", f"/endpoints/{endpoint}/invocations", body, **headers)

    async def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """All samples of `/metrics`, by name and labels."""
        reply = await self.request("GET", "/metrics", b"")
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(reply.body.decode())
            for sample in family.samples
        }


MakeStand = Callable[[StandSettings], Awaitable[Stand]]


@asynccontextmanager
async def open_stand(settings: StandSettings) -> AsyncIterator[Stand]:
    """A stand that is closed at the end."""
    logged = io.StringIO()
    log = make_logger(level="debug", style="json", stream=logged)
    found: list[Config | ConfigError] = []

    def reread() -> Config:
        if isinstance(found[-1], ConfigError):
            raise found[-1]
        return found[-1]

    async with Emulator(settings.emulator()) as emulator:
        found.append(settings.gateway(emulator.url))
        async with (
            open_gateway(settings.gateway(emulator.url), log, reread) as gateway,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            yield Stand(emulator, gateway, session, logged, found)


def lines_of(logged: io.StringIO) -> list[dict[str, Any]]:
    """The lines of a log of JSON."""
    return [json.loads(line) for line in logged.getvalue().splitlines()]


def config_in_front_of(url: str, config: Mapping[str, Any] = MappingProxyType({}), **endpoint: Any) -> Config:
    """The config of a gateway before one SageMaker, with an endpoint `raw` of one instance, and other groups."""
    groups = {
        "listen": {"port": 0},
        "aws": {"region": REGION, "endpoint_url": url},
        "endpoints": {"raw": {"instances": 1, **endpoint}},
    }
    return Config.model_validate({**groups, **config})


@asynccontextmanager
async def in_front_of(
    *scripts: Script, config: Mapping[str, Any] = MappingProxyType({}), **endpoint: Any
) -> AsyncIterator[tuple[Gateway, RawServer]]:
    """A gateway before a scripted SageMaker, with an endpoint `raw` of one instance, and other groups of its config."""
    async with raw_server(*scripts) as server:
        settings = config_in_front_of(server.url, config, **endpoint)
        async with open_gateway(settings, make_logger(stream=io.StringIO())) as gateway:
            yield gateway, server
