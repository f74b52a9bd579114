"""The endpoints of a soak, and the config of the gateway in front of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.stand import REGION

TIMEOUT_SECONDS = 3.0
"""The gateway gives a call up then."""

GOES_ON_SECONDS = 0.3
"""How long a model works on when its call was given up."""

COOLDOWN_SECONDS = 2.5
"""The permit is kept so much longer; the rest is for a machine that lets one of the processes wait for seconds."""

ELASTIC = "elastic"
"""The endpoint whose fleet changes its size, and is followed."""

SIZES = (3, 8)
"""The least and the most instances that it has."""

FIXED = {"alone": 8, "left": 4, "right": 3, "spare": 3}
"""The capacity of the others."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Callers of one kind.

    Attributes:
        name: the endpoint or route that they name.
        paths: where they call, for a whole answer.
        endpoints: who may serve them.
        permits: how many of them at once; on average, where that changes.
    """

    name: str
    paths: tuple[str, ...]
    endpoints: frozenset[str]
    permits: float


TRAFFIC = (
    Traffic("alone", ("/endpoints/alone/invocations",), frozenset({"alone"}), FIXED["alone"]),
    Traffic(
        "pair",
        ("/endpoints/pair/invocations", "/predict"),
        frozenset({"left", "right", "spare"}),
        FIXED["left"] + FIXED["right"] + FIXED["spare"],
    ),
    Traffic(ELASTIC, (f"/endpoints/{ELASTIC}/invocations",), frozenset({ELASTIC}), sum(SIZES) / len(SIZES)),
)


def config(upstream: str, *, surplus: int = 0) -> dict[str, Any]:
    """The gateway's config.

    Args:
        upstream: where SageMaker is.
        surplus: how many permits more than there is room for the endpoint `alone` is given: for a test of the soak.
    """
    return {
        "listen": {"port": 0},
        "aws": {"region": REGION, "endpoint_url": upstream, "control_endpoint_url": upstream, "refresh_seconds": 1},
        "log": {"level": "warning", "format": "json"},
        "endpoints": {
            "alone": _endpoint(4 + surplus, waiting=40, seconds=1, concurrency_per_instance=2),
            "left": _endpoint(FIXED["left"], waiting=30, seconds=1),
            "right": _endpoint(FIXED["right"], waiting=30, seconds=1),
            "spare": _endpoint(FIXED["spare"], waiting=30, seconds=1),
            ELASTIC: _endpoint("auto", waiting=500, seconds=0.5),
        },
        "routes": {
            "pair": {
                "path": "/predict",
                "targets": [{"endpoint": "left", "weight": 2}, {"endpoint": "right", "weight": 1}],
                "fallback": ["spare"],
            }
        },
    }


def _endpoint(instances: int | str, *, waiting: int, seconds: float, **more: int) -> Mapping[str, Any]:
    return {
        "instances": instances,
        "queue": {"max_waiting": waiting, "timeout_seconds": seconds},
        "timeout_seconds": TIMEOUT_SECONDS,
        "stream_timeout_seconds": TIMEOUT_SECONDS,
        "cooldown_seconds": COOLDOWN_SECONDS,
        **more,
    }
