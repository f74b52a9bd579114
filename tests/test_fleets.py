"""Inference components, variants, serverless endpoints and sessions, end to end, with the emulator's fleets behind."""

import asyncio
from collections import Counter
from typing import Any

from tests.stand import MakeStand, Reply, Stand, StandSettings
from tests.waiting import until

QUICK: dict[str, Any] = {"model": {"seconds": 0.05}}
AUTO = "auto"


def capacities(stand: Stand, *names: str) -> tuple[int, ...]:
    """How many calls may run now at these endpoints."""
    return tuple(stand.gateway.limiters[name].statistics().capacity for name in names)


async def call_at_once(stand: Stand, name: str, count: int) -> list[Reply]:
    """Many calls at the same moment."""
    return list(await asyncio.gather(*[stand.invoke(name) for _ in range(count)]))


async def test_permits_follow_the_copies_of_a_component(make_stand: MakeStand) -> None:
    """Two components on one endpoint are two endpoints of the config, each as large as its copies, up and down."""
    components = {"llama": {"copies": 2}, "mini": {"copies": 1}}
    stand = await make_stand(
        StandSettings(
            {"host": {"instances": 3, "inference_components": components, **QUICK}},
            {
                name: {"endpoint_name": "host", "inference_component": name, "instances": AUTO}
                for name in ("llama", "mini")
            },
        )
    )
    assert capacities(stand, "llama", "mini") == (2, 1)

    replies = await call_at_once(stand, "llama", 8)
    assert {reply.status for reply in replies} == {200}
    assert (stand.counters("host/llama").peak_work, stand.counters("host/mini").calls) == (2, 0)

    await stand.emulator.scale("host/llama", 4)
    await stand.emulator.scale("host/mini", 2)
    await until(lambda: capacities(stand, "llama", "mini") == (4, 2))


async def test_a_component_is_woken_from_zero_by_a_call(make_stand: MakeStand) -> None:
    """Ten callers find no copy: they wait, calls wake one, and it serves all of them one by one. Nobody is refused."""
    component = {"copies": 0, "wake_after_seconds": 0.3}
    stand = await make_stand(
        StandSettings(
            {"host": {"inference_components": {"llama": component}, **QUICK}},
            {"llama": {"endpoint_name": "host", "inference_component": "llama", "instances": AUTO}},
        )
    )
    assert (await stand.metrics())["sagemaker_gateway_fleet_probing", (("endpoint", "llama"),)] == 1

    replies = await call_at_once(stand, "llama", 10)

    assert {reply.status for reply in replies} == {200}
    seen = stand.counters("host/llama")
    assert seen.peak_work == 1
    assert 1 <= seen.no_capacity <= 3
    await until(lambda: capacities(stand, "llama") == (1,))


async def test_a_component_that_has_slept_takes_all_it_can_as_soon_as_its_copies_are_seen(
    make_stand: MakeStand,
) -> None:
    """It grows from none to three: the permits do too, at the next reading, and not after the first call's end."""
    stand = await make_stand(
        StandSettings(
            {"host": {"inference_components": {"llama": {"copies": 0}}, "model": {"seconds": 3}}},
            {"llama": {"endpoint_name": "host", "inference_component": "llama", "instances": AUTO}},
        )
    )
    calls = [asyncio.create_task(stand.invoke("llama")) for _ in range(3)]
    await until(lambda: stand.counters("host/llama").no_capacity > 0)

    await stand.emulator.scale("host/llama", 3)
    await until(lambda: stand.counters("host/llama").work == 3, seconds=2.9)
    replies = await asyncio.gather(*calls)

    assert {reply.status for reply in replies} == {200}


async def test_a_canary_of_two_variants_has_permits_for_each(make_stand: MakeStand) -> None:
    """Variants as two targets of a route: each call says which it means, and none meets a busy instance."""
    variants = {"blue": {"instances": 2, "weight": 1}, "green": {"instances": 1, "weight": 1}}
    stand = await make_stand(
        StandSettings(
            {"shop": {"variants": variants, **QUICK}},
            {name: {"endpoint_name": "shop", "target_variant": name, "instances": AUTO} for name in ("blue", "green")},
            {"routes": {"r": {"targets": [{"endpoint": "blue", "weight": 9}, {"endpoint": "green", "weight": 1}]}}},
        )
    )
    assert capacities(stand, "blue", "green") == (2, 1)

    replies = await call_at_once(stand, "r", 12)
    named = await stand.invoke("r", X_Amzn_SageMaker_Target_Variant="green")
    neither = await stand.invoke("r", X_Amzn_SageMaker_Target_Variant="red")

    assert {reply.status for reply in replies} == {200}
    both = [(each.headers["X-Gateway-Endpoint"], each.headers["x-Amzn-Invoked-Production-Variant"]) for each in replies]
    assert set(both) == {("blue", "blue"), ("green", "green")}
    assert (stand.counters("shop/blue").peak_work, stand.counters("shop/green").peak_work) == (2, 1)
    assert (named.status, named.headers["X-Gateway-Endpoint"]) == (200, "green")
    assert neither.status == 400
    assert "always has X-Amzn-SageMaker-Target-Variant" in neither.json["message"]


async def test_permits_of_a_serverless_endpoint_are_its_concurrency(make_stand: MakeStand) -> None:
    """As many calls at once as MaxConcurrency, so that none is throttled."""
    stand = await make_stand(
        StandSettings({"lambda": {"serverless": {"max_concurrency": 3}, **QUICK}}, {"lambda": {"instances": AUTO}})
    )

    replies = await call_at_once(stand, "lambda", 12)

    assert {reply.status for reply in replies} == {200}
    seen = stand.counters("lambda")
    assert (capacities(stand, "lambda"), seen.peak_calls, seen.throttled) == ((3,), 3, 0)


async def test_a_session_stays_with_its_instance(make_stand: MakeStand) -> None:
    """It is opened, used and closed through the gateway, while others use the endpoint too."""
    stand = await make_stand(StandSettings({"chat": {"instances": 3, **QUICK}}))
    opened = await stand.invoke("chat", X_Amzn_SageMaker_Session_Id="NEW_SESSION")
    session, _, expires = opened.headers["X-Amzn-SageMaker-New-Session-Id"].partition("; Expires=")
    before = Counter({index: each.calls for index, each in enumerate(stand.counters("chat").instances)})

    for _ in range(5):
        assert (await stand.invoke("chat", X_Amzn_SageMaker_Session_Id=session)).status == 200
    unknown = await stand.invoke("chat", X_Amzn_SageMaker_Session_Id="nobody")

    after = Counter({index: each.calls for index, each in enumerate(stand.counters("chat").instances)})
    assert expires
    assert sorted((after - before).values()) == [5]
    assert (unknown.status, unknown.headers["x-amzn-ErrorType"].partition(":")[0]) == (400, "ValidationError")
