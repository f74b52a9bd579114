"""The emulator as a whole: introduces the parts to each other, starts them, and stops them in order."""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from gateway.emulator.admin import Admin
from gateway.emulator.backlog import AsyncResult, AsyncResults
from gateway.emulator.container import Container, open_session
from gateway.emulator.control import ControlPlane
from gateway.emulator.counters import Counters, KeyCounters
from gateway.emulator.deployment import Deployment
from gateway.emulator.endpoint import Endpoint
from gateway.emulator.errors import StartError
from gateway.emulator.faults import Fault
from gateway.emulator.front import Front
from gateway.emulator.launch import Launcher
from gateway.emulator.ledger import Ledger, open_ledgers
from gateway.emulator.plan import fleets_of
from gateway.emulator.refusals import AccountRefusals
from gateway.emulator.runtime import Runtime
from gateway.emulator.settings import CredentialSettings, EmulatorSettings
from gateway.emulator.signatures import Verifier

BACKLOG = 4096
SHUTDOWN_SECONDS = 0.05
"""What open requests get at the end; aiohttp takes 0 for no limit at all."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Emulator:
    """A local SageMaker: `async with Emulator(settings) as emulator` runs it in the current event loop.

    Args:
        settings: What to emulate; see `EmulatorSettings`.
        clock: Seconds for the counters, monotonic.
        wall_clock: The time that signatures are held against, with a time zone.
        seed: Makes the choices of RANDOM routing, and the dealing of calls to variants, repeatable.

    Raises:
        StartError: On entering, when an instance or the listener does not come up; nothing is left running.
    """

    def __init__(
        self,
        settings: EmulatorSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], datetime] = _utc_now,
        seed: int | None = None,
    ) -> None:
        self._settings = settings
        self._wall_clock = wall_clock
        self._chance = random.Random(seed)  # noqa: S311 (a routing strategy, not a secret)
        self._plans = {name: fleets_of(name, each) for name, each in settings.endpoints.items()}
        self._ledgers: dict[str, Ledger] = {}
        for name, plans in self._plans.items():
            self._ledgers |= open_ledgers(name, {plan.name: plan.size for plan in plans.values()}, clock)
        self._verifier = Verifier(
            settings.credentials,
            region=settings.region,
            skew_seconds=settings.clock_skew_seconds,
            wall_clock=wall_clock,
        )
        self._endpoints: dict[str, Endpoint] = {}
        self._deployments: dict[str, Deployment] = {}
        self._results = AsyncResults()
        self._stack = AsyncExitStack()
        self._port = 0

    @property
    def url(self) -> str:
        """The address to send requests to, without a slash at the end; valid once the emulator runs."""
        host = self._settings.listen.host
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared with, not bound to)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    def counters(self, name: str) -> Counters:
        """What has happened since the last reset; KeyError for an unknown name.

        Args:
            name: An endpoint, or one of its fleets: `endpoint/variant` or `endpoint/component`.
        """
        return self._ledgers[name].counters()

    def key_counters(self, access_key_id: str) -> KeyCounters:
        """What has been signed with a key pair since the last reset; KeyError for an unknown id."""
        return self._verifier.counters()[access_key_id]

    def reset(self) -> None:
        """Set all counters to zero, and their peaks to what is the case."""
        self._verifier.reset()
        for ledger in self._ledgers.values():
            ledger.reset()

    def accept(self, pair: CredentialSettings) -> None:
        """From now on this key pair is good, in place of what was known under its id."""
        self._verifier.accept(pair)

    def expire(self, access_key_id: str) -> None:
        """From now on what this key pair signs is answered ExpiredTokenException; KeyError for an unknown id.

        Like all that is about signatures, it changes nothing when the settings say not to verify them.
        """
        self._verifier.expire(access_key_id)

    async def scale(self, name: str, instances: int, *, describe_delay_seconds: float = 0) -> None:
        """Give a fleet more or fewer instances, and return when that is done; valid while the emulator runs.

        An added instance gets calls as soon as it is up. A removed one finishes what it was given, and is stopped.

        Args:
            name: An endpoint that is one fleet, or else `endpoint/variant` or `endpoint/component`; KeyError for an
                unknown one.
            instances: How many instances or copies there should be, or calls at once if it is serverless; with none,
                calls are refused for want of capacity.
            describe_delay_seconds: How much later than it happens a change is shown by the control plane.

        Raises:
            StartError: An instance did not come up.
        """
        await self._deployments[name].scale(instances, describe_delay_seconds=describe_delay_seconds)

    def switch_describe(self, name: str, *, throttled: bool = False, denied: bool = False) -> None:
        """Let the control plane refuse to describe an endpoint and its components, or describe them again.

        KeyError for an unknown name.
        """
        endpoint = self._endpoints[name]
        endpoint.describe_throttled, endpoint.describe_denied = throttled, denied

    def async_result(self, inference_id: str) -> AsyncResult | None:
        """What has become of an asynchronous call, or None for an unknown id."""
        return self._results.get(inference_id)

    def inject(self, name: str, *faults: Fault | Mapping[str, Any]) -> None:
        """Let faults happen to the next calls of an endpoint, one to each; valid while the emulator runs.

        Args:
            name: The endpoint; KeyError for an unknown one.
            faults: Each a `Fault`, or its fields as a mapping such as `{"fault": "throttle"}`.
        """
        self._endpoints[name].faults.inject(*(Fault.model_validate(fault) for fault in faults))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(open_session())
            launcher = Launcher(session)
            stack.push_async_callback(launcher.stop)
            containers = await launcher.start(plan for plans in self._plans.values() for plan in plans.values())
            for name in self._plans:
                self._endpoints[name] = self._endpoint(name, containers, launcher)
            for deployment in self._deployments.values():
                stack.push_async_callback(deployment.close)
            runner = web.ServerRunner(self._server(), shutdown_timeout=SHUTDOWN_SECONDS)
            stack.push_async_callback(runner.cleanup)
            self._port = await self._listen(runner)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _endpoint(self, name: str, containers: Mapping[str, Iterable[Container]], launcher: Launcher) -> Endpoint:
        deployments = {
            part: Deployment(
                plan,
                containers[plan.name],
                launcher=launcher,
                ledger=self._ledgers[plan.name],
                chance=self._chance,
                wall_clock=self._wall_clock,
            )
            for part, plan in self._plans[name].items()
        }
        self._deployments |= {each.plan.name: each for each in deployments.values()}
        return Endpoint(
            name,
            self._settings.endpoints[name],
            deployments=deployments,
            ledger=self._ledgers[name],
            chance=self._chance,
            wall_clock=self._wall_clock,
        )

    def _server(self) -> web.Server:
        settings = self._settings
        account = AccountRefusals(region=settings.region, account_id=settings.account_id)
        control = ControlPlane(
            self._endpoints,
            region=settings.region,
            account_id=settings.account_id,
            created_at=self._wall_clock(),
        )
        bucket = f"s3://sagemaker-{settings.region}-{settings.account_id}"
        front = Front(
            Runtime(self._endpoints, account, self._results, bucket=bucket),
            control,
            Admin(self._endpoints, self._deployments, self._ledgers, self._results, self._verifier),
            self._verifier if settings.verify_signatures else None,
        )
        return web.Server(
            front.handle,
            handler_cancellation=True,  # a caller's hang-up is noticed at once
            access_log=None,
            auto_decompress=False,  # bodies pass as they came, and are signed as they came
            keepalive_timeout=settings.idle_connection_seconds,
        )

    async def _listen(self, runner: web.ServerRunner) -> int:
        host, port = self._settings.listen.host, self._settings.listen.port
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
        except OSError as error:
            raise StartError(
                f"cannot listen on {host}:{port}: {error.strerror}. Set listen.host and listen.port to a free address; "
                "port 0 takes any free port."
            ) from None
        bound: int = runner.addresses[0][1]
        return bound
