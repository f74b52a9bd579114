"""`explain`: what it says of a request, and that this is what happens."""

import io
import re
from pathlib import Path

import aiohttp
import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.app import open_gateway
from gateway.cli.explain import explain, explanation
from gateway.config import Config
from gateway.errors import Refusal
from gateway.log import make_logger
from gateway.sagemaker.hosts import HostError, HostKind
from tests.raw import raw_server, serve_ok

COMPONENT = "X-Amzn-SageMaker-Inference-Component"
VARIANT = "X-Amzn-SageMaker-Target-Variant"
SESSION = "X-Amzn-SageMaker-Session-Id"
TOKYO, FRANKFURT = "ap-northeast-1", "eu-central-1"
VPC = "https://vpce.example.com"
HEADERS = "Headers, beside those of the signature"
ROLE = "arn:aws:iam::123456789012:role/invoker"
CONFIG = f"""\
aws: {{region: {TOKYO}}}
endpoints:
  main: {{endpoint_name: resnet, target_variant: blue, instances: 2, concurrency_per_instance: 3}}
  canary: {{endpoint_name: resnet, target_variant: green, instances: 1, profile: research}}
  idle: {{instances: 1}}
  spare:
    instances: auto
    region: {FRANKFURT}
    inference_component: resnet50
    role_arn: {ROLE}
    timeout_seconds: 65
    stream_timeout_seconds: 300
    queue: {{max_waiting: 7, timeout_seconds: 45}}
  fleet: {{instances: auto, profile: research, role_arn: {ROLE}, endpoint_url: "{VPC}"}}
routes:
  classify:
    path: /predict
    targets: [{{endpoint: main, weight: 9}}, {{endpoint: canary}}, {{endpoint: idle, weight: 0}}]
    fallback: [spare, fleet]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config with all that there is to tell."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def run(config: Path, path: str, *headers: str) -> Result:
    """`sagemaker-gateway explain --config CONFIG PATH --header …`."""
    options = [word for header in headers for word in ("--header", header)]
    return CliRunner().invoke(explain, ["--config", str(config), path, *options])


def rows(result: Result, title: str) -> list[list[str]]:
    """The rows of a table, by its title; none where it is not there."""
    _, _, below = result.stdout.partition(f"{title} ")
    lines = below.partition("\n\n")[0].splitlines()[3:]
    return [re.split(r" {2,}", line.strip()) for line in lines]


def column(result: Result, title: str, number: int) -> list[str]:
    """One column of a table."""
    return [row[number] for row in rows(result, title)]


def test_a_route_is_explained_whole(config: Path) -> None:
    """Route and operation, candidates in the order in which they are asked, where each is, and what comes next."""
    result = run(config, "/predict")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("/predict: route classify, InvokeEndpoint\n")
    assert rows(result, "Candidates, in order") == [
        ["target (weight 9, 90 %)", "main", "2 x 3 = 6", "1000", "30 s", "70 s"],
        ["target (weight 1, 10 %)", "canary", "1 x 1 = 1", "1000", "30 s", "70 s"],
        ["fallback 1", "spare", "auto x 1: follows the fleet (DescribeInferenceComponent)", "7", "45 s", "65 s"],
        ["fallback 2", "fleet", "auto x 1: follows the fleet (DescribeEndpoint)", "1000", "30 s", "70 s"],
    ]
    tokyo, eu = (f"https://runtime.sagemaker.{r}.amazonaws.com" for r in (TOKYO, FRANKFURT))
    assert [" | ".join(row) for row in rows(result, "At SageMaker")] == [
        f"main | resnet | {TOKYO} | target variant blue | the AWS chain | {tokyo}/endpoints/resnet/invocations",
        f"canary | resnet | {TOKYO} | target variant green | profile research | {tokyo}/endpoints/resnet/invocations",
        f"spare | spare | {FRANKFURT} | inference component resnet50 | {ROLE} | {eu}/endpoints/spare/invocations",
        f"fleet | fleet | {TOKYO} | all of it | {ROLE} from profile research | {VPC}/endpoints/fleet/invocations",
    ]
    assert rows(result, "Ruled out") == [["idle", "its weight is 0"]]
    for sentence in (
        "waits for all of main, canary at once and goes to the first that has room",
        "where several have room, weights decide",
        "waits 30 s at most",
        "goes on to another target, then to spare, then to fleet, within 30 s and to each endpoint once",
        "a fallback also takes it where the queues before it are full",
    ):
        assert sentence in result.stdout


def test_an_endpoint_called_by_its_name_has_nowhere_else_to_go(config: Path) -> None:
    """No weights, no fallback: one endpoint, its queue, and its own refusals."""
    result = run(config, "/endpoints/idle/invocations-response-stream?model=a")

    assert result.stdout.startswith(
        "/endpoints/idle/invocations-response-stream: endpoint idle, InvokeEndpointWithResponseStream\n"
    )
    assert rows(result, "Candidates, in order") == [
        ["the endpoint itself", "idle", "1 x 1 = 1", "1000", "30 s", "490 s"]
    ]
    assert "why: there is nowhere else to go: where idle does not take the call, its caller is told" in result.stdout
    assert "weight" not in result.stdout


def test_an_asynchronous_call_takes_no_permit(config: Path) -> None:
    """SageMaker queues it, so that weights alone decide; headers that the operation does not know are not sent."""
    result = run(config, "/endpoints/classify/async-invocations")

    assert column(result, "Candidates, in order", 2) == ["no permit"] * 4
    assert column(result, "At SageMaker", 3) == ["all of it"] * 4
    assert "by weight, whether that has room or not" in result.stdout
    assert "waits for" not in result.stdout
    assert COMPONENT not in result.stdout


def test_headers_are_sorted_into_those_that_go_and_those_that_stay(config: Path) -> None:
    """By the data path's own list, in its spelling; those that the config fixes stand there with their endpoint."""
    result = run(config, "/predict", "accept:text/plain ", "X-Secret: a b", "authorization: Bearer x")

    assert rows(result, HEADERS) == [
        ["Accept", "text/plain", "goes to SageMaker"],
        [VARIANT, "blue", "goes to SageMaker with every call to main"],
        [VARIANT, "green", "goes to SageMaker with every call to canary"],
        [COMPONENT, "resnet50", "goes to SageMaker with every call to spare"],
        ["X-Secret", "a b", "stays behind"],
        ["authorization", "Bearer x", "stays behind"],
    ]


