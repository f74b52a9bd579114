"""Routes over several endpoints, end to end: late binding, weights, fallback, ejection, sessions."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from gateway.app import Gateway, open_gateway
from gateway.config import Config
from gateway.log import make_logger
from tests.ports import free_port
from tests.raw import OK, Peer, raw_server, serve_held, serve_ok
from tests.stand import REGION, MakeStand, Reply, Stand, StandSettings
from tests.waiting import until

FAST = {"model": {"seconds": 0.02}}
ENDPOINT = "X-Gateway-Endpoint"


def route(*targets: str | tuple[str, int], fallback: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """The route `r` to these targets, with weights where they are given."""
    weighed = [target if isinstance(target, tuple) else (target, 1) for target in targets]
    entries = [{"endpoint": endpoint, "weight": weight} for endpoint, weight in weighed]
    return {"routes": {"r": {"targets": entries, "fallback": fallback, **more}}}


def served_by(replies: list[Reply]) -> Counter[str]:
    """How many calls each endpoint answered."""
    return Counter(reply.headers[ENDPOINT] for reply in replies)


async def readings(stand: Stand, name: str) -> dict[str, float]:
    """By endpoint, a metric's value, its other labels added up."""
    found: Counter[str] = Counter()
    for (metric, labels), value in (await stand.metrics()).items():
        if metric == f"sagemaker_gateway_{name}":
            found[dict(labels)["endpoint"]] += int(value)
    return {endpoint: value for endpoint, value in found.items() if value}


@asynccontextmanager
async def between(
    urls: Mapping[str, str], routes: Mapping[str, Any], **settings: Any
) -> AsyncIterator[tuple[Gateway, aiohttp.ClientSession]]:
    """A gateway in front of endpoints that live at these URLs, each of one instance."""
    config = Config.model_validate(
        {
            "listen": {"port": 0},
            "aws": {"region": REGION},
            "endpoints": {name: {"instances": 1, "endpoint_url": url, **settings} for name, url in urls.items()},
            **routes,
        }
    )
    async with (
        open_gateway(config, make_logger(stream=io.StringIO())) as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        yield gateway, session


async def call(gateway: Gateway, session: aiohttp.ClientSession, name: str = "r", body: bytes = b"{}") -> Reply:
    """InvokeEndpoint by the name of a route."""
    async with session.post(f"{gateway.url}/endpoints/{name}/invocations", data=body) as response:
        return Reply(response.status, response.headers.copy(), await response.read())


async def test_weights_share_out_the_calls_while_there_is_room(make_stand: MakeStand) -> None:
    """Of 20 calls one after the other, 18 go to the target of weight 9 and 2 to that of weight 1, as the fleet sees it.

    Every answer names the endpoint, and so do the metrics.
    """
    stand = await make_stand(StandSettings({"old": FAST, "new": FAST}, config=route(("old", 9), ("new", 1))))

    replies = [await stand.invoke("r") for _ in range(20)]

    assert served_by(replies) == {"old": 18, "new": 2}
    assert (stand.counters("old").calls, stand.counters("new").calls) == (18, 2)
    assert await readings(stand, "requests_total") == {"old": 18, "new": 2}


async def test_a_target_without_weight_gets_no_calls(make_stand: MakeStand) -> None:
    """Weight 0 takes a target out, even where the other is full."""
    stand = await make_stand(StandSettings({"old": FAST, "new": FAST}, config=route(("old", 1), ("new", 0))))

    replies = await asyncio.gather(*[stand.invoke("r") for _ in range(5)])

    assert served_by(replies) == {"old": 5}


async def test_nobody_is_bound_to_a_full_endpoint_while_another_has_room(make_stand: MakeStand) -> None:
    """Of 4 calls at once on fleets of 1 and 3 all run at once, whatever the weights say."""
    fleets = {
        "small": {"instances": 1, "model": {"seconds": 0.2}},
        "large": {"instances": 3, "model": {"seconds": 0.2}},
    }
    stand = await make_stand(StandSettings(fleets, config=route(("small", 100), ("large", 1))))

    replies = await asyncio.gather(*[stand.invoke("r") for _ in range(4)])

    assert served_by(list(replies)) == {"small": 1, "large": 3}
    assert [reply.headers["Server-Timing"].startswith("queue;dur=0.0,") for reply in replies] == [True] * 4


async def test_a_stalled_target_costs_only_itself(make_stand: MakeStand) -> None:
    """Weights 9:1 and the first stalls: the other goes on at its physical limit, and nobody waits for the first.

    Those who were dealt to it before are all that it costs.

    Goodput is at least 95 % of the capacity that is left.
    """
    calls, instances, seconds = 60, 2, 0.1
    fleets = {
        "stalled": {"instances": 2, "model": {"seconds": 60}},
        "good": {"instances": instances, "model": {"seconds": seconds}},
    }
    stand = await make_stand(StandSettings(fleets, config=route(("stalled", 9), ("good", 1))))
    spans = []
    dealt = [asyncio.create_task(stand.invoke("r")) for _ in range(4)]
    await until(lambda: sum(task.done() for task in dealt) == 2)
    stuck = [task for task in dealt if not task.done()]
    assert stand.counters("stalled").calls == 2
    for _ in range(5):
        stand.emulator.reset()
        replies = await asyncio.gather(*[stand.invoke("r") for _ in range(calls)])
        seen = stand.counters("good")

        assert served_by(list(replies)) == {"good": calls}
        assert seen.peak_work == instances
        spans.append(seen.span_seconds)
        if spans[-1] <= calls * seconds / instances / 0.95:
            break
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)

    assert min(spans) <= calls * seconds / instances / 0.95


