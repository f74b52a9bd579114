"""One run for one SDK call: retries join the call that waits, runs, or has ended with nobody there."""

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp
import boto3
import pytest
from botocore.config import Config as BotoConfig

from gateway import flights as module
from gateway.app import Gateway
from gateway.errors import QUEUE_FULL, Refusal
from gateway.flights import Flights
from gateway.models import Answer
from tests.doubles import Clock
from tests.raw import OK, Peer, raw_server, serve_held
from tests.stand import REGION, MakeStand, StandSettings, in_front_of
from tests.waiting import until

GOOD = Answer(200, (), b"good")
BAD = Answer(500, (), b"bad")
ID = "amz-sdk-invocation-id"


@dataclass
class Attempt:
    """One attempt, and the call that it makes if it has to."""

    endpoint: str | None = None
    called: bool = False
    joined: bool = False
    flight: Any = None


class Pilot:
    """Makes calls, and says how they end."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.flights = Flights(self.clock)
        self.calls: list[tuple[float | None, asyncio.Future[Answer]]] = []

    def fly(self, key: str = "key") -> tuple[Attempt, asyncio.Task[Answer]]:
        """One more attempt."""
        attempt = Attempt()
        return attempt, asyncio.create_task(self.flights.fly(key, attempt, self._lead))

    async def _lead(self, since: float | None) -> Answer:
        self.calls.append((since, asyncio.get_running_loop().create_future()))
        return await self.calls[-1][1]


async def settle() -> None:
    """Let all that can happen now happen."""
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.fixture
async def pilot() -> Pilot:
    """A pilot with nobody in the air."""
    return Pilot()


@pytest.mark.parametrize("outcome", [GOOD, BAD, Refusal(QUEUE_FULL, "full")], ids=["good", "bad", "refused"])
async def test_attempts_of_one_call_share_it(pilot: Pilot, outcome: Answer | Refusal) -> None:
    """Three attempts at once, one call: all get what becomes of it, and only two have joined."""
    attempts = [pilot.fly() for _ in range(3)]
    await settle()
    assert len(pilot.calls) == 1
    if isinstance(outcome, Refusal):
        pilot.calls[0][1].set_exception(outcome)
    else:
        pilot.calls[0][1].set_result(outcome)
    results = await asyncio.gather(*[task for _, task in attempts], return_exceptions=True)
    if isinstance(outcome, Refusal):
        assert [(each.row, each.message) for each in results if isinstance(each, Refusal)] == [(QUEUE_FULL, "full")] * 3
    else:
        assert results == [outcome] * 3
    assert [attempt.joined for attempt, _ in attempts] == [False, True, True]


async def test_calls_with_other_keys_have_nothing_in_common(pilot: Pilot) -> None:
    """Each is made."""
    pilot.fly("a")
    pilot.fly("b")
    await settle()
    assert len(pilot.calls) == 2
    for _, call in pilot.calls:
        call.set_result(GOOD)
    await settle()


async def test_a_good_answer_that_was_delivered_is_forgotten(pilot: Pilot) -> None:
    """Who asks again after that wants another."""
    attempt, task = pilot.fly()
    await settle()
    pilot.calls[0][1].set_result(GOOD)
    assert await task is GOOD
    pilot.flights.delivered(attempt.flight)
    pilot.fly()
    await settle()
    assert len(pilot.calls) == 2
    pilot.calls[1][1].set_result(GOOD)
    await settle()


async def test_a_good_answer_that_reached_nobody_is_kept(pilot: Pilot) -> None:
    """The caller left while the call ran: the next attempt gets its answer, for a minute, and then it is a new call."""
    attempt, _ = pilot.fly()
    await settle()
    attempt.endpoint, attempt.called = "resnet", True
    follower, waiting = pilot.fly()
    await settle()
    pilot.calls[0][1].set_result(GOOD)
    assert await waiting is GOOD
    assert (follower.endpoint, follower.called, follower.joined) == ("resnet", True, True)
    pilot.clock.now += 59
    assert await pilot.fly()[1] is GOOD
    pilot.clock.now += 2
    pilot.fly()
    await settle()
    assert len(pilot.calls) == 2
    pilot.calls[1][1].set_result(GOOD)
    await settle()


async def test_a_bad_answer_is_not_kept(pilot: Pilot) -> None:
    """An SDK sends a call again because of it."""
    pilot.fly()
    await settle()
    pilot.calls[0][1].set_result(BAD)
    await settle()
    pilot.fly()
    await settle()
    assert len(pilot.calls) == 2
    pilot.calls[1][1].set_result(GOOD)
    await settle()


async def test_who_leaves_while_waiting_keeps_the_place_for_a_retry(pilot: Pilot) -> None:
    """The next attempt makes the call, and is told since when it waits; one that follows already takes over."""
    _, first = pilot.fly()
    await settle()
    pilot.clock.now += 5
    first.cancel()
    await settle()
    _, second = pilot.fly()
    third, following = pilot.fly()
    await settle()
    second.cancel()
    await settle()
    assert [since for since, _ in pilot.calls] == [None, 100.0, 100.0]
    assert third.joined is False
    pilot.calls[2][1].set_result(GOOD)
    assert await following is GOOD


async def test_a_place_is_kept_for_a_minute_and_not_for_ever(pilot: Pilot) -> None:
    """However often somebody comes back to it and leaves."""
    for seconds in (0, 40, 40):
        pilot.clock.now += seconds
        _, task = pilot.fly()
        await settle()
        task.cancel()
        await settle()
    assert [since for since, _ in pilot.calls] == [None, 100.0, 180.0]


async def test_a_call_that_no_model_saw_is_made_by_who_follows(pilot: Pilot) -> None:
    """Its caller had gone, so that it did not go on to another endpoint: the retry does so."""
    pilot.fly()
    await settle()
    _, following = pilot.fly()
    await settle()
    pilot.calls[0][1].cancel()
    await settle()
    assert len(pilot.calls) == 2
    pilot.calls[1][1].set_result(GOOD)
    assert await following is GOOD


async def test_what_is_kept_is_bounded(pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first."""
    monkeypatch.setattr(module, "KEEP_BYTES", 2 * (module.PLACE_BYTES + len("a") + len(GOOD.body)))
    for key in ("a", "b", "c"):
        _, task = pilot.fly(key)
        await settle()
        pilot.calls[-1][1].set_result(GOOD)
        await task
    assert await pilot.fly("b")[1] is GOOD
    pilot.fly("a")
    await settle()
    assert len(pilot.calls) == 4
    pilot.calls[3][1].set_result(GOOD)
    await settle()


