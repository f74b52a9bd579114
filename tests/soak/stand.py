"""The endpoints of a soak, and the configs of the gateway in front of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.stand import REGION

from .keys import PROFILE

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


AWAY = "left"
"""The endpoint that is reached by a door of its own, and is away at times."""

RELOADED, SMALL = "alone", 4
"""The endpoint whose capacity another config changes, and how much it has then."""


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


@dataclass(frozen=True, slots=True)
class Stand:
    """What the gateway's configs have in common.

    Attributes:
        url: where SageMaker is.
        side_url: where its endpoint is that has a door of its own.
        surplus: how many instances more than there are the endpoint `alone` is given: for a test of the soak.
    """

    url: str
    side_url: str
    surplus: int = 0

    def config(self, reloaded: int = FIXED[RELOADED]) -> dict[str, Any]:
        """The gateway's config, with such a capacity of the endpoint that changes it."""
        aws = {"region": REGION, "endpoint_url": self.url, "control_endpoint_url": self.url, "refresh_seconds": 1}
        return {
            "listen": {"port": 0},
            "aws": aws,
            "drain": {"delay_seconds": 0.2},
            "log": {"level": "warning", "format": "json"},
            "endpoints": {
                RELOADED: _endpoint(reloaded // 2 + self.surplus, waiting=40, seconds=1, concurrency_per_instance=2),
                "left": _endpoint(FIXED["left"], waiting=30, seconds=1, endpoint_url=self.side_url),
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


def _endpoint(instances: int | str, *, waiting: int, seconds: float, **more: int | str) -> Mapping[str, Any]:
    return {
        "instances": instances,
        "profile": PROFILE,
        "queue": {"max_waiting": waiting, "timeout_seconds": seconds},
        "timeout_seconds": TIMEOUT_SECONDS,
        "stream_timeout_seconds": TIMEOUT_SECONDS,
        "cooldown_seconds": COOLDOWN_SECONDS,
        **more,
    }
