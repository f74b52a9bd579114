"""What the gateway is compared with, as a process: an aiohttp app around one pooled aiobotocore client."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import web

from .processes import REGION, listen

CONNECTIONS = 512
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
_CLIENT: web.AppKey[Any] = web.AppKey("client", object)


def app(endpoint_url: str) -> web.Application:
    """Two routes, with nothing around them: no queue, no log, no metrics.

    Args:
        endpoint_url: the base URL of the SageMaker Runtime API.
    """

    async def client(application: web.Application) -> AsyncIterator[None]:
        config = AioConfig(max_pool_connections=CONNECTIONS, retries={"total_max_attempts": 1})
        async with get_session().create_client(
            "sagemaker-runtime", region_name=REGION, endpoint_url=endpoint_url, config=config
        ) as application[_CLIENT]:
            yield

    application = web.Application(client_max_size=2**25)
    application.cleanup_ctx.append(client)
    application.router.add_post("/endpoints/{name}/invocations", _invoke)
    application.router.add_post("/endpoints/{name}/invocations-response-stream", _stream)
    return application


async def _invoke(request: web.Request) -> web.Response:
    answer = await request.app[_CLIENT].invoke_endpoint(
        EndpointName=request.match_info["name"], Body=await request.read(), ContentType=request.content_type
    )
    async with answer["Body"] as body:
        return web.Response(body=await body.read(), content_type=answer["ContentType"])


async def _stream(request: web.Request) -> web.StreamResponse:
    answer = await request.app[_CLIENT].invoke_endpoint_with_response_stream(
        EndpointName=request.match_info["name"], Body=await request.read(), ContentType=request.content_type
    )
    response = web.StreamResponse()
    response.content_type = answer["ContentType"]
    await response.prepare(request)
    async for event in answer["Body"]:
        await response.write(event["PayloadPart"]["Bytes"])
    await response.write_eof()
    return response


def main(endpoint_url: str, loop: str) -> None:
    """Serve until the process is ended.

    Args:
        endpoint_url: the base URL of the SageMaker Runtime API.
        loop: which event loop; `asyncio` is what `run_app` takes by itself.
    """
    web.run_app(app(endpoint_url), sock=listen(), loop=LOOPS[loop](), print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