# Through the gateway


async def send(gateway: Gateway, *, invocation: str = "one", body: bytes = b"{}", **headers: str) -> bytes:
    """One attempt of an SDK."""
    url = f"{gateway.url}/endpoints/raw/invocations"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers={ID: invocation, **headers}) as response,
    ):
        return await response.read()


def working(gateway: Gateway) -> int:
    """How many callers wait for an answer."""
    now = [statistics() for statistics in gateway.listening.connections.values()]
    return sum(each.open - each.idle for each in now)


async def metric(gateway: Gateway, line: str) -> bool:
    """Whether `/metrics` has this line."""
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/metrics") as response:
        return line in (await response.text()).splitlines()


async def test_an_sdk_that_is_less_patient_than_the_model_runs_it_once(make_stand: MakeStand) -> None:
    """A read timeout of 1 s, three attempts, a model of 2.5 s: one run, and the SDK gets its answer."""
    stand = await make_stand(StandSettings({"slow": {"model": {"seconds": 2.5}}}))
    config = BotoConfig(read_timeout=1, retries={"total_max_attempts": 3})
    client = boto3.client("sagemaker-runtime", REGION, endpoint_url=stand.url, config=config)

    reply = await asyncio.to_thread(client.invoke_endpoint, EndpointName="slow", Body=b"{}")
    body = await asyncio.to_thread(reply["Body"].read)
    client.close()

    joins = (await stand.metrics())["sagemaker_gateway_joins_total", (("endpoint", "slow"),)]
    assert body == b'{"message":"finish"}'
    assert stand.counters("slow").calls == 1
    assert joins == reply["ResponseMetadata"]["RetryAttempts"] >= 1
    assert any(line.get("joined") for line in stand.log("request_finished"))


