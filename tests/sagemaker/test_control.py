"""Describing a fleet: botocore's real client against moto, and against a control plane for what moto cannot show."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from moto.server import ThreadedMotoServer

from gateway.errors import CREDENTIALS, Refusal
from gateway.sagemaker import control
from gateway.sagemaker.control import (
    PERMANENT,
    BadCredentialsError,
    Client,
    ControlError,
    DeniedError,
    Fleet,
    NotFoundError,
    RefusedKeysError,
    ThrottledError,
    UnreachableError,
    describe,
    open_control,
)
from gateway.sagemaker.hosts import PLAIN, HostKind
from gateway.sagemaker.signing import Credentials
from tests.stand import ACCESS_KEY_ID, SECRET_ACCESS_KEY

REGION = "eu-west-1"
ACCOUNT = "123456789012"
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/resnet"
JSON = "application/x-amz-json-1.1"
SERVING = ("InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed")
NOT_SERVING = ("OutOfService", "Creating", "Deleting", "Failed")


def keys() -> Credentials:
    """What the tests sign with."""
    return Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY, "token")


def a_variant(name: str = "main", instances: int = 2, weight: float = 1.0, **more: Any) -> dict[str, Any]:
    """A variant as the control plane describes it."""
    return {"VariantName": name, "CurrentInstanceCount": instances, "CurrentWeight": weight, **more}


def routed(strategy: str) -> dict[str, Any]:
    """The routing strategy of a variant."""
    return {"RoutingConfig": {"RoutingStrategy": strategy}}


def serverless(concurrency: int) -> dict[str, Any]:
    """A serverless variant."""
    config = {"MemorySizeInMB": 2048, "MaxConcurrency": concurrency}
    return {"VariantName": "main", "CurrentInstanceCount": 0, "CurrentWeight": 1.0, "CurrentServerlessConfig": config}


def an_endpoint(*variants: dict[str, Any], status: str = "InService") -> dict[str, Any]:
    """An endpoint as the control plane describes it."""
    return {
        "EndpointName": "resnet",
        "EndpointArn": ARN,
        "EndpointStatus": status,
        "ProductionVariants": list(variants),
        "CreationTime": 1.0,
        "LastModifiedTime": 1.0,
    }


def a_component(copies: int | None = 3, status: str = "InService", **more: Any) -> dict[str, Any]:
    """An inference component as the control plane describes it."""
    counts = {} if copies is None else {"RuntimeConfig": {"CurrentCopyCount": copies, "DesiredCopyCount": 9}}
    return {
        "InferenceComponentName": "llm",
        "InferenceComponentArn": ARN,
        "EndpointName": "resnet",
        "EndpointArn": ARN,
        "VariantName": "main",
        "InferenceComponentStatus": status,
        "CreationTime": 1.0,
        "LastModifiedTime": 1.0,
        **counts,
        **more,
    }


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Plane:
    """A control plane that answers as it is told, by the name of what is described."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        self.authorizations: list[tuple[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one description."""
        action = request.headers["X-Amz-Target"].removeprefix("SageMaker.")
        body = json.loads(await request.text())
        (name,) = body.values()
        self.asked.append((action, name))
        self.authorizations.append((request.headers["Authorization"], request.headers["X-Amz-Security-Token"]))
        answer: Any = self.answers[name]
        if callable(answer):
            response: web.StreamResponse = await answer(request)
            return response
        return web.json_response(answer, content_type=JSON)


def refusing(status: int, code: str, message: str | None = None) -> Answer:
    """Answers with an error of AWS, whose text names an account unless it is none."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        text = f"User: arn:aws:sts::{ACCOUNT}:assumed-role/x is not allowed on {ARN}" if message is None else message
        return web.json_response({"__type": code, "message": text}, status=status, content_type=JSON)

    return answer


def saying(text: str, status: int = 200) -> Answer:
    """Answers with any text."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type=JSON)

    return answer


