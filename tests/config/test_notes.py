"""What a valid config means beyond its words."""

from gateway.config import Aws, Config, Drain, Endpoint, Route, Target, notes

AWS = Aws(region="eu-west-1")
ONE = Endpoint(instances=1)


def test_nothing_to_say_of_a_plain_config() -> None:
    """A plain config has no notes."""
    config = Config(aws=AWS, endpoints={"a": ONE}, routes={"a": Route(targets=(Target(endpoint="a"),))})

    assert notes(config) == ()


def test_a_route_hides_an_endpoint_of_its_name() -> None:
    """Whoever calls the name is told where it leads."""
    config = Config(aws=AWS, endpoints={"a": ONE, "b": ONE}, routes={"a": Route(targets=(Target(endpoint="b"),))})

    (note,) = notes(config)
    assert note.startswith("routes.a: has the name of an endpoint and leads to b")


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