async def test_a_retry_joins_its_call_though_the_gateway_is_going_away() -> None:
    """Sent to another replica it would run the model twice. What is new here may go there."""
    async with in_front_of(serve_held) as (gateway, server):
        first = asyncio.create_task(send(gateway))
        await until(lambda: len(server.requests) == 1)
        gateway.roster.drain()
        retry = asyncio.create_task(send(gateway))
        new = await send(gateway, invocation="two")
        await until(lambda: working(gateway) == 2 and not gateway.roster.readers)
        server.gate.release()

        assert [await first, await retry] == [b"ok", b"ok"]
        assert b"leaving" in new or b"shutting down" in new, new
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "other",
    [{"invocation": "two"}, {"body": b"[]"}, {"Accept": "text/csv"}, {"invocation": "x" * 129}],
    ids=["id", "body", "headers", "too long"],
)
async def test_what_differs_is_another_call(other: dict[str, Any]) -> None:
    """Only the same id with the same headers and body is a retry."""
    async with in_front_of(serve_held, instances=2) as (gateway, server):
        calls = [asyncio.create_task(send(gateway)), asyncio.create_task(send(gateway, **other))]
        await until(lambda: len(server.requests) == 2)
        server.gate.release()
        server.gate.release()
        assert await asyncio.gather(*calls) == [b"ok", b"ok"]


async def test_a_retry_regains_its_place_in_the_queue() -> None:
    """Its first attempt waited before another caller, and hung up: the retry goes before them."""
    async with in_front_of(serve_held) as (gateway, server):
        limiter = gateway.limiters["raw"]
        running = asyncio.create_task(send(gateway, invocation="running", body=b"0"))
        await until(lambda: len(server.requests) == 1)
        first = asyncio.create_task(send(gateway, invocation="retried", body=b"1"))
        await until(lambda: limiter.waiting == 1)
        other = asyncio.create_task(send(gateway, invocation="other", body=b"2"))
        await until(lambda: limiter.waiting == 2)
        first.cancel()
        await until(lambda: limiter.waiting == 1)
        retry = asyncio.create_task(send(gateway, invocation="retried", body=b"1"))
        await until(lambda: limiter.waiting == 2)
        for _ in range(3):
            server.gate.release()
        await asyncio.gather(running, other, retry)

    assert [request.body for request in server.requests] == [b"0", b"1", b"2"]


async def test_it_can_be_turned_off() -> None:
    """Then every attempt is a call."""

    async def serve(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.gone()

    listen = {"port": 0, "join_retries": False}
    async with in_front_of(serve, config={"listen": listen}, instances=2) as (gateway, server):
        await asyncio.gather(*[send(gateway) for _ in range(2)])
        assert await metric(gateway, 'sagemaker_gateway_joins_total{endpoint="raw"} 0.0')

    assert len(server.requests) == 2


async def test_a_retry_goes_on_where_its_first_attempt_could_not(make_stand: MakeStand) -> None:
    """The endpoint throttles a call whose caller has hung up: its retry, which had joined, goes to the fallback."""
    gate = asyncio.Semaphore(0)

    async def throttle(peer: Peer) -> None:
        while True:
            await peer.request()
            await gate.acquire()
            text = b"HTTP/1.1 400 Bad Request\r\nx-amzn-ErrorType: ThrottlingException\r\nContent-Length: 2\r\n\r\n{}"
            await peer.send(text)

    async with raw_server(throttle) as throttling:
        stand = await make_stand(
            StandSettings(
                {"spare": {"model": {"seconds": 0}}},
                {"first": {"endpoint_url": throttling.url}},
                {"routes": {"r": {"targets": [{"endpoint": "first"}], "fallback": ["spare"]}}},
            )
        )
        first = stand.gateway.limiters["first"]
        gone = asyncio.create_task(stand.invoke("r", amz_sdk_invocation_id="one"))
        await until(lambda: len(throttling.requests) == 1)
        gone.cancel()
        await until(lambda: first.statistics().orphaned == 1)
        retry = asyncio.create_task(stand.invoke("r", amz_sdk_invocation_id="one"))
        await asyncio.sleep(0.05)  # time to join; without it the retry makes its own call, to the same end
        gate.release()
        gate.release()
        reply = await retry

    assert (reply.status, reply.headers["X-Gateway-Endpoint"]) == (200, "spare")