@asynccontextmanager
async def serve(plane: Plane) -> AsyncIterator[str]:
    """A control plane that listens; its URL."""
    app = web.Application()
    app.router.add_post("/", plane.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


@pytest.fixture
def plane() -> Plane:
    """A control plane with nothing in it."""
    return Plane()


@pytest.fixture
async def client(plane: Plane) -> AsyncIterator[Client]:
    """A real client of that control plane."""
    async with serve(plane) as url, open_control(REGION, url, keys) as client:
        yield client


async def test_the_fleet_is_what_is_there_now(plane: Plane, client: Client) -> None:
    """Not what was asked for; and one description is one request, signed with the gateway's own keys."""
    plane.answers["resnet"] = an_endpoint(a_variant(DesiredInstanceCount=8, **routed("LEAST_OUTSTANDING_REQUESTS")))

    assert await describe(client, "resnet") == Fleet(
        instances=2,
        serverless=False,
        status="InService",
        serving=True,
        stable=True,
        routing=("LEAST_OUTSTANDING_REQUESTS",),
        variants=1,
    )
    assert plane.asked == [("DescribeEndpoint", "resnet")]
    ((authorization, token),) = plane.authorizations
    assert authorization.startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/")
    assert token == "token"


@pytest.mark.parametrize("status", [*SERVING, *NOT_SERVING])
async def test_states(plane: Plane, client: Client, status: str) -> None:
    """Changing and mixed fleets serve with what they have; only one in service is about to stay as it is."""
    plane.answers["resnet"] = an_endpoint(a_variant(instances=3), status=status)

    fleet = await describe(client, "resnet")

    assert (fleet.instances, fleet.status) == (3, status)
    assert (fleet.serving, fleet.stable) == (status in SERVING, status == "InService")


async def test_calls_reach_variants_with_a_weight(plane: Plane, client: Client) -> None:
    """A variant without any is left out, and so are shadow variants; strategies are told each once."""
    endpoint = an_endpoint(
        a_variant("a", 2, 0.9), a_variant("b", 3, 0.1, **routed("RANDOM")), a_variant("c", 50, 0.0, **routed("X"))
    )
    plane.answers["resnet"] = {**endpoint, "ShadowProductionVariants": [a_variant("s", 100)]}

    fleet = await describe(client, "resnet")

    assert (fleet.instances, fleet.variants, fleet.routing) == (5, 2, ("RANDOM",))


async def test_a_target_variant_counts_alone(plane: Plane, client: Client) -> None:
    """A call that names a variant reaches it whatever its weight."""
    plane.answers["resnet"] = an_endpoint(a_variant("a", 2, 1.0), a_variant("b", 7, 0.0, **routed("PREFIX_AWARE")))

    fleet = await describe(client, "resnet", variant="b")

    assert (fleet.instances, fleet.variants, fleet.routing) == (7, 1, ("PREFIX_AWARE",))


async def test_a_variant_that_is_not_there(plane: Plane, client: Client) -> None:
    """The message names those that are."""
    plane.answers["resnet"] = an_endpoint(a_variant("a"), a_variant("b"))

    with pytest.raises(NotFoundError, match="endpoint resnet has no variant c; it has a, b"):
        await describe(client, "resnet", variant="c")


async def test_a_variant_that_is_not_there_yet(plane: Plane, client: Client) -> None:
    """An endpoint that is being created has no variants: that is no mistake, there is just no room."""
    endpoint = an_endpoint(status="Creating")
    del endpoint["ProductionVariants"]
    plane.answers["resnet"] = endpoint

    fleet = await describe(client, "resnet", variant="c")

    assert (fleet.instances, fleet.serving) == (0, False)


async def test_instance_pools(plane: Plane, client: Client) -> None:
    """Where only the pools of a mixed fleet have counts, these are added."""
    pools = [{"InstanceType": "ml.g5.xlarge", "CurrentInstanceCount": count} for count in (2, 3)]
    plane.answers["resnet"] = an_endpoint({"VariantName": "main", "InstancePools": pools})

    assert (await describe(client, "resnet")).instances == 5


async def test_serverless(plane: Plane, client: Client) -> None:
    """Its room is the number of calls that it takes at once."""
    plane.answers["resnet"] = an_endpoint(serverless(40))

    fleet = await describe(client, "resnet")

    assert (fleet.instances, fleet.serverless) == (40, True)


async def test_an_inference_component_has_copies(plane: Plane, client: Client) -> None:
    """Its copies count, not the instances; the routing is that of the variant on which it lives."""
    plane.answers["llm"] = a_component(3)
    plane.answers["resnet"] = an_endpoint(
        a_variant("other", 9, **routed("RANDOM")), a_variant("main", 8, **routed("LEAST_OUTSTANDING_REQUESTS"))
    )

    fleet = await describe(client, "resnet", inference_component="llm")

    assert (fleet.instances, fleet.routing, fleet.variants) == (3, ("LEAST_OUTSTANDING_REQUESTS",), 1)
    assert (fleet.status, fleet.serving, fleet.stable) == ("InService", True, True)
    assert plane.asked == [("DescribeInferenceComponent", "llm"), ("DescribeEndpoint", "resnet")]


@pytest.mark.parametrize(
    ("host", "status", "shown", "serving", "stable"),
    [
        ("InService", "InService", "InService", True, True),
        ("InService", "Updating", "Updating", True, False),
        ("InService", "Failed", "Failed", True, False),
        ("InService", "Creating", "Creating", False, False),
        ("InService", "Deleting", "Deleting", False, False),
        ("Updating", "InService", "InService", True, False),
        ("OutOfService", "InService", "OutOfService", False, False),
    ],
)
async def test_states_of_an_inference_component(
    plane: Plane, client: Client, *, host: str, status: str, shown: str, serving: bool, stable: bool
) -> None:
    """It serves where it and its endpoint do."""
    plane.answers["llm"] = a_component(3, status)
    plane.answers["resnet"] = an_endpoint(a_variant(), status=host)

    fleet = await describe(client, "resnet", inference_component="llm")

    assert (fleet.status, fleet.serving, fleet.stable) == (shown, serving, stable)


@pytest.mark.parametrize("component", [a_component(0), a_component(None, "Creating")])
async def test_an_inference_component_without_copies(plane: Plane, client: Client, component: object) -> None:
    """Scaled to zero, or not placed yet: nothing there."""
    plane.answers["llm"] = component
    plane.answers["resnet"] = an_endpoint(a_variant(instances=0))

    assert (await describe(client, "resnet", inference_component="llm")).instances == 0


async def test_an_adapter_has_the_copies_of_its_base(plane: Plane, client: Client) -> None:
    """An adapter component has none of its own."""
    plane.answers["adapter"] = a_component(None, Specification={"BaseInferenceComponentName": "base"})
    plane.answers["base"] = a_component(4)
    plane.answers["resnet"] = an_endpoint(a_variant())

    assert (await describe(client, "resnet", inference_component="adapter")).instances == 4


async def test_an_inference_component_of_another_endpoint(plane: Plane, client: Client) -> None:
    """Its copies would never take these calls."""
    plane.answers["llm"] = a_component(EndpointName="bert")

    with pytest.raises(NotFoundError, match="inference component llm is not on endpoint resnet"):
        await describe(client, "resnet", inference_component="llm")


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (400, "ThrottlingException", ThrottledError, "AWS throttles sagemaker:DescribeEndpoint"),
        (429, "TooManyRequestsException", ThrottledError, "throttles"),
        (400, "AccessDeniedException", DeniedError, "the IAM action sagemaker:DescribeEndpoint"),
        (403, "AccessDeniedException", DeniedError, "the IAM action sagemaker:DescribeEndpoint"),
        (400, "ValidationException", NotFoundError, "SageMaker knows no endpoint resnet in this account and region"),
        (403, "ExpiredTokenException", RefusedKeysError, "ExpiredTokenException"),
        (403, "UnrecognizedClientException", RefusedKeysError, "UnrecognizedClientException"),
        (403, "InvalidSignatureException", BadCredentialsError, "InvalidSignatureException"),
        (500, "InternalFailure", UnreachableError, "answered InternalFailure"),
        (503, "ServiceUnavailable", UnreachableError, "answered ServiceUnavailable"),
        (400, f"{ARN} x", UnreachableError, "asked for endpoint resnet"),
    ],
)
async def test_refusals(
    plane: Plane, client: Client, *, status: int, code: str, kind: type[ControlError], said: str
) -> None:
    """Each has a class of its own, is asked for once, and is told in words without accounts or ARNs."""
    plane.answers["resnet"] = refusing(status, code)

    with pytest.raises(ControlError) as caught:
        await describe(client, "resnet")

    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert not re.search(r"arn:|\d{12}", str(caught.value))
    assert len(plane.asked) == 1


