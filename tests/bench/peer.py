"""What the gateway is compared with, as a process: an aiohttp app around one pooled aiobotocore client."""

import asyncio
import sys
from typing import Any

import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import web

REGION = "ap-northeast-1"
CONNECTIONS = 256


def app(client: Any) -> web.Application:
    """One route, with nothing around it: no queue, no log, no metrics.

    Args:
        client: the aiobotocore client that all requests share.
    """

    async def invoke(request: web.Request) -> web.Response:
        answer = await client.invoke_endpoint(
            EndpointName=request.match_info["name"], Body=await request.read(), ContentType=request.content_type
        )
        async with answer["Body"] as body:
            return web.Response(body=await body.read(), content_type=answer["ContentType"])

    application = web.Application(client_max_size=2**25)
    application.router.add_post("/endpoints/{name}/invocations", invoke)
    return application


async def main(endpoint_url: str) -> None:
    """Serve until the process is ended.

    Args:
        endpoint_url: the base URL of the SageMaker Runtime API.
    """
    config = AioConfig(max_pool_connections=CONNECTIONS, retries={"total_max_attempts": 1})
    session = get_session()
    async with session.create_client(
        "sagemaker-runtime", region_name=REGION, endpoint_url=endpoint_url, config=config
    ) as client:
        runner = web.AppRunner(app(client), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(f"listening on http://127.0.0.1:{site.port}", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
