"""What a valid config means beyond its words."""

from typing import Any

import pytest

from gateway.config import Aws, Config, Drain, Endpoint, Route, Target, notes

AWS = Aws(region="eu-west-1")
ONE = Endpoint(instances=1)


def route(*targets: str, fallback: tuple[str, ...] = ()) -> Route:
    """A route to these targets."""
    return Route(targets=tuple(Target(endpoint=endpoint) for endpoint in targets), fallback=fallback)


def test_nothing_to_say_of_a_plain_config() -> None:
    """A plain config has no notes."""
    config = Config(aws=AWS, endpoints={"a": ONE}, routes={"a": Route(targets=(Target(endpoint="a"),))})

    assert notes(config) == ()


def test_a_route_hides_an_endpoint_of_its_name() -> None:
    """Whoever calls the name is told where it leads."""
    config = Config(aws=AWS, endpoints={"a": ONE, "b": ONE}, routes={"a": Route(targets=(Target(endpoint="b"),))})

    (note,) = notes(config)
    assert note.startswith("routes.a: has the name of an endpoint and leads to b")


def test_a_route_that_leads_to_its_namesake_too_hides_nothing() -> None:
    """To put a canary behind the name that callers know is what routes are for."""
    config = Config(aws=AWS, endpoints={"a": ONE, "b": ONE}, routes={"a": route("b", "a")})

    assert notes(config) == ()


def test_a_hidden_endpoint_is_told_with_all_that_hides_it() -> None:
    """Several targets and fallbacks, in order; one without weight is none of them."""
    targets = (Target(endpoint="b"), Target(endpoint="c"), Target(endpoint="a", weight=0))
    routes = {"a": Route(targets=targets, fallback=("d",)), "d": route("d")}
    config = Config(aws=AWS, endpoints={"a": ONE, "b": ONE, "c": ONE, "d": ONE}, routes=routes)

    weightless, hidden = notes(config)
    assert weightless == "routes.a.targets[2]: has the weight 0, so that a takes no calls of this route"
    assert hidden.startswith("routes.a: has the name of an endpoint and leads to b, c, d;")


def test_an_endpoint_that_is_only_a_fallback_is_told_once() -> None:
    """With all routes that fall back on it; one that is a target somewhere is not."""
    routes = {"r": route("a", fallback=("b", "c")), "s": route("c", fallback=("b",))}
    config = Config(aws=AWS, endpoints={"a": ONE, "b": ONE, "c": ONE}, routes=routes)

    (note,) = notes(config)
    assert note.startswith("endpoints.b: is only a fallback (of routes.r, routes.s)")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"inference_component": "x"}, {"inference_component": "y"}),
        ({"target_variant": "x"}, {"target_variant": "y"}),
        ({}, {"region": "eu-west-2"}),
        ({}, {"profile": "research"}),
        ({}, {"role_arn": "arn:aws:iam::123456789012:role/invoker"}),
        ({}, {"endpoint_url": "http://127.0.0.1:9000"}),
    ],
)
def test_different_parts_and_places_share_no_fleet(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The same name at SageMaker means another thing there, or another part of it."""
    entries = [Endpoint(instances=1, endpoint_name="llm", **more) for more in (one, other)]

    assert notes(Config(aws=AWS, endpoints=dict(zip("ab", entries, strict=True)))) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"region": "eu-west-1"}, {}),
        ({"target_variant": "x"}, {"target_variant": "x"}),
        ({"target_variant": "x"}, {}),
        ({}, {"inference_component": "x"}),
    ],
)
def test_the_whole_and_a_part_of_it_share_a_fleet(one: dict[str, Any], other: dict[str, Any]) -> None:
    """An entry that names no variant may reach the instances of any."""
    entries = [Endpoint(instances=1, endpoint_name="llm", **more) for more in (one, other)]

    (note,) = notes(Config(aws=AWS, endpoints=dict(zip("ab", entries, strict=True))))
    assert note.startswith("endpoints.b: is SageMaker's llm, and so is endpoints.a")


def test_a_region_of_its_own_at_a_host_for_all() -> None:
    """Calls that are signed for one region and sent to a host of another are refused; only the author knows."""
    aws = Aws(region="eu-west-1", endpoint_url="https://runtime.sagemaker.eu-west-1.amazonaws.com")
    entries = {
        "a": Endpoint(instances=1, region="eu-west-1"),
        "b": Endpoint(instances=1, region="eu-west-2"),
        "c": Endpoint(instances=1, region="eu-west-2", endpoint_url="https://c.example.com"),
    }

    (note,) = notes(Config(aws=aws, endpoints=entries))
    assert note.startswith("endpoints.b.region: is not aws.region, and yet the calls go to aws.endpoint_url")


def test_one_fleet_under_two_keys_has_permits_twice() -> None:
    """Two entries for one SageMaker endpoint can go over its capacity: the author has to know."""
    config = Config(aws=AWS, endpoints={"a": ONE, "b": Endpoint(instances=1, endpoint_name="a")})

    (note,) = notes(config)
    assert note.startswith("endpoints.b: is SageMaker's a, and so is endpoints.a")


def test_a_drain_shorter_than_a_call_cuts_calls_off() -> None:
    """The two settings only go wrong together."""
    config = Config(aws=AWS, endpoints={"a": ONE}, drain=Drain(timeout_seconds=10))

    (note,) = notes(config)
    assert note.startswith("endpoints.a.timeout_seconds: is longer than drain.timeout_seconds")
