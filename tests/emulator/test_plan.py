"""The plan: what a variant or component leaves out it has from its endpoint."""

from typing import Any

from gateway.emulator import EndpointSettings
from gateway.emulator.plan import FleetPlan, fleets_of

BASE = {"concurrency_per_instance": 3, "routing": "RANDOM", "command": ["serve"], "environment": {"A": "b"}}


def plans(**endpoint: Any) -> dict[str, FleetPlan]:
    """The fleets of an endpoint `ep`."""
    return fleets_of("ep", EndpointSettings.model_validate(endpoint))


def test_a_plain_endpoint_is_one_fleet_of_its_own_name() -> None:
    """Without variants there is AllTraffic; its fleet is called like the endpoint."""
    (plan,) = plans(instances=4, **BASE).values()
    assert (plan.name, plan.place, plan.variant, plan.size) == ("ep", "endpoints.ep", "AllTraffic", 4)
    assert (plan.concurrency, plan.settings.command, plan.settings.environment) == (3, ("serve",), {"A": "b"})


def test_a_variant_has_the_rest_from_its_endpoint() -> None:
    """Only what it does not say itself; what an instance is, is said by one of them alone."""
    found = plans(**BASE, variants={"blue": {"instances": 2, "weight": 9, "routing": "LEAST_OUTSTANDING_REQUESTS"}})
    blue = found["blue"]
    assert (blue.name, blue.place, blue.variant) == ("ep/blue", "endpoints.ep.variants.blue", "blue")
    assert (blue.size, blue.weight, blue.concurrency) == (2, 9, 3)
    assert (blue.settings.routing, blue.settings.command) == ("LEAST_OUTSTANDING_REQUESTS", ("serve",))
    own = plans(**BASE, variants={"own": {"model": {"seconds": 0}}})["own"].settings
    assert (own.command, own.environment, own.routing) == (None, {}, "RANDOM")


def test_a_component_is_a_fleet_of_copies() -> None:
    """Beside components no variant is a fleet; zero copies are a fleet too."""
    found = plans(**BASE, inference_components={"llama": {"copies": 0}, "two": {"copies": 2}})
    assert {name: (plan.name, plan.size, plan.variant) for name, plan in found.items()} == {
        "llama": ("ep/llama", 0, "AllTraffic"),
        "two": ("ep/two", 2, "AllTraffic"),
    }
    assert found["two"].place == "endpoints.ep.inference_components.two"
    assert found["two"].concurrency == 3


def test_what_is_serverless_has_an_instance_for_each_call() -> None:
    """So that none waits in another's queue, whatever the endpoint says of concurrency."""
    found = plans(**BASE, variants={"less": {"serverless": {"max_concurrency": 7}}})["less"]
    assert (found.size, found.concurrency) == (7, 1)
    assert plans(serverless={})["AllTraffic"].size == 5