def test_what_a_model_should_answer_in_goes_by_another_name_for_streams(config: Path) -> None:
    """As on the data path: `Accept` of somebody who reads no frames is meant for the model."""
    plain = run(config, "/endpoints/idle/invocations-response-stream", "Accept: text/plain")
    sdk = run(config, "/endpoints/idle/invocations-response-stream", "Accept: */*", "amz-sdk-invocation-id: 1")

    assert rows(plain, HEADERS) == [
        ["X-Amzn-SageMaker-Accept", "text/plain", "goes to SageMaker"],
        ["Accept", "text/plain", "stays behind"],
    ]
    assert set(column(sdk, HEADERS, 2)) == {"stays behind"}


def test_a_header_that_contradicts_a_setting_rules_endpoints_out(config: Path) -> None:
    """The others serve; shares are those of what is left, and the reason is told in the gateway's words."""
    result = run(config, "/predict", f"{VARIANT}: green")

    assert column(result, "Candidates, in order", 0) == ["target (weight 1, 100 %)", "fallback 1", "fallback 2"]
    assert dict(rows(result, "Ruled out"))["main"].startswith(
        f"Endpoint main of the gateway's config always has {VARIANT}: blue, not green."
    )
    assert "goes to canary as soon as that has room" in result.stdout


def test_fallbacks_keep_their_number_where_all_targets_are_ruled_out(config: Path) -> None:
    """They serve by themselves then."""
    result = run(config, "/predict", f"{VARIANT}: red", f"{COMPONENT}: resnet50")

    assert column(result, "Candidates, in order", 0) == ["fallback 1", "fallback 2"]
    assert "goes to spare as soon as that has room" in result.stdout


def test_a_session_stays_with_one_endpoint(config: Path) -> None:
    """The first target, whatever the weights; the others are ruled out by it."""
    result = run(config, "/predict", f"{SESSION}: abc")

    assert column(result, "Candidates, in order", 0) == ["target (of the session)"]
    assert column(result, "Candidates, in order", 1) == ["main"]
    assert [row for row in rows(result, "Ruled out") if row[0] != "idle"] == [
        [name, "a session stays with main"] for name in ("canary", "spare", "fleet")
    ]
    assert "a session lives in one instance: its calls all go to main, whatever its health, and never move" in (
        result.stdout
    )


@pytest.mark.parametrize(
    ("path", "headers", "says"),
    [
        ("/predict", [f"{COMPONENT}: -"], f"400 ValidationError: {COMPONENT} has to match the pattern"),
        ("/predict", ["Content-Encoding: gzip"], "415 ValidationError: Content-Encoding is not understood"),
        ("/predict", ["Accept: a", "accept: b"], "400 ValidationError: Accept is given twice"),
        ("/endpoints/main/invocations", [f"{VARIANT}: red"], f"always has {VARIANT}: blue, not red."),
        ("/predct", [], "404 ValidationError: No route or endpoint of the gateway's config has this path."),
        ("/predct", [], "The nearest is /predict."),
        ("/endpoints/canry/invocations", [], "The nearest is /endpoints/canary/invocations."),
        ("/Predict", [], "The nearest is /predict."),
        ("/\x1b[2J", [], r"'/\x1b[2J': 404 ValidationError"),
        ("/-/reload", [], "/-/reload: the gateway answers this path itself, to POST; it leads to no endpoint"),
        ("/metrics?a", [], "/metrics: the gateway answers this path itself, to GET; it leads to no endpoint"),
    ],
)
def test_a_request_that_is_refused(config: Path, path: str, headers: list[str], says: str) -> None:
    """The gateway's own refusal on standard error, with the nearest path where there is one, and exit code 1."""
    result = run(config, path, *headers)

    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert result.stderr.removesuffix("\n").isprintable()