async def test_who_waits_takes_the_permit_that_comes_free_first_in_order() -> None:
    """Two full targets, three waiters of the route: whichever target frees a permit, the first of them gets it."""
    go = {"a": asyncio.Semaphore(0), "b": asyncio.Semaphore(0)}
    order: list[tuple[str, bytes]] = []

    def script(name: str) -> Any:
        async def serve(peer: Peer) -> None:
            while True:
                request = await peer.request()
                order.append((name, request.body))
                await go[name].acquire()
                await peer.send(OK)

        return serve

    async with (
        raw_server(script("a")) as a,
        raw_server(script("b")) as b,
        between({"a": a.url, "b": b.url}, route("a", "b")) as (gateway, session),
    ):
        calls = []
        for number in range(5):
            calls.append(asyncio.create_task(call(gateway, session, body=b"%d" % number)))
            joined = max(0, number - 1)
            await until(lambda joined=joined: gateway.limiters["a"].waiting == joined)  # type: ignore[misc]
            await until(lambda number=number: len(order) == min(2, number + 1))  # type: ignore[misc]
        for count, name in enumerate(["b", "b", "a"], start=3):
            go[name].release()
            await until(lambda count=count: len(order) == count)  # type: ignore[misc]
        go["a"].release()
        go["b"].release()
        await asyncio.gather(*calls)
        left = [gateway.limiters[name].statistics() for name in ("a", "b")]

    assert [body for _, body in order] == [b"0", b"1", b"2", b"3", b"4"]
    assert [name for name, _ in order[2:]] == ["b", "b", "a"]
    assert [(each.running, each.waiting) for each in left] == [(0, 0), (0, 0)]


async def test_routes_that_share_an_endpoint_are_served_in_turn() -> None:
    """A flood on one route does not starve another: two who come after six of another route go 2nd and 4th."""
    routes = {"routes": {name: {"targets": [{"endpoint": "a"}]} for name in ("flood", "calm")}}
    async with raw_server(serve_held) as server, between({"a": server.url}, routes) as (gateway, session):
        names = ["flood"] * 7 + ["calm"] * 2
        calls = []
        for number, name in enumerate(names):
            calls.append(asyncio.create_task(call(gateway, session, name, b"%s" % name.encode())))
            await until(lambda number=number: gateway.limiters["a"].waiting == number)  # type: ignore[misc]
        for _ in names:
            server.gate.release()
        await asyncio.gather(*calls)

    served = [request.body.decode() for request in server.requests]
    assert served == ["flood", "flood", "calm", "flood", "calm", "flood", "flood", "flood", "flood"]


