"""What holds for a config that is built in Python."""

import pytest
from pydantic import ValidationError

from gateway.config import Aws, Config, Endpoint, Route, Target
from gateway.config.rules import OPS_PATHS

AWS = Aws(region="eu-west-1")
ENDPOINTS = {"a": Endpoint(instances=1)}


def route(path: str | None = None, endpoint: str = "a", weight: int = 1) -> Route:
    """A route with one target."""
    return Route(path=path, targets=(Target(endpoint=endpoint, weight=weight),))


def test_capacity_is_instances_times_concurrency() -> None:
    """Capacity counts calls; for `auto` only the fleet knows."""
    assert Endpoint(instances=3, concurrency_per_instance=4).capacity == 12
    assert Endpoint(instances="auto", concurrency_per_instance=4).capacity is None


def test_the_key_is_sagemakers_name_unless_told() -> None:
    """`endpoint_name` is one rule in one place."""
    config = Config(aws=AWS, endpoints={"a": Endpoint(instances=1), "b": Endpoint(instances=1, endpoint_name="c")})

    assert (config.endpoint_name("a"), config.endpoint_name("b")) == ("a", "c")
    with pytest.raises(KeyError):
        config.endpoint_name("c")


def test_settings_do_not_change() -> None:
    """A config is frozen: who holds one may rely on it."""
    config = Config(aws=AWS, endpoints=ENDPOINTS)

    with pytest.raises(ValidationError):
        config.aws.region = "eu-west-2"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("routes", "says"),
    [
        ({"r": route(endpoint="b")}, "routes.r.targets[0].endpoint: found 'b', wanted a key of endpoints"),
        ({"r": route(weight=0)}, "routes.r.targets: found nothing but weights of 0"),
        (
            {"r": Route(targets=(Target(endpoint="a"),), fallback=("b",))},
            "routes.r.fallback[0]: found 'b', wanted a key of endpoints",
        ),
        (
            {"r": Route(targets=(Target(endpoint="a"),), fallback=("a",))},
            "routes.r.fallback[0]: found 'a', wanted each endpoint once in routes.r",
        ),
        (
            {"r": Route(targets=(Target(endpoint="a"), Target(endpoint="a")))},
            "routes.r.targets[1].endpoint: found 'a', wanted each endpoint once in routes.r",
        ),
        ({"r": route("/p"), "s": route("/p")}, "routes.s.path: found '/p', wanted a path of its own"),
        *(({"r": route(path)}, f"routes.r.path: found '{path}'") for path in OPS_PATHS),
        *(({"r": route(path)}, "outside") for path in ("/endpoints", "/endpoints/x", "/-/reload")),
    ],
)
def test_the_rules_between_settings_hold_in_python_too(routes: dict[str, Route], says: str) -> None:
    """What a file may not say, a program may not either."""
    with pytest.raises(ValidationError) as caught:
        Config(aws=AWS, endpoints=ENDPOINTS, routes=routes)

    (error,) = caught.value.errors()
    assert says in error["msg"]


@pytest.mark.parametrize("path", ["/livez/x", "/endpoint", "/endpointsx/y", "/-x", "/metrics2", "/a.b/~c_d-1"])
def test_near_misses_are_free(path: str) -> None:
    """Only the gateway's own paths are taken, not all that begin like them."""
    assert Config(aws=AWS, endpoints=ENDPOINTS, routes={"r": route(path)}).routes["r"].path == path


@pytest.mark.parametrize("url", ["http://a", "https://a.b:8443", "http://127.0.0.1:9000", "http://[::1]:80"])
def test_good_urls(url: str) -> None:
    """A scheme, a host, perhaps a port."""
    assert Aws(region="eu-west-1", endpoint_url=url).endpoint_url == url


@pytest.mark.parametrize(
    "url", ["a", "ftp://a", "http://", "http://:80", "http://a:0", "http://a:x", "http://[", "http://u@a"]
)
def test_bad_urls(url: str) -> None:
    """What leads nowhere is refused at the start, not at the first call."""
    with pytest.raises(ValidationError):
        Aws(region="eu-west-1", endpoint_url=url)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::123456789012:role/invoker",
        "arn:aws-us-gov:iam::123456789012:role/team/a/in+vo=k,e.r@b-c_d",
        "arn:aws-cn:iam::000000000000:role/x",
    ],
)
def test_roles(arn: str) -> None:
    """ARNs of roles in any partition and with any path are taken."""
    assert Endpoint(instances=1, role_arn=arn).role_arn == arn


def test_the_parts_of_an_endpoint_are_headers_of_its_calls() -> None:
    """What an entry fixes is told in SageMaker's own headers; one that fixes nothing has none."""
    entry = Endpoint(instances=1, inference_component="a-1", target_variant="B2")

    assert entry.fixed_headers == {
        "X-Amzn-SageMaker-Inference-Component": "a-1",
        "X-Amzn-SageMaker-Target-Variant": "B2",
    }
    assert Endpoint(instances=1).fixed_headers == {}


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "us-isob-east-1", "ap-southeast-7", "eusc-de-east-1"])
def test_regions(region: str) -> None:
    """Regions of all partitions are taken."""
    assert Aws(region=region).region == region