@pytest.mark.parametrize("header", ["", "Accept", ": a", "A b: c", "Accept : a", "A: b\nC: d", "A: \x1b[2J", "A\0: b"])
def test_what_is_no_header_is_a_mistake_on_the_command_line(config: Path, header: str) -> None:
    """Exit code 2, and the usage."""
    result = run(config, "/predict", header)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "'Name: value'" in result.stderr


def test_a_bad_config_is_told_as_check_tells_it(tmp_path: Path) -> None:
    """Place, key, found and wanted, and exit code 2."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("[spare, fleet]", "[spar]"), encoding="utf-8")

    result = run(path, "/predict")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "routes.classify.fallback[0]: found 'spar', wanted a key of endpoints; the nearest is 'spare'" in (
        result.stderr
    )


def test_a_host_that_aws_does_not_have_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` would not start with such a config, so there is nothing to explain."""

    def no_host(region: str, _kind: HostKind) -> str:
        raise HostError(f"AWS has no host in region {region}")

    monkeypatch.setattr("gateway.sagemaker.hosts.runtime_url", no_host)

    result = run(config, "/predict")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"AWS has no host in region {TOKYO}\n"


def test_nothing_of_the_surroundings_is_read(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AWS's files, profiles and variables the same is told: a config can be explained anywhere."""
    told = run(config, "/predict").stdout
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")

    assert run(config, "/predict").stdout == told


REQUESTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("/predict", {}),
    ("/predict", {"Accept": "text/plain", "X-Other": "1"}),
    ("/predict", {VARIANT: "green"}),
    ("/predict", {VARIANT: "red"}),
    ("/predict", {SESSION: "abc"}),
    ("/predict", {SESSION: "abc", COMPONENT: "resnet50", VARIANT: "red"}),
    ("/predict", {SESSION: "a b"}),
    ("/endpoints/canary/async-invocations", {VARIANT: "red"}),
    ("/endpoints/classify/async-invocations", {"X-Amzn-SageMaker-InputLocation": "s3://a/b"}),
    ("/endpoints/spare/invocations-response-stream", {"Accept": "text/plain"}),
    ("/endpoints/nobody/invocations", {}),
)


@pytest.mark.parametrize(("path", "headers"), REQUESTS)
async def test_what_is_told_is_what_happens(path: str, headers: dict[str, str], tmp_path: Path) -> None:
    """A real gateway sends the request to the first candidate, at its URL and with its headers, or refuses it so."""
    tree = yaml.safe_load(CONFIG.replace("auto", "1"))
    tree["listen"] = {"port": 0}
    async with raw_server(serve_ok) as server:
        for endpoint in tree["endpoints"].values():
            endpoint |= {"endpoint_url": server.url, "profile": None, "role_arn": None}
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(tree), encoding="utf-8")
        told = run(file, path, *(f"{name}: {value}" for name, value in headers.items()))
        async with (
            open_gateway(Config.model_validate(tree), make_logger(stream=io.StringIO())) as gateway,
            aiohttp.ClientSession(skip_auto_headers=["Accept", "Content-Type"]) as session,
            session.post(gateway.url + path, data=b"{}", headers=headers) as response,
        ):
            body = await response.json(content_type=None) if "Proxy-Status" in response.headers else {}
            served_by = response.headers.get("X-Gateway-Endpoint")

    if told.exit_code:
        code = response.headers["x-amzn-ErrorType"]
        assert f"{response.status} {code}: {body['message']}" in told.stderr
        assert server.requests == []
        return
    assert served_by == column(told, "Candidates, in order", 1)[0]
    (request,) = server.requests
    line, *fields = request.head.decode().split("\r\n")[:-2]
    assert f"{server.url}{line.split()[1]}" == rows(told, "At SageMaker")[0][-1]
    got = {tuple(field.split(": ", 1)) for field in fields}
    assert {name.lower() for name, _ in got} >= {"authorization", "x-amz-date"}
    signature = {"host", "content-length", "authorization", "x-amz-date", "x-amz-content-sha256", "user-agent"}
    assert {(name, value) for name, value in got if name.lower() not in signature | {"accept-encoding"}} == {
        (name, value)
        for name, value, fate in rows(told, HEADERS)
        if fate in ("goes to SageMaker", f"goes to SageMaker with every call to {served_by}")
    }


def test_a_program_gets_the_same_as_nouns() -> None:
    """Match, what is left of it, what is sent, and who is ruled out; a refusal is raised."""
    config = Config.model_validate(yaml.safe_load(CONFIG))

    found = explanation(config, "/predict", [(SESSION, "abc")])

    assert (found.match.endpoints, found.left.endpoints) == (("main", "canary", "spare", "fleet"), ("main",))
    assert found.session
    assert list(found.ruled_out) == ["idle", "canary", "spare", "fleet"]
    with pytest.raises(Refusal, match="No route"):
        explanation(config, "/", [])