@pytest.mark.parametrize("fault", ["throttle", "not_ready", "no_capacity"])
async def test_a_fallback_serves_where_no_model_saw_the_call(make_stand: MakeStand, fault: str) -> None:
    """SageMaker refuses before its container: the fallback answers, once, and the metrics say why."""
    stand = await make_stand(StandSettings({"first": FAST, "spare": FAST}, config=route("first", fallback=("spare",))))
    stand.emulator.inject("first", {"fault": fault})

    reply = await stand.invoke("r")

    reason = {"throttle": "throttled"}.get(fault, fault)
    failovers = (await stand.metrics())[
        "sagemaker_gateway_failovers_total", (("endpoint", "first"), ("reason", reason))
    ]
    assert (reply.status, reply.headers[ENDPOINT], failovers) == (200, "spare", 1)
    assert (stand.counters("first").calls, stand.counters("spare").calls) == (0, 1)
    assert stand.log("request_finished")[-1]["failovers"] == [f"first: {reason}"]


@pytest.mark.parametrize("fault", ["internal_failure", "service_unavailable", "internal_dependency", "reset"])
async def test_no_fallback_where_a_model_may_have_run(make_stand: MakeStand, fault: str) -> None:
    """What says nothing of the model ends the request, as it would without a fallback."""
    stand = await make_stand(StandSettings({"first": FAST, "spare": FAST}, config=route("first", fallback=("spare",))))
    stand.emulator.inject("first", {"fault": fault})

    reply = await stand.invoke("r")

    assert (reply.status, reply.headers[ENDPOINT]) == (
        {"internal_failure": 500, "service_unavailable": 503, "internal_dependency": 530, "reset": 424}[fault],
        "first",
    )
    assert stand.counters("spare").calls == 0


async def test_a_full_queue_leads_to_the_fallback(make_stand: MakeStand) -> None:
    """Full, then next: where nobody may wait at the target the fallback takes the call, and 429 comes when both are."""
    fleets = {"first": {"model": {"seconds": 0.3}}, "spare": {"model": {"seconds": 0.3}}}
    endpoints = {name: {"queue": {"max_waiting": 0}} for name in fleets}
    stand = await make_stand(StandSettings(fleets, endpoints, route("first", fallback=("spare",))))

    replies = await asyncio.gather(*[stand.invoke("r") for _ in range(3)])

    assert Counter(reply.headers.get(ENDPOINT, reply.status) for reply in replies) == {"first": 1, "spare": 1, 429: 1}


async def test_the_last_answer_is_sagemakers_own(make_stand: MakeStand) -> None:
    """Where every endpoint throttles the caller gets that answer as it came, after one try at each."""
    stand = await make_stand(StandSettings({"first": FAST, "spare": FAST}, config=route("first", fallback=("spare",))))
    for name in ("first", "spare"):
        stand.emulator.inject(name, {"fault": "throttle"}, {"fault": "throttle"})

    reply = await stand.invoke("r")

    assert (reply.status, reply.headers["x-amzn-ErrorType"].split(":")[0]) == (400, "ThrottlingException")
    assert [stand.counters(name).faulted for name in ("first", "spare")] == [1, 1]


async def test_a_session_never_moves(make_stand: MakeStand) -> None:
    """Its calls go to the first target whatever the weights, and a refusal there is the answer."""
    stand = await make_stand(StandSettings({"home": FAST, "other": FAST}, config=route(("home", 1), ("other", 99))))

    replies = [await stand.invoke("r", X_Amzn_SageMaker_Session_Id=value) for value in ("NEW_SESSION", "s-1", "s-1")]
    stand.emulator.inject("home", {"fault": "throttle"})
    throttled = await stand.invoke("r", X_Amzn_SageMaker_Session_Id="s-1")

    assert {reply.headers[ENDPOINT] for reply in replies} == {"home"}
    assert (throttled.status, throttled.headers[ENDPOINT]) == (400, "home")
    assert stand.counters("other").calls == 0


