"""The parts together: opening, draining, closing."""

import asyncio
import io
import re

import pytest

from gateway.app import StartError, open_gateway
from gateway.config import Config
from gateway.log import make_logger
from tests.stand import MakeStand, Stand, StandSettings
from tests.waiting import until

SLOW = {"model": {"seconds": 0.3}}


def running(stand: Stand) -> int:
    """Calls that run at the gateway."""
    return stand.gateway.limiters["slow"].statistics().running


async def test_a_drained_gateway_has_answered_everybody(make_stand: MakeStand) -> None:
    """Draining: not ready at once; who runs or waits is served; who comes later is refused with 503."""
    stand = await make_stand(StandSettings({"slow": SLOW}))
    calls = [asyncio.create_task(stand.invoke("slow")) for _ in range(3)]
    await until(lambda: running(stand) == 1)

    drain = asyncio.create_task(stand.gateway.drain())
    await asyncio.sleep(0)
    ready = await stand.request("GET", "/readyz", b"")
    late = await stand.invoke("slow")
    replies = await asyncio.gather(*calls)
    await drain

    assert (ready.status, ready.body) == (503, b"not ready: draining\n")
    assert (late.status, late.headers["x-amzn-ErrorType"], late.headers["Connection"]) == (
        503,
        "ServiceUnavailable",
        "close",
    )
    assert [reply.status for reply in replies] == [200, 200, 200]


async def test_draining_is_bounded(make_stand: MakeStand) -> None:
    """At the end of its time the drain refuses who waits with 503 and gives up what runs with 424."""
    config = {"drain": {"timeout_seconds": 0.05}}
    stand = await make_stand(StandSettings({"slow": {"model": {"seconds": 5}}}, config=config))
    calls = [asyncio.create_task(stand.invoke("slow")) for _ in range(3)]
    await until(lambda: stand.gateway.limiters["slow"].statistics().waiting == 2)

    await stand.gateway.drain()
    statuses = sorted([(await call).status for call in calls])

    assert statuses == [424, 503, 503]
    assert stand.log("drain_cut_off")[0]["waiting"] == 2


async def test_a_drain_waits_for_orphans(make_stand: MakeStand) -> None:
    """A call whose caller has gone still occupies its instance, so the gateway stays until it ends."""
    stand = await make_stand(StandSettings({"slow": SLOW}))
    caller = asyncio.create_task(stand.invoke("slow"))
    await until(lambda: stand.counters("slow").work == 1)
    caller.cancel()
    await until(lambda: stand.gateway.limiters["slow"].statistics().orphaned == 1)

    await stand.gateway.drain()

    assert stand.counters("slow").work == 0
    assert running(stand) == 0


async def test_capacity_that_follows_the_fleet_is_refused() -> None:
    """`instances: auto` cannot be served yet: starting says so and how to go on."""
    config = Config.model_validate({"aws": {"region": "eu-west-1"}, "endpoints": {"a": {"instances": "auto"}}})

    with pytest.raises(StartError, match=re.escape("endpoints.a.instances: auto")):
        async with open_gateway(config, make_logger(stream=io.StringIO())):
            pass


async def test_ipv6_can_be_listened_on(make_stand: MakeStand) -> None:
    """The URL of an IPv6 listener is well formed."""
    fleets = {"echo": {"model": {"seconds": 0, "echo": True}}}
    stand = await make_stand(StandSettings(fleets, config={"listen": {"host": "::1", "port": 0}}))

    reply = await stand.invoke("echo", b"abc")

    assert stand.url.startswith("http://[::1]:")
    assert reply.body == b"abc"