def test_what_another_try_does_not_mend() -> None:
    """Permissions and names; everything else passes."""
    assert set(PERMANENT) == {DeniedError, NotFoundError}


async def test_the_denied_action_of_an_inference_component(plane: Plane, client: Client) -> None:
    """It is another one."""
    plane.answers["llm"] = refusing(403, "AccessDeniedException")

    with pytest.raises(DeniedError, match=r"describe inference component llm: .* sagemaker:DescribeInferenceComponent"):
        await describe(client, "resnet", inference_component="llm")


@pytest.mark.parametrize(
    "text",
    [
        "<html>Hello</html>",
        "{}",
        "[]",
        '{"EndpointStatus": "InService", "ProductionVariants": [{"VariantName": "main", "CurrentInstanceCount": -1}]}',
        '{"EndpointStatus": "InService", "ProductionVariants": [{"CurrentInstanceCount": "many"}]}',
        '{"EndpointStatus": "InService", "ProductionVariants": [7]}',
    ],
)
async def test_answers_that_tell_nothing(plane: Plane, client: Client, text: str) -> None:
    """A proxy's page, or what no control plane says, is no fleet; least of all one of size zero."""
    plane.answers["resnet"] = saying(text)

    with pytest.raises(UnreachableError):
        await describe(client, "resnet")


