"""What operators see of a gateway."""

from contextlib import AsyncExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.doorstep import CALL, LIVEZ, connected
from tests.raw import serve_held
from tests.stand import MakeStand, StandSettings, in_front_of
from tests.waiting import until

ECHO = {"instances": 2, "model": {"seconds": 0, "echo": True}}


async def test_livez_and_readyz_say_ok(make_stand: MakeStand) -> None:
    """Both answer 200 on a healthy gateway, and `?verbose` names every check."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    live = await stand.request("GET", "/livez", b"")
    ready = await stand.request("GET", "/readyz", b"")
    verbose = await stand.request("GET", "/readyz?verbose", b"")

    assert (live.status, live.body) == (200, b"ok\n")
    assert (ready.status, ready.body) == (200, b"ok\n")
    assert verbose.body == b"[+] config ok\n[+] credentials ok\n[+] draining ok\n"


async def test_status_shows_every_endpoint(make_stand: MakeStand) -> None:
    """JSON with what the config says of an endpoint, and how it, its keys and its limiter are at this moment."""
    stand = await make_stand(StandSettings({"echo-prod": ECHO}, {"echo-prod": {"concurrency_per_instance": 3}}))

    reply = await stand.request("GET", "/status", b"")

    assert reply.json["endpoints"] == {
        "echo-prod": {
            "endpoint_name": "echo-prod",
            "instances": 2,
            "concurrency_per_instance": 3,
            "health": {"ejected": False, "no_capacity": False, "probing": False, "unreachable_in_a_row": 0},
            "credentials": "ok",
            "capacity": 6,
            "running": 0,
            "orphaned": 0,
            "cooling": 0,
            "waiting": 0,
            "oldest_waiter_seconds": 0.0,
        }
    }


async def test_metrics_come_in_the_form_that_is_asked_for(make_stand: MakeStand) -> None:
    """Plain text for Prometheus' old scraper, OpenMetrics for the new one."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    plain = await stand.request("GET", "/metrics", b"")
    modern = await stand.request("GET", "/metrics", b"", Accept="application/openmetrics-text; version=1.0.0")

    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    assert modern.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert modern.body.endswith(b"# EOF\n")


async def test_an_odd_accept_gets_plain_metrics(make_stand: MakeStand) -> None:
    """What a scraper asks for cannot make the answer fail."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    reply = await stand.request("GET", "/metrics", b"", Accept="application/openmetrics-text; version=abc")

    assert reply.status == 200
    assert b"sagemaker_gateway_capacity" in reply.body


@pytest.mark.parametrize("coding", ["gzip", "identity"])
async def test_metrics_come_compressed_and_in_part_where_that_is_asked_for(make_stand: MakeStand, coding: str) -> None:
    """Those samples that `?name[]=` names, in the coding that the scraper accepts."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    path = "/metrics?name[]=sagemaker_gateway_capacity&name[]=sagemaker_gateway_joins_total"

    part = await stand.request("GET", path, b"", Accept_Encoding=coding)
    whole = await stand.request("GET", "/metrics", b"", Accept_Encoding=coding)

    assert [line for line in sorted(part.body.splitlines()) if not line.startswith(b"#")] == [
        b'sagemaker_gateway_capacity{endpoint="echo"} 2.0',
        b'sagemaker_gateway_joins_total{endpoint="_unknown"} 0.0',
        b'sagemaker_gateway_joins_total{endpoint="echo"} 0.0',
    ]
    assert set(part.body.splitlines()) < set(whole.body.splitlines())
    assert {reply.headers.get("Content-Encoding", "identity") for reply in (part, whole)} == {coding}


async def test_ops_requests_are_not_counted_as_calls(make_stand: MakeStand) -> None:
    """Health checks and scrapes leave no trace in the metrics of requests, nor in the access log."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    for path in ("/livez", "/readyz", "/status", "/metrics"):
        assert (await stand.request("GET", path, b"")).status == 200
        assert (await stand.request("HEAD", path, b"")).body == b""
    metrics = await stand.metrics()

    assert sum(value for (name, _), value in metrics.items() if name == "sagemaker_gateway_requests_total") == 0
    assert stand.log("request_finished") == []


@pytest.mark.parametrize("own", [True, False], ids=["apart", "together"])
async def test_metrics_show_the_connections_of_each_listener(*, own: bool) -> None:
    """Who idles, who is busy, who was turned away; operators apart, where they have a listener of their own."""
    config = {"listen": {"port": 0, "max_connections": 3}, **({"admin": {"port": 0}} if own else {})}
    async with in_front_of(serve_held, config=config) as (gateway, server), AsyncExitStack() as stack:
        busy, idle, last = [await stack.enter_async_context(connected(gateway.url)) for _ in range(3)]
        await busy.send(CALL)
        await until(lambda: len(server.requests) == 1)
        for caller in (idle, last):
            await caller.send(LIVEZ)
            await caller.answer()
        fourth = await stack.enter_async_context(connected(gateway.url))
        await fourth.send(LIVEZ)
        await fourth.answer()
        assert await idle.rest() == b""
        operator = await stack.enter_async_context(connected(gateway.admin_url)) if own else fourth
        await operator.send(LIVEZ.replace(b"livez", b"metrics"))
        text = (await operator.answer()).body.decode()

    shown = {
        (sample.labels["listener"], sample.labels.get("state", sample.labels.get("reason"))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "listener" in sample.labels
    }
    closed = {"refused": 0, "evicted": 1, "slow": 0, "stalled": 0}
    listeners = {"listen": {"busy": 1, "idle": 2}, "admin": {"busy": 1, "idle": 0}}
    if not own:
        listeners = {"listen": {"busy": 2, "idle": 1}}
    assert shown == {
        (name, what): count
        for name, states in listeners.items()
        for what, count in {**states, **(closed if name == "listen" else dict.fromkeys(closed, 0))}.items()
    }
