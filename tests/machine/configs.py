"""Configs that a reload may bring, and where they lead callers."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from gateway.config import Config
from tests.machine.far_end import COOLDOWN_SECONDS

REGION = "eu-west-1"
BUFFERED_BYTES = 4096
PLENTY = 1000
"""More places to wait than anybody takes."""

DRAIN_SECONDS = 20.0
ROUTES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "sole": (("a",),),
    "pair": (("a", "b"),),
    "chain": (("a",), ("b",), ("c",)),
    "rest": (("c", "b"), ("a",)),
    "a": (("a",),),
    "b": (("b",),),
    "c": (("c",),),
}
"""The tiers of every route, and of every endpoint that is called directly, where all endpoints are there."""


def _endpoint(instances: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "instances": instances,
            "max_waiting": st.sampled_from((PLENTY, 3, 1, 0)),
            "queue_seconds": st.sampled_from((30.0, 10.0, 2.0)),
            "call_seconds": st.sampled_from((70.0, 5.0)),
            "elsewhere": st.sampled_from((False, False, False, True)),
        }
    )


class Plan:
    """One config, and what it means.

    Args:
        endpoints: settings of each endpoint that it has.
        weight: of the second target where there are two.
    """

    def __init__(self, endpoints: Mapping[str, Mapping[str, Any]], weight: int) -> None:
        self.endpoints, self.weight = endpoints, weight
        tiers = {route: _left(places, endpoints) for route, places in ROUTES.items()}
        self.tiers = {route: left for route, left in tiers.items() if left}
        """Of each route that it has: who may serve."""
        self.config = Config.model_validate(
            {
                "listen": {"port": 1, "max_buffered_bytes": BUFFERED_BYTES, "body_timeout_seconds": 40},
                "aws": {"region": REGION, "endpoint_url": "http://far.end", "control_endpoint_url": "http://far.end"},
                "drain": {"timeout_seconds": DRAIN_SECONDS, "delay_seconds": 1},
                "endpoints": {name: _settings(name, each) for name, each in endpoints.items()},
                "routes": {
                    route: {
                        "targets": [{"endpoint": name, "weight": weight if n else 1} for n, name in enumerate(left[0])],
                        "fallback": [name for tier in left[1:] for name in tier],
                    }
                    for route, left in self.tiers.items()
                    if route not in "abc"
                },
            }
        )

    def __repr__(self) -> str:
        return f"Plan({self.endpoints}, {self.weight})"

    def patience(self, route: str) -> float:
        """How long a caller of a route may wait."""
        return max(float(self.endpoints[name]["queue_seconds"]) for name in self.tiers[route][0])


def _left(tiers: tuple[tuple[str, ...], ...], endpoints: Mapping[str, object]) -> tuple[tuple[str, ...], ...]:
    left = (tuple(name for name in tier if name in endpoints) for tier in tiers)
    return tuple(tier for tier in left if tier)


def _settings(name: str, each: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "instances": each["instances"],
        "queue": {"max_waiting": each["max_waiting"], "timeout_seconds": each["queue_seconds"]},
        "timeout_seconds": each["call_seconds"],
        "stream_timeout_seconds": 90,
        "cooldown_seconds": COOLDOWN_SECONDS[name],
        **({"endpoint_url": "http://elsewhere"} if each["elsewhere"] else {}),
    }


PLANS = st.builds(
    lambda endpoints, missing, weight: Plan({n: endpoints[n] for n in endpoints if n not in missing}, weight),
    st.fixed_dictionaries(
        {
            "a": _endpoint(st.sampled_from((1, 2, 4))),
            "b": _endpoint(st.sampled_from((1, 2, 3))),
            "c": _endpoint(st.just("auto")),
        }
    ),
    st.sampled_from(("", "", "", "", "", "", "a", "b", "c", "ab", "bc")),
    st.integers(1, 3),
)