async def test_an_error_without_a_code(plane: Plane, client: Client) -> None:
    """An HTML error of something in between."""
    plane.answers["resnet"] = saying("<html>Bad Gateway</html>", 502)

    with pytest.raises(UnreachableError, match="answered 502"):
        await describe(client, "resnet")


async def test_a_control_plane_that_hangs(plane: Plane, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """One description takes a bounded time."""
    gone = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await gone.wait()
        return web.Response()

    plane.answers["resnet"] = hang
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.05)

    async with asyncio.timeout(2):
        with pytest.raises(UnreachableError, match=r"did not describe endpoint resnet within 0\.05 s"):
            await describe(client, "resnet")
    gone.set()


async def test_an_answer_that_is_cut(plane: Plane, client: Client) -> None:
    """Half a description is none."""

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": JSON})
        await response.prepare(request)
        await response.write(b'{"EndpointStatus": ')
        assert request.transport is not None
        request.transport.abort()
        return response

    plane.answers["resnet"] = cut

    with pytest.raises(UnreachableError, match="cannot be reached"):
        await describe(client, "resnet")


async def test_a_control_plane_that_is_not_there(unused_tcp_port: int) -> None:
    """It is told by the kind of failure."""
    async with open_control(REGION, f"http://127.0.0.1:{unused_tcp_port}", keys) as client:
        with pytest.raises(UnreachableError, match=r"cannot be reached \(EndpointConnectionError\)"):
            await describe(client, "resnet")


async def test_keys_are_asked_for_each_time(plane: Plane) -> None:
    """Without any nothing is sent; once there are some they are used, and so are those that replace them."""
    found: list[Credentials] = []
    plane.answers["resnet"] = an_endpoint(a_variant())

    def current() -> Credentials:
        if not found:
            raise Refusal(CREDENTIALS, "none yet")
        return found[-1]

    async with serve(plane) as url, open_control(REGION, url, current) as client:
        with pytest.raises(BadCredentialsError, match="no usable AWS credentials"):
            await describe(client, "resnet")
        assert plane.asked == []
        for name in ("AKIAFIRST", "AKIASECOND"):
            found.append(Credentials(name, "secret", "token"))
            await describe(client, "resnet")

    used = [re.findall("Credential=([A-Z]+)/", authorization) for authorization, _ in plane.authorizations]
    assert used == [["AKIAFIRST"], ["AKIASECOND"]]


