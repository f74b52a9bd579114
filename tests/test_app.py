"""The parts together: opening, draining, closing."""

import asyncio
import io
import socket
from contextlib import suppress

import pytest

from gateway.app import open_gateway
from gateway.log import make_logger
from tests.doorstep import CALL, connected
from tests.raw import raw_server, serve_held
from tests.stand import MakeStand, Stand, StandSettings, config_in_front_of, lines_of
from tests.waiting import until

SLOW = {"model": {"seconds": 0.3}}


def running(stand: Stand) -> int:
    """Calls that run at the gateway."""
    return stand.gateway.limiters["slow"].statistics().running


async def test_a_drained_gateway_has_answered_everybody(make_stand: MakeStand) -> None:
    """Draining: not ready at once; who runs or waits is served; who comes later is refused with 503. All is logged."""
    stand = await make_stand(StandSettings({"slow": SLOW}))
    calls = [asyncio.create_task(stand.invoke("slow")) for _ in range(3)]
    await until(lambda: running(stand) == 1)

    drain = asyncio.create_task(stand.gateway.drain())
    await asyncio.sleep(0)
    ready = await stand.request("GET", "/readyz", b"")
    late = await stand.invoke("slow")
    replies = await asyncio.gather(*calls)
    await drain
    events = stand.events()

    assert (ready.status, ready.body) == (503, b"not ready: draining\n")
    assert (late.status, late.headers["x-amzn-ErrorType"], late.headers["Connection"]) == (
        503,
        "ServiceUnavailable",
        "close",
    )
    assert [reply.status for reply in replies] == [200, 200, 200]
    assert (events[-1], events.count("request_finished")) == ("drained", 4)


async def test_who_is_answered_before_a_cut_off_is_logged_before_it(make_stand: MakeStand) -> None:
    """The log tells things in their order."""
    stand = await make_stand(StandSettings({"echo": {"model": {"seconds": 0, "echo": True}}}))
    await stand.invoke("echo")
    await stand.gateway.cut_off()
    events = stand.events()

    assert events[-2:] == ["request_finished", "drain_cut_off"]


async def test_a_closed_gateway_leaves_no_timer_behind() -> None:
    """That of who waited runs for as long as they might have waited."""

    class Late:
        gave_up = False

        def give_up(self) -> None:
            self.gave_up = True

    late = Late()
    async with raw_server(serve_held) as server:
        config = config_in_front_of(server.url, {"listen": {"port": 0}})
        async with open_gateway(config, make_logger(stream=io.StringIO())) as gateway:
            gateway.roster.patience.set(late, asyncio.get_running_loop().time() + 0.3)
        assert not late.gave_up
        await asyncio.sleep(0.4)

    assert not late.gave_up


async def test_nobody_is_left_out_of_the_log_at_the_end() -> None:
    """A call that outlives its caller, and then the listeners, is told of before the gateway has closed."""
    logged = io.StringIO()
    async with raw_server(serve_held) as server:
        log = make_logger(style="json", stream=logged)
        async with open_gateway(config_in_front_of(server.url), log) as gateway:
            async with connected(gateway.url) as caller:
                await caller.send(CALL)
                await until(lambda: server.working == 1)
            await until(lambda: gateway.limiters["raw"].statistics().orphaned == 1)
        lines = lines_of(logged)  # before the loop has another turn

    assert [line["status"] for line in lines if "status" in line] == [499]


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


async def test_a_body_that_is_still_coming_is_cut_off_too(make_stand: MakeStand) -> None:
    """Who has not sent its whole body by the end of the drain is refused with 503, and never dispatched."""
    stand = await make_stand(StandSettings({"slow": SLOW}, config={"drain": {"timeout_seconds": 0.1}}))
    host, port = stand.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /endpoints/slow/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
    await until(lambda: len(stand.gateway.roster.readers) == 1)

    await stand.gateway.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert head.startswith(b"HTTP/1.1 503 ")
    assert stand.counters("slow").calls == 0


async def test_a_caller_that_does_not_read_does_not_hold_the_end(make_stand: MakeStand) -> None:
    """Its answer counts as open until it is written; the drain ends all the same."""
    fleets = {"slow": {"model": {"seconds": 0, "echo": True}}}
    stand = await make_stand(StandSettings(fleets, config={"drain": {"timeout_seconds": 0.1}}))
    host, port = stand.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        b"POST /endpoints/slow/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
        b"X-Amzn-SageMaker-Custom-Attributes: bytes=20000000\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")

    async with asyncio.timeout(10):
        await stand.gateway.drain()
    writer.transport.abort()

    assert running(stand) == 0
    assert stand.log("drain_cut_off")[0]["running"] == 0


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


def loopback_hosts() -> list[str]:
    """The loopback addresses of this machine: not every container has IPv6."""
    hosts = []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with suppress(OSError), socket.socket(family) as probe:
            probe.bind((host, 0))
            hosts.append(host)
    return hosts


@pytest.mark.parametrize("host", loopback_hosts())
async def test_every_loopback_address_can_be_listened_on(make_stand: MakeStand, host: str) -> None:
    """And the URL that is told leads there."""
    fleets = {"echo": {"model": {"seconds": 0, "echo": True}}}
    stand = await make_stand(StandSettings(fleets, config={"listen": {"host": host, "port": 0}}))

    reply = await stand.invoke("echo", b"abc")

    assert reply.body == b"abc"
