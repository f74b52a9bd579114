"""An endpoint at work: queues inside instances, the time limit, callers that leave, throttling."""

import asyncio
from typing import Any

import aiohttp
import pytest

from gateway.emulator import Emulator

from .support import http, invoke, sdk, settings, unsigned, until

SLOW = {"model": {"seconds": 0.3}}


async def post(session: aiohttp.ClientSession, emulator: Emulator, **headers: str) -> tuple[int, Any]:
    """One unsigned call of the endpoint `seed`: its status, and its answer as JSON."""
    named = {f"X-Amzn-SageMaker-{key.replace('_', '-')}": value for key, value in headers.items()}
    async with session.post(f"{emulator.url}/endpoints/seed/invocations", data=b"{}", headers=named) as reply:
        return reply.status, await reply.json(content_type=None)


async def test_the_seed_experiment_in_miniature() -> None:
    """Four overlapping calls on two instances take the time of two, and two of them wait inside an instance."""
    async with Emulator(settings({"seed": {"instances": 2, **SLOW}})) as emulator, sdk(emulator) as client:
        answers = await asyncio.gather(*(invoke(client, "seed") for _ in range(4)))
        assert answers == [b'{"message":"finish"}'] * 4
        seen = emulator.counters("seed")
    assert (seen.calls, seen.answered, seen.peak_calls, seen.peak_work, seen.peak_running) == (4, 4, 4, 4, 2)
    assert (seen.open, seen.work, seen.running) == (0, 0, 0)
    assert seen.busy_instance_seconds >= 1.2
    assert seen.span_seconds >= 0.6
    assert [(each.calls, each.peak_work) for each in seen.instances] == [(2, 2), (2, 2)]


async def test_an_instance_runs_as_many_calls_as_it_may_and_in_order() -> None:
    """With room for three, five calls run three and then two; who came first is served first."""
    order: list[int] = []
    endpoint = {"concurrency_per_instance": 3, **SLOW}
    async with Emulator(unsigned(seed=endpoint)) as emulator, http() as session:

        async def call(number: int) -> None:
            await post(session, emulator)
            order.append(number)

        calls = []
        for number in range(5):
            calls.append(asyncio.create_task(call(number)))
            await until(lambda: emulator.counters("seed").calls == len(calls))
        await asyncio.gather(*calls)
        assert emulator.counters("seed").peak_running == 3
    assert set(order[:3]) == {0, 1, 2}


async def test_the_time_limit_answers_the_caller_and_the_instance_works_on() -> None:
    """Past the limit: 424 ModelError 0 at once, the instance stays busy, and its time is counted as wasted."""
    endpoint = {"timeout_seconds": 0.1, "model": {"seconds": 0.4}}
    async with Emulator(settings({"seed": endpoint})) as emulator, sdk(emulator) as client:
        with pytest.raises(client.exceptions.ModelError) as caught:
            await invoke(client, "seed")
        seen = emulator.counters("seed")
        assert (seen.timed_out, seen.open, seen.work, seen.running) == (1, 0, 1, 1)
        await until(lambda: emulator.counters("seed").work == 0)
        seen = emulator.counters("seed")
    reply = caught.value.response
    assert reply["OriginalStatusCode"] == 0
    assert reply["Error"]["Message"].startswith(
        'Received server error (0) from primary with message "Your invocation timed out while waiting for a response '
        "from container primary. Review the latency metrics for each container in Amazon CloudWatch, resolve the "
        'issue, and try again.". See https://ap-northeast-1.console.aws.amazon.com/cloudwatch/home?'
    )
    assert 0.4 <= seen.wasted_instance_seconds == seen.busy_instance_seconds
    assert (seen.answered, seen.model_errors, seen.hung_up) == (0, 0, 0)


async def test_a_call_that_timed_out_in_the_queue_is_processed_all_the_same() -> None:
    """A queued call whose caller was sent away still runs later: the snowball of overloaded endpoints."""
    endpoint = {"timeout_seconds": 0.5, "model": {"seconds": 0.3}}
    async with Emulator(unsigned(seed=endpoint)) as emulator, http() as session:
        statuses = [status for status, _ in await asyncio.gather(*(post(session, emulator) for _ in range(3)))]
        assert sorted(statuses) == [200, 424, 424]
        await until(lambda: emulator.counters("seed").work == 0)
        seen = emulator.counters("seed")
    assert (seen.calls, seen.answered, seen.timed_out, seen.peak_running) == (3, 1, 2, 1)
    assert seen.wasted_instance_seconds >= 0.6
    assert seen.busy_instance_seconds >= 0.9


async def test_a_hang_up_stops_neither_the_running_nor_the_waiting_call() -> None:
    """Callers that leave are noticed at once, and their work goes on: a permit freed then would be one too many."""
    async with Emulator(unsigned(seed=SLOW)) as emulator, http() as session:
        callers = [asyncio.create_task(post(session, emulator)) for _ in range(2)]
        await until(lambda: emulator.counters("seed").work == 2)
        for caller in callers:
            caller.cancel()
        await until(lambda: emulator.counters("seed").open == 0)
        seen = emulator.counters("seed")
        assert (seen.hung_up, seen.work, seen.running) == (2, 2, 1)
        assert (await post(session, emulator))[0] == 200
        seen = emulator.counters("seed")
    assert (seen.peak_calls, seen.peak_work, seen.peak_running, seen.work) == (2, 3, 1, 0)
    assert 0.6 <= seen.wasted_instance_seconds < seen.busy_instance_seconds


async def test_too_many_open_calls_are_throttled() -> None:
    """Above the limit a call is 400 ThrottlingException with a null message, and never reaches an instance."""
    endpoint = {"throttle_above": 1, **SLOW}
    async with Emulator(settings({"seed": endpoint})) as emulator, sdk(emulator) as client:
        first = asyncio.create_task(invoke(client, "seed"))
        await until(lambda: emulator.counters("seed").open == 1)
        with pytest.raises(client.exceptions.ClientError) as caught:
            await invoke(client, "seed")
        await first
        assert await invoke(client, "seed")
        seen = emulator.counters("seed")
    assert caught.value.response["Error"] == {"Code": "ThrottlingException", "Message": None}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert (seen.calls, seen.throttled, seen.peak_work) == (2, 1, 1)


async def test_a_reset_starts_the_counting_anew() -> None:
    """After a reset all totals are zero, in all endpoints."""
    async with Emulator(unsigned(seed={"model": {"seconds": 0}})) as emulator, http() as session:
        await post(session, emulator)
        emulator.reset()
        seen = emulator.counters("seed")
    assert (seen.calls, seen.answered, seen.peak_work, seen.busy_instance_seconds, seen.span_seconds) == (0, 0, 0, 0, 0)
