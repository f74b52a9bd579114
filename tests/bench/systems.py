"""The systems that are compared, each a process with the same upstream behind it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.compiled.build import unpack

from .envoy import serving_envoy
from .parts import OPERATION
from .processes import REGION, ROOT, Server, serving
from .upstream import UNSIGNED

ENDPOINT = "bench"
PATH = f"/endpoints/{ENDPOINT}/invocations"
STREAM_PATH = f"/endpoints/{ENDPOINT}{OPERATION.decode()}"
INSTANCES = 512
"""More than there are connections, so that nobody ever waits."""

GATEWAY, BESIDE, COMPILED, ENVOY = "gateway", "gateway beside", "gateway, compiled", "Envoy"
POOLED, POOLED_UVLOOP, ARTICLE = "aiobotocore", "aiobotocore on uvloop", "the article's app"
DIRECT = "upstream itself"
DIRECT_PATH = f"{UNSIGNED}/{ENDPOINT}"
DIRECT_STREAM_PATH = f"{DIRECT_PATH}{OPERATION.decode()}"


@dataclass(frozen=True, slots=True)
class Stand:
    """Everything that runs for the bench.

    Attributes:
        upstream: what stands for SageMaker.
        systems: what is compared, by name.
    """

    upstream: Server
    systems: Mapping[str, Server]


@asynccontextmanager
async def stand(
    directory: Path, names: Sequence[str], *, checkout: Path = ROOT, beside: Path | None = None
) -> AsyncIterator[Stand]:
    """An upstream and some systems in front of it; ended on the way out.

    Args:
        directory: where configs and logs may be put.
        names: which systems.
        checkout: whose gateway it is.
        beside: another checkout whose gateway is one of them too.
    """
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(serving(["-m", "tests.bench.upstream"], log=directory / "up.log"))
        url = f"http://127.0.0.1:{upstream.port}"
        peers = {POOLED: ["peer", url, "asyncio"], POOLED_UVLOOP: ["peer", url, "uvloop"], ARTICLE: ["article", url]}
        systems = {}
        for name in names:
            if name == GATEWAY:
                serving_it = serving_gateway(directory / "gateway", url, checkout=checkout)
            elif name == COMPILED:
                place = directory / "compiled"
                place.mkdir()
                package = await asyncio.to_thread(unpack, place)
                serving_it = serving_gateway(directory / "gateway-compiled", url, checkout=package)
            elif name == ENVOY:
                serving_it = serving_envoy(directory / "envoy", upstream.port, running=INSTANCES, waiting=INSTANCES)
            else:
                module, *arguments = peers[name]
                log = directory / f"{module}-{arguments[-1].rpartition('/')[2]}.log"
                serving_it = serving(["-m", f"tests.bench.{module}", *arguments], log=log)
            systems[name] = await stack.enter_async_context(serving_it)
            if name == GATEWAY and beside is not None:
                other = serving_gateway(directory / "beside", url, checkout=beside)
                systems[BESIDE] = await stack.enter_async_context(other)
        yield Stand(upstream, systems)


@asynccontextmanager
async def serving_gateway(
    name: Path,
    url: str,
    *,
    command: Sequence[str] = ("-m", "gateway"),
    checkout: Path = ROOT,
    settings: Mapping[str, Any] | None = None,
    under: Sequence[str] = (),
) -> AsyncIterator[Server]:
    """A gateway with default settings, its access log in a file.

    Args:
        name: its files are called so.
        url: its upstream.
        command: how it is run.
        checkout: whose gateway it is.
        settings: groups of the config in place of these.
        under: the command that runs Python, if it is not to be run by itself.
    """
    config = name.with_suffix(".yaml")
    groups = {
        "listen": {"port": 0},
        "aws": {"region": REGION, "endpoint_url": url},
        "endpoints": {ENDPOINT: {"instances": INSTANCES}},
    }
    config.write_text(json.dumps({**groups, **(settings or {})}))  # JSON is YAML
    arguments = [*command, "serve", "--config", str(config)]
    async with serving(arguments, log=name.with_suffix(".log"), checkout=checkout, under=under) as server:
        yield server
