"""The ways of calling: InvokeEndpoint many times at once, with real AWS SDK clients that never try twice."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp
import botocore.session
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gateway.cli.demo.environment import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from gateway.cli.demo.errors import DemoError

SERVICE = "sagemaker-runtime"
BODY = b"{}"

Finished = Callable[[], None]
"""Called as often as a call has finished, from any thread."""


@dataclass(frozen=True, slots=True)
class Burst:
    """So many calls at once to an endpoint at a URL, and how long to wait for an answer."""

    url: str
    endpoint: str
    calls: int
    patience_seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the callers saw: the time from the first call to the last answer, and the HTTP status of each."""

    wall_seconds: float
    statuses: tuple[int, ...]


Caller = Callable[[Burst, Finished], Coroutine[Any, Any, Outcome]]
"""Makes the calls of a burst."""


async def overlapping(burst: Burst, finished: Finished) -> Outcome:
    """Calls that wait at the same time: one aiobotocore client, a coroutine for each call."""
    async with AioSession().create_client(SERVICE, config=AioConfig(**_config(burst)), **_options(burst)) as client:

        async def call() -> int:
            try:
                reply = await client.invoke_endpoint(EndpointName=burst.endpoint, Body=BODY)
                async with reply["Body"] as body:
                    await body.read()
            except ClientError as error:
                return _status(error)
            except (BotoCoreError, aiohttp.ClientError) as error:
                raise _unanswered(burst, error) from error
            return _status(reply)

        return await _all_at_once(call, burst, finished)


async def blocking(burst: Burst, finished: Finished) -> Outcome:
    """Calls from as many coroutines that all block their event loop: one botocore client, one call after the other.

    The loop has a thread of its own, so that only the experiment stands still, and not the progress bar or Ctrl-C.
    """
    return await asyncio.to_thread(_in_a_loop_of_its_own, burst, finished)


def _in_a_loop_of_its_own(burst: Burst, finished: Finished) -> Outcome:
    return asyncio.run(_blocking(burst, finished))


async def _blocking(burst: Burst, finished: Finished) -> Outcome:
    client = botocore.session.Session().create_client(SERVICE, config=Config(**_config(burst)), **_options(burst))

    async def call() -> int:
        try:
            reply = client.invoke_endpoint(EndpointName=burst.endpoint, Body=BODY)
            reply["Body"].read()
        except ClientError as error:
            return _status(error)
        except BotoCoreError as error:
            raise _unanswered(burst, error) from error
        return _status(reply)

    try:
        return await _all_at_once(call, burst, finished)
    finally:
        client.close()


async def _all_at_once(call: Callable[[], Coroutine[Any, Any, int]], burst: Burst, finished: Finished) -> Outcome:
    async def one() -> int:
        status = await call()
        finished()
        return status

    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one()) for _ in range(burst.calls)]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return Outcome(time.perf_counter() - began, tuple(task.result() for task in tasks))


def _options(burst: Burst) -> dict[str, str]:
    return {
        "endpoint_url": burst.url,
        "region_name": REGION,
        "aws_access_key_id": ACCESS_KEY_ID,
        "aws_secret_access_key": SECRET_ACCESS_KEY,
    }


def _config(burst: Burst) -> dict[str, Any]:
    return {
        "retries": {"total_max_attempts": 1},
        "max_pool_connections": burst.calls,
        "read_timeout": burst.patience_seconds,
    }


def _status(reply: ClientError | dict[str, Any]) -> int:
    response = reply.response if isinstance(reply, ClientError) else reply
    status: int = response["ResponseMetadata"]["HTTPStatusCode"]
    return status


def _unanswered(burst: Burst, error: Exception) -> DemoError:
    return DemoError(
        f"a call to {burst.url} got no answer at all: {error}. "
        "Run the demo again with nothing else on the machine; when it stays, the process there has a fault."
    )
