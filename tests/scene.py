"""Endpoints of a config with real permits, queues and health, and callers on their way to a permit."""

import asyncio
import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest

from gateway.admission import Admission
from gateway.balance import Balance
from gateway.config import Config
from gateway.endpoint import Endpoint
from gateway.errors import Refusal, Row
from gateway.health import REFUSALS, Health
from gateway.limiter import Limiter, Permit
from gateway.log import make_logger
from gateway.models import Operation, Unseen
from gateway.roster import Roster
from gateway.router import Router
from gateway.sagemaker.credentials import CredentialSource, Provider
from tests.doubles import LoopTime

INVOKE = Operation("InvokeEndpoint", "invocations", {}, frozenset())
ASYNC = Operation("InvokeEndpointAsync", "async-invocations", {}, frozenset(), takes_permit=False)


async def _no_keys() -> Provider | None:
    return None


class Guest:
    """One caller on their way."""

    def __init__(self, scene: "Scene", admission: Admission) -> None:
        self._scene = scene
        self.admission = admission
        self.permit: Permit | None = None
        self.task = asyncio.create_task(admission.admit())

    @property
    def at(self) -> str | None:
        """The endpoint that they have been admitted to; None while they wait."""
        if not self.task.done():
            return None
        endpoint, permit = self.task.result()
        assert permit is None or permit.limiter is endpoint.limiter
        self.permit = permit
        return endpoint.name

    @property
    def refusal(self) -> Refusal:
        """What they were refused with."""
        assert self.task.done()
        refusal = self.task.exception()
        assert isinstance(refusal, Refusal)
        return refusal

    @property
    def passed(self) -> list[tuple[str, Unseen, str | None]]:
        """What they went on from."""
        return [(each.endpoint, each.reason, each.upstream_error) for each in self.admission.failovers]

    async def release(self) -> None:
        """Give the permit back."""
        assert self.at is not None
        assert self.permit is not None
        self.permit.release()
        await self._scene.time.settle()

    async def hang_up(self) -> None:
        """Leave."""
        self.task.cancel()
        await self._scene.time.settle()
        assert self.task.cancelled()

    async def go_on(self, reason: Unseen, upstream_error: str | None = None) -> bool:
        """Come back from a call that no model saw; whether there is somewhere to go on to."""
        name = self.at
        assert name is not None
        if self.permit is not None:
            self.permit.release()
        if not self.admission.pass_over(self._scene.endpoints[name], reason, upstream_error):
            return False
        self.task = asyncio.create_task(self.admission.admit())
        await self._scene.time.settle()
        return True


class Scene:
    """A route `r`, its endpoints, and the time that passes for them.

    Args:
        monkeypatch: puts the time in place.
        targets: of the route, with their weights.
        fallback: of the route.
        settings: those of single endpoints, by name; one instance each, if they say nothing else.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        targets: Mapping[str, int],
        *,
        fallback: Sequence[str] = (),
        settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self.time = LoopTime(monkeypatch)
        monkeypatch.setattr("gateway.admission.monotonic", self.time.clock)
        route = {
            "targets": [{"endpoint": name, "weight": weight} for name, weight in targets.items()],
            "fallback": list(fallback),
        }
        config = Config.model_validate(
            {
                "aws": {"region": "eu-west-1"},
                "endpoints": {name: {"instances": 1, **settings.get(name, {})} for name in (*targets, *fallback)},
                "routes": {"r": route},
            }
        )
        self.router = Router(config, (INVOKE, ASYNC), INVOKE)
        self.roster = Roster()
        self.balance = Balance()
        credentials = CredentialSource(_no_keys, make_logger(stream=io.StringIO()))
        self.endpoints: dict[str, Endpoint] = {}
        for name, each in config.endpoints.items():
            limiter = Limiter(capacity=each.capacity or 0, max_waiting=each.queue.max_waiting, clock=self.time.clock)
            health = Health(limiter, ejects=True, later=asyncio.get_running_loop().call_later, chance=lambda: 0.5)
            self.endpoints[name] = Endpoint(name, each, limiter, health, credentials, {})

    def limiter(self, name: str) -> Limiter:
        """The permits of an endpoint."""
        return self.endpoints[name].limiter

    def health(self, name: str) -> Health:
        """The health of an endpoint."""
        return self.endpoints[name].health

    async def come(self, name: str = "r", operation: Operation = INVOKE) -> Guest:
        """Somebody comes who wants a route, or an endpoint."""
        match = self.router.match(f"/endpoints/{name}/{operation.suffix}")
        assert match is not None
        guest = Guest(self, Admission(match, self.endpoints, self.balance, self.roster))
        await self.time.settle()
        return guest

    async def come_all(self, count: int, name: str = "r") -> list[Guest]:
        """So many come, one after the other."""
        return [await self.come(name) for _ in range(count)]

    async def close(self, name: str, cause: Row) -> None:
        """Let calls show that an endpoint takes none."""
        health = self.health(name)
        if cause.reason == "no_capacity":
            health.no_capacity()
        for _ in range(REFUSALS if cause.reason == "unreachable" else 0):
            health.unreachable()
        assert health.cause is cause
        await self.time.settle()

    def state(self) -> dict[str, tuple[int, int]]:
        """How many run and wait at each endpoint."""
        found = {name: self.limiter(name).statistics() for name in self.endpoints}
        return {name: (each.running, each.waiting) for name, each in found.items()}

    def traces(self) -> list[object]:
        """What is left of those who wait, or have waited, anywhere."""
        watchers = [watcher for endpoint in self.endpoints.values() for watcher in endpoint.health.watchers]
        waiting = [name for name in self.endpoints for _ in range(self.limiter(name).waiting)]
        return [*watchers, *waiting, *self.roster.turns]
