"""How it all began, as a process: an aiohttp app that makes a boto3 client for each request, and blocks its loop."""

import sys

import boto3
from aiohttp import web

from .processes import REGION, listen


def app(endpoint_url: str) -> web.Application:
    """One route.

    Args:
        endpoint_url: the base URL of the SageMaker Runtime API.
    """

    async def invoke(request: web.Request) -> web.Response:
        body = await request.read()
        client = boto3.client("sagemaker-runtime", region_name=REGION, endpoint_url=endpoint_url)
        answer = client.invoke_endpoint(
            EndpointName=request.match_info["name"], Body=body, ContentType=request.content_type
        )
        return web.Response(body=answer["Body"].read(), content_type=answer["ContentType"])

    application = web.Application(client_max_size=2**25)
    application.router.add_post("/endpoints/{name}/invocations", invoke)
    return application


if __name__ == "__main__":
    web.run_app(app(sys.argv[1]), sock=listen(), print=None)