@pytest.mark.parametrize(
    ("region", "kind", "host"),
    [
        ("ap-northeast-1", PLAIN, "api.sagemaker.ap-northeast-1.amazonaws.com"),
        ("cn-north-1", PLAIN, "api.sagemaker.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", HostKind(fips=True), "api-fips.sagemaker.us-gov-west-1.amazonaws.com"),
        ("us-east-1", HostKind(dual_stack=True), "api.sagemaker.us-east-1.api.aws"),
        ("us-east-1", HostKind(fips=True, dual_stack=True), "api.sagemaker-fips.us-east-1.api.aws"),
    ],
)
async def test_without_a_url_it_is_that_of_aws(
    monkeypatch: pytest.MonkeyPatch, region: str, kind: HostKind, host: str
) -> None:
    """Of the region's own partition, and of the kind that was chosen, whatever the environment says by now."""
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", str(not kind.fips))
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", str(not kind.dual_stack))
    async with open_control(region, None, keys, kind) as client:
        assert client.meta.endpoint_url == f"https://{host}"


async def test_a_url_of_its_own_goes_before_the_kind(plane: Plane) -> None:
    """It is asked as it stands."""
    plane.answers["resnet"] = an_endpoint(a_variant())
    kind = HostKind(fips=True, dual_stack=True)
    async with serve(plane) as url, open_control(REGION, url, keys, kind) as client:
        assert (await describe(client, "resnet")).instances == 2


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """A control plane that we did not write."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def moto(moto_url: str) -> AsyncIterator[Client]:
    """A client of moto with a model and an endpoint of two variants."""
    async with open_control(REGION, moto_url, keys) as client:
        await client.create_model(
            ModelName="model",
            ExecutionRoleArn=f"arn:aws:iam::{ACCOUNT}:role/x",
            PrimaryContainer={"Image": "example.com/model"},
        )
        await client.create_endpoint_config(
            EndpointConfigName="config",
            ProductionVariants=[
                {
                    "VariantName": name,
                    "ModelName": "model",
                    "InitialInstanceCount": instances,
                    "InitialVariantWeight": 1.0,
                    "InstanceType": "ml.m5.large",
                }
                for name, instances in (("a", 2), ("b", 3))
            ],
        )
        await client.create_endpoint(EndpointName="resnet", EndpointConfigName="config")
        yield client
        await client.delete_endpoint(EndpointName="resnet")
        await client.delete_endpoint_config(EndpointConfigName="config")
        await client.delete_model(ModelName="model")


async def test_moto_describes_the_fleet(moto: Client) -> None:
    """Both variants together, and each alone; moto, like many a real endpoint, names no routing strategy."""
    fleet = await describe(moto, "resnet")

    assert fleet == Fleet(
        instances=5,
        serverless=False,
        status="InService",
        serving=True,
        stable=True,
        routing=("RANDOM",),
        variants=2,
    )
    assert (await describe(moto, "resnet", variant="b")).instances == 3


async def test_moto_changes_the_fleet(moto: Client) -> None:
    """A scaled fleet is seen with the next description."""
    for count in (4, 1):
        await moto.update_endpoint_weights_and_capacities(
            EndpointName="resnet",
            DesiredWeightsAndCapacities=[{"VariantName": "a", "DesiredInstanceCount": count}],
        )
        assert (await describe(moto, "resnet", variant="a")).instances == count


async def test_moto_knows_no_other_endpoint(moto: Client) -> None:
    """What AWS says in words, with an ARN, arrives as ours."""
    with pytest.raises(NotFoundError, match="SageMaker knows no endpoint bert in this account and region"):
        await describe(moto, "bert")


async def test_aws_settings_that_are_not_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that does not exist is told in a sentence, not as a traceback."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(UnreachableError, match=r"profile .*nobody"):
        async with open_control(REGION, None, keys):
            pass
