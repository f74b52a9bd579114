"""A gateway between callers, SageMaker and operators that are all the test's, in a time that is the test's."""

import asyncio
import io
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest

from gateway.app import Gateway, open_gateway
from gateway.capacity import Follower
from gateway.config import Config, ConfigError
from gateway.flights import Flights
from gateway.limiter import Limiter
from gateway.log import make_logger
from gateway.sagemaker.hosts import PLAIN
from gateway.upstream import Upstream
from tests.machine.control import Chain, Control
from tests.machine.far_end import FarEnd, Run
from tests.machine.loop import StillLoop
from tests.machine.wire import Reply, Wire

PORT = 1


class Stage:
    """All that is not the gateway, and the gateway.

    Args:
        config: the first one.
        story: how many things have happened.
        watch: is told of each call that is sent, before it counts.
        gave_up: is told of each call that the gateway ends while it is under way.
        read: is told of each reading of a fleet: whose, and how many instances.
    """

    def __init__(
        self,
        config: Config,
        *,
        story: Callable[[], int],
        watch: Callable[[Run], None],
        gave_up: Callable[[Run], None],
        read: Callable[[str, int], None],
    ) -> None:
        self.loop = StillLoop()
        self.far_end = FarEnd(self.loop.time, story, watch, gave_up)
        self.control = Control(read)
        self.chain = Chain(self.loop.time)
        self.next: Config | ConfigError = config
        self._patches = pytest.MonkeyPatch()
        self._logged = io.StringIO()
        self._read_lines = 0
        self._stack = AsyncExitStack()
        self._patch()
        log = make_logger(style="json", stream=self._logged)
        self.gateway: Gateway = self.loop.finish(
            self._stack.enter_async_context(open_gateway(config, log, self._reread))
        )
        self.loop.pass_by()

    def tasks(self) -> set[str]:
        """What is under way."""
        return {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks(self.loop)}

    def do(self, action: Callable[[], object]) -> None:
        """Have something happen in the next turn of the loop."""
        self.loop.call_soon(action)

    def connect(self) -> Wire:
        """A connection that comes; for an action."""
        return Wire(self.loop.listeners[PORT]())

    def get(self, path: str) -> Reply:
        """What operators are answered."""
        wires: list[Wire] = []

        def ask() -> None:
            wires.append(self.connect())
            wires[0].send(f"GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode())

        self.do(ask)
        seconds, self.loop.thread_seconds = self.loop.thread_seconds, 0.0  # the story's time stands still
        self.loop.pass_by()
        self.loop.thread_seconds = seconds
        reply = wires[0].reply
        assert reply is not None
        assert reply.whole
        return reply

    def status(self) -> dict[str, Any]:
        """Every endpoint's state, as operators see it."""
        return cast("dict[str, Any]", json.loads(self.get("/status").body)["endpoints"])

    def counter(self, name: str, endpoint: str, label: str) -> dict[str, int]:
        """The values of one counter of an endpoint that are not 0, by another of its labels."""
        found: Counter[str] = Counter()
        sample = re.compile(rf'sagemaker_gateway_{name}_total{{[^}}]*\b{label}="(\w+)"[^}}]*}} (\S+)')
        for line in self.get("/metrics").body.decode().splitlines():
            if f'endpoint="{endpoint}"' in line and (match := sample.match(line)):
                found[match[1]] += int(float(match[2]))
        return dict(+found)

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log since this was asked last."""
        self.gateway.records.tell()
        self._logged.seek(self._read_lines)
        lines = [json.loads(line) for line in self._logged]
        self._read_lines = self._logged.tell()
        return lines

    def abandon(self) -> None:
        """Undo all, whatever is open."""
        self._patches.undo()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.pass_by()
        self.loop.close()

    def close(self) -> None:
        """Close the gateway, and undo all."""
        try:
            self.loop.finish(self._stack.aclose())
            self.loop.pass_by()
            assert not asyncio.all_tasks(self.loop)
        finally:
            self._patches.undo()
            self.loop.close()

    def _reread(self) -> Config:
        if isinstance(self.next, ConfigError):
            raise self.next
        return self.next

    def _patch(self) -> None:
        clock, put = self.loop.time, self._patches.setattr
        for place in ("admission.monotonic", "dispatch.perf_counter", "visit.perf_counter"):
            put(f"gateway.{place}", clock)
        put("gateway.assembly.Limiter", partial(Limiter, clock=clock))
        put("gateway.proxy.Flights", partial(Flights, clock=clock))
        put("gateway.following.Follower", partial(Follower, clock=clock))
        put("gateway.assembly.host_kind", lambda **_: PLAIN)  # it asks botocore, which takes its time
        put("gateway.assembly.open_control", self.control.open)
        put("gateway.assembly.open_identity", self.chain.open)
        put("gateway.app.open_upstream", self._open_upstream)

    @asynccontextmanager
    async def _open_upstream(self, *_: object) -> AsyncIterator[Upstream]:
        yield cast("Upstream", self.far_end)