async def test_every_operation_says_who_served(make_stand: MakeStand) -> None:
    """Streams and asynchronous calls are dealt by weight and fall back like others."""
    stand = await make_stand(StandSettings({"first": FAST, "spare": FAST}, config=route("first", fallback=("spare",))))
    stand.emulator.inject("first", *[{"fault": "throttle"}] * 2)

    replies = [
        await stand.request("POST", f"/endpoints/r/{suffix}")
        for suffix in ("invocations-response-stream", "async-invocations") * 2
    ]

    assert [(reply.status, reply.headers[ENDPOINT]) for reply in replies] == [
        (200, "spare"),
        (202, "spare"),
        (200, "first"),
        (202, "first"),
    ]


async def test_an_unreachable_target_is_ejected_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 5 calls in a row it is left out, after a while one call tries, and when it is back it is as before.

    No caller sees any of it; metric and /status tell.
    """
    monkeypatch.setattr("gateway.health.FIRST_PAUSE_SECONDS", 0.2)
    port = free_port()
    async with raw_server(serve_ok) as spare:
        urls = {"first": f"http://127.0.0.1:{port}", "spare": spare.url}
        async with between(urls, route("first", fallback=("spare",))) as (gateway, session):

            async def state() -> tuple[bool, int, bool]:
                async with session.get(f"{gateway.url}/status") as response:
                    health = (await response.json())["endpoints"]["first"]["health"]
                async with session.get(f"{gateway.url}/metrics") as response:
                    ejected = 'sagemaker_gateway_ejected{endpoint="first"} 1.0' in await response.text()
                assert ejected == health["ejected"]
                return ejected, health["unreachable_in_a_row"], health["probing"]

            before = [(await call(gateway, session)).headers[ENDPOINT] for _ in range(4)]
            assert await state() == (False, 4, False)
            before += [(await call(gateway, session)).headers[ENDPOINT] for _ in range(9)]
            assert await state() == (True, 5, False)
            async with asyncio.timeout(10):
                while not (await state())[2]:
                    await asyncio.sleep(0.01)
            assert (await call(gateway, session)).headers[ENDPOINT] == "spare"
            assert await state() == (True, 6, False)
            async with raw_server(serve_ok, port=port) as first:
                async with asyncio.timeout(10):
                    while (await call(gateway, session)).headers[ENDPOINT] != "first":
                        await asyncio.sleep(0.01)
                assert await state() == (False, 0, False)
                assert len(first.requests) == 1
    assert before == ["spare"] * 13


async def test_a_sole_endpoint_is_never_left_out() -> None:
    """Who has nowhere else to go gets 503 at once, call after call, and the first answer when it is back."""
    port = free_port()
    urls = {"only": f"http://127.0.0.1:{port}"}
    async with between(urls, {}) as (gateway, session):
        refused = [await call(gateway, session, "only") for _ in range(12)]
        async with raw_server(serve_ok, port=port):
            back = await call(gateway, session, "only")

    assert {(reply.status, reply.json["code"]) for reply in refused} == {(503, "ServiceUnavailable")}
    assert not any(ENDPOINT in reply.headers for reply in refused)
    assert (back.status, back.headers[ENDPOINT]) == (200, "only")


async def test_who_calls_an_ejected_endpoint_directly_still_tries() -> None:
    """An endpoint that a route leaves out is called all the same by those who name it."""
    async with raw_server(serve_ok) as spare:
        urls = {"first": f"http://127.0.0.1:{free_port()}", "spare": spare.url}
        async with between(urls, route("first", fallback=("spare",))) as (gateway, session):
            for _ in range(6):
                await call(gateway, session)
            direct = [await asyncio.wait_for(call(gateway, session, "first"), 2) for _ in range(3)]

    assert [reply.status for reply in direct] == [503] * 3
    assert {reply.headers["Retry-After"] for reply in direct} == {"5"}


async def test_waiters_move_on_when_their_target_is_ejected() -> None:
    """20 callers at once on a dead target of one permit: the fallback answers all of them, promptly."""
    async with raw_server(serve_ok) as spare:
        urls = {"first": f"http://127.0.0.1:{free_port()}", "spare": spare.url}
        async with between(urls, route("first", fallback=("spare",))) as (gateway, session):
            async with asyncio.timeout(5):
                replies = await asyncio.gather(*[call(gateway, session) for _ in range(20)])
            left = [gateway.limiters[name].statistics() for name in urls]

    assert served_by(list(replies)) == {"spare": 20}
    assert [(each.running, each.waiting) for each in left] == [(0, 0), (0, 0)]


async def test_a_flood_fills_its_own_queue_only() -> None:
    """Where a route is refused because its queue is full, another route at the same endpoint is not."""
    routes = {"routes": {name: {"targets": [{"endpoint": "a"}]} for name in ("flood", "calm")}}
    async with (
        raw_server(serve_held) as server,
        between({"a": server.url}, routes, queue={"max_waiting": 3}) as (gateway, session),
    ):
        flood = [asyncio.create_task(call(gateway, session, "flood")) for _ in range(10)]
        await until(lambda: sum(task.done() for task in flood) == 6)
        calm = [asyncio.create_task(call(gateway, session, "calm")) for _ in range(3)]
        await until(lambda: gateway.limiters["a"].waiting == 6)
        for _ in range(7):
            server.gate.release()
        replies = await asyncio.gather(*flood, *calm)

    assert Counter(reply.status for reply in replies[:10]) == {200: 4, 429: 6}
    assert {reply.status for reply in replies[10:]} == {200}


async def test_all_attempts_together_have_the_time_of_one() -> None:
    """Throttled after most of the waiting time, a caller waits for the fallback only for what is left of it."""
    throttled = b"HTTP/1.1 400 Bad Request\r\nx-amzn-ErrorType: ThrottlingException\r\nContent-Length: 16\r\n\r\n"

    async def throttle(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.7)
        await peer.send(throttled + b'{"message":null}')

    async def stall(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with raw_server(throttle) as first, raw_server(stall) as spare:
        urls = {"first": first.url, "spare": spare.url}
        async with between(urls, route("first", fallback=("spare",)), queue={"timeout_seconds": 1}) as (
            gateway,
            session,
        ):
            busy = asyncio.create_task(call(gateway, session, "spare"))
            await until(lambda: len(spare.requests) == 1)
            started = asyncio.get_running_loop().time()
            reply = await call(gateway, session)
            took = asyncio.get_running_loop().time() - started
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)

    assert (reply.status, reply.json["code"]) == (429, "ThrottlingException")
    assert ENDPOINT not in reply.headers
    assert 0.9 < took < 1.5


async def test_asynchronous_calls_leave_an_ejected_target_out() -> None:
    """They take no permit, and so would try it again and again."""
    async with raw_server(serve_ok) as spare:
        urls = {"first": f"http://127.0.0.1:{free_port()}", "spare": spare.url}
        async with between(urls, route("first", fallback=("spare",))) as (gateway, session):
            for _ in range(8):
                async with session.post(f"{gateway.url}/endpoints/r/async-invocations", data=b"{}") as response:
                    assert response.headers[ENDPOINT] == "spare"
            async with session.get(f"{gateway.url}/status") as response:
                health = (await response.json())["endpoints"]["first"]["health"]

    assert (health["ejected"], health["unreachable_in_a_row"]) == (True, 5)


async def test_who_has_come_back_may_be_waited_for_at_once() -> None:
    """The connection of one call is enough: others queue behind it, though its answer takes long."""
    port = free_port()
    urls = {"a": f"http://127.0.0.1:{port}", "b": f"http://127.0.0.1:{free_port()}"}
    async with between(urls, route("a", "b")) as (gateway, session):
        down = [(await call(gateway, session)).status for _ in range(6)]
        async with raw_server(serve_held, port=port) as server:
            calls = [asyncio.create_task(call(gateway, session))]
            while not server.requests:
                if calls[0].done():  # it was dealt to the other, which is still down
                    calls = [asyncio.create_task(call(gateway, session))]
                await asyncio.sleep(0.001)
            calls += [asyncio.create_task(call(gateway, session)) for _ in range(3)]
            await until(lambda: gateway.limiters["a"].waiting == 3)
            for _ in range(4):
                server.gate.release()
            replies = await asyncio.gather(*calls)

    assert down == [503] * 6
    assert served_by(list(replies)) == {"a": 4}
