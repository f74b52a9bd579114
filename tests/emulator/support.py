"""What the emulator's tests have in common: settings, SDK clients, and waiting for things to come true."""

import asyncio
import functools
import io
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import boto3
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.config import Config

from gateway.emulator import Emulator, EmulatorSettings

REGION = "ap-northeast-1"
KEY = "AKIAEMULATOR"
SECRET = "emulator-secret"
ROOT = Path(__file__).parents[2]
FAST = {"model": {"seconds": 0, "echo": True}}


def settings(endpoints: dict[str, Any], **others: Any) -> EmulatorSettings:
    """Settings on a free port of the loopback interface."""
    return EmulatorSettings.model_validate({"listen": {"port": 0}, "endpoints": endpoints, **others})


def unsigned(**endpoints: Any) -> EmulatorSettings:
    """Settings that take calls without a signature."""
    return settings(endpoints, verify_signatures=False)


@functools.cache
def _session() -> Any:
    """One for all tests: it reads the service models only once."""
    return get_session()


@asynccontextmanager
async def sdk(emulator: Emulator, service: str = "sagemaker-runtime", **others: Any) -> AsyncIterator[Any]:
    """A real SDK client that never tries twice; keys are given, so that nothing of the environment is asked."""
    options = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": REGION, **others}
    config = AioConfig(retries={"total_max_attempts": 1}, max_pool_connections=100)
    async with _session().create_client(service, endpoint_url=emulator.url, config=config, **options) as client:
        yield client


def plain_sdk(emulator: Emulator, service: str = "sagemaker-runtime") -> Any:
    """The synchronous SDK, for a thread; it never tries twice either."""
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=emulator.url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": 1}),
    )


async def invoke(client: Any, name: str, body: bytes | io.BytesIO = b"{}", **parameters: Any) -> bytes:
    """InvokeEndpoint and its whole body."""
    reply = await client.invoke_endpoint(EndpointName=name, Body=body, **parameters)
    async with reply["Body"] as stream:
        data: bytes = await stream.read()
    return data


async def stream_of(client: Any, name: str, body: bytes = b"{}", **parameters: Any) -> Any:
    """InvokeEndpointWithResponseStream, up to its first part."""
    return await client.invoke_endpoint_with_response_stream(EndpointName=name, Body=body, **parameters)


async def parts_of(reply: Any) -> AsyncIterator[bytes]:
    """The bytes of a stream, part by part."""
    async for event in reply["Body"]:
        yield event["PayloadPart"]["Bytes"]


async def collect(reply: Any, got: list[bytes]) -> None:
    """Gather parts up to the end, whichever it is."""
    async for part in parts_of(reply):
        got.append(part)  # noqa: PERF401 (a comprehension would lose them at an error)


async def streamed(client: Any, name: str, body: bytes = b"{}", **parameters: Any) -> list[bytes]:
    """InvokeEndpointWithResponseStream, and all of its parts."""
    return [part async for part in parts_of(await stream_of(client, name, body, **parameters))]


@asynccontextmanager
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client without limits."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:
        yield session


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something is true, and fail when it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come true"
        await asyncio.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and only waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def descendants(pid: int) -> list[int]:
    """The processes below one, their own children included."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text(encoding="ascii").split()):
            found += [child, *descendants(child)]
    return found


def variable(pid: int, name: str) -> str:
    """A variable of a process's environment."""
    lines = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0")
    return dict(line.split("=", 1) for line in lines if line)[name]


def python_path() -> dict[str, str]:
    """The environment in which a new interpreter finds the package under test."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true"}
