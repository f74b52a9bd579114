"""The data path, end to end against the emulator: what callers get, what fleets see, what is recorded."""

import asyncio
import hashlib
import io
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway import reply
from gateway.app import open_gateway
from gateway.limiter import Permit
from gateway.listener.doorman import Doorman
from gateway.log import make_logger
from gateway.models import Answer, Call, Record
from gateway.pace import Pace
from gateway.proxy import Proxy
from gateway.request import Request, Sent
from gateway.upstream import Upstream
from gateway.upstream.connection import Connection
from tests.raw import Peer
from tests.stand import MakeStand, Stand, StandSettings, config_in_front_of, in_front_of
from tests.waiting import until

ECHO = {"model": {"seconds": 0, "echo": True}}
SLOW = {"model": {"seconds": 0.2}}


async def hang_up_while_running(stand: Stand, endpoint: str) -> None:
    """Call, and leave once the fleet works on it."""
    work = stand.counters(endpoint).calls
    caller = asyncio.create_task(stand.invoke(endpoint))
    await until(lambda: stand.counters(endpoint).calls > work)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_003, 26_214_400])
async def test_bodies_are_sacred(make_stand: MakeStand, size: int) -> None:
    """Any bytes from none to the limit come back with the same digest, and the content type with them."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    body = os.urandom(size)

    reply = await stand.invoke("echo", body, Content_Type="application/x-npy")

    assert reply.status == 200
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(body).digest()
    assert reply.headers["Content-Type"] == "application/x-npy"


async def test_a_chunked_body_arrives_whole(make_stand: MakeStand) -> None:
    """A caller may send a body of unknown length."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    async def parts() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%d," % number

    async with stand.session.post(stand.url + "/endpoints/echo/invocations", data=parts()) as response:
        body = await response.read()

    assert body == b"".join(b"%d," % number for number in range(100))


async def test_one_byte_over_the_limit_is_refused(make_stand: MakeStand) -> None:
    """The limit is the endpoint's; declared or chunked, no model sees a longer body, and the next call works."""
    stand = await make_stand(StandSettings({"echo": ECHO}, {"echo": {"max_body_bytes": 10}}))

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x"

    declared = await stand.invoke("echo", b"x" * 11)
    async with stand.session.post(stand.url + "/endpoints/echo/invocations", data=parts()) as response:
        chunked = response.status
    fitting = await stand.invoke("echo", b"x" * 10)

    assert (declared.status, chunked, fitting.status) == (413, 413, 200)
    assert declared.headers["x-amzn-ErrorType"] == "RequestEntityTooLargeException"
    assert stand.counters("echo").calls == 1


async def test_routes_and_endpoints_are_called_by_name_and_path(make_stand: MakeStand) -> None:
    """A route has a name and perhaps a path; an endpoint has its name; the query is nobody's business."""
    routes = {"classify": {"path": "/predict", "targets": [{"endpoint": "echo"}]}}
    stand = await make_stand(StandSettings({"echo": ECHO}, config={"routes": routes}))
    paths = ["/predict", "/predict?x=1", "/endpoints/classify/invocations", "/endpoints/echo/invocations"]

    replies = [await stand.request("POST", path, b"abc") for path in paths]

    assert [(reply.status, reply.body) for reply in replies] == [(200, b"abc")] * 4


async def test_sagemakers_name_stays_inside(make_stand: MakeStand) -> None:
    """Callers use the key of the config; SageMaker is asked for its own name."""
    stand = await make_stand(StandSettings({"echo-prod": ECHO}, {"echo": {"endpoint_name": "echo-prod"}}))

    reply = await stand.invoke("echo", b"abc")

    assert (reply.status, stand.counters("echo-prod").calls) == (200, 1)


async def test_other_methods_are_refused_with_allow(make_stand: MakeStand) -> None:
    """405 says which method to use; a path that is nobody's is 404 whatever the method."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    wrong = await stand.request("GET", "/endpoints/echo/invocations", b"")
    unknown = await stand.request("GET", "/endpoints/nope/invocations", b"")
    ops = await stand.request("POST", "/metrics", b"")

    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
    assert unknown.status == 404
    assert (ops.status, ops.headers["Allow"]) == (405, "GET, HEAD")


async def test_sagemakers_headers_make_the_round_trip(make_stand: MakeStand) -> None:
    """Custom attributes go up and come back, and so does the variant."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    reply = await stand.invoke("echo", X_Amzn_SageMaker_Custom_Attributes="trace=1")

    assert reply.status == 200
    assert reply.headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1"
    assert reply.headers["x-Amzn-Invoked-Production-Variant"] == "AllTraffic"
    assert reply.headers["Server"] == "sagemaker-gateway"


async def test_nothing_else_of_a_caller_goes_up_or_of_sagemaker_comes_back() -> None:
    """Neither keys nor cookies nor addresses: what is sent is the list, the signature, and who the gateway is."""

    async def serve(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nX-Powered-By: x\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    caller = {"Cookie": "a=b", "Authorization": "Bearer secret", "X-Forwarded-For": "::1", "Accept": "text/csv"}
    async with in_front_of(serve) as (gateway, server), aiohttp.ClientSession() as session:
        url = f"{gateway.url}/endpoints/raw/invocations"
        async with session.post(url, data=b"{}", headers=caller) as response:
            returned = {name.lower() for name in response.headers}
    sent = {line.split(b":")[0].decode().lower() for line in server.requests[0].head.split(b"\r\n")[1:-2]}

    assert sent == {"user-agent", "accept", "content-type", "host", "x-amz-date", "authorization", "content-length"}
    assert b"secret" not in server.requests[0].head
    assert returned == {"server", "server-timing", "x-gateway-endpoint", "x-request-id", "content-length", "date"}


async def test_only_a_given_up_call_cools_its_permit() -> None:
    """A connection that broke gives its permit back at once, however long the cooldown."""

    async def serve(peer: Peer) -> None:
        await peer.request()

    async with in_front_of(serve, cooldown_seconds=60) as (gateway, _), aiohttp.ClientSession() as session:
        async with session.post(f"{gateway.url}/endpoints/raw/invocations", data=b"{}") as response:
            status = response.status
        now = gateway.limiters["raw"].statistics()

    assert (status, now.running, now.cooling) == (424, 0, 0)


async def test_an_orphan_that_is_given_up_leaves_a_trace(make_stand: MakeStand) -> None:
    """The caller has gone, and the call times out all the same: log and metric say so."""
    stand = await make_stand(StandSettings({"slow": {"model": {"seconds": 2}}}, {"slow": {"timeout_seconds": 0.3}}))

    await hang_up_while_running(stand, "slow")
    await until(lambda: len(stand.log("request_finished")) == 1)
    metrics = await stand.metrics()

    (line,) = stand.log("request_finished")
    assert (line["status"], line["reason"]) == (499, "timeout")
    assert metrics["sagemaker_gateway_refusals_total", (("endpoint", "slow"), ("reason", "timeout"))] == 1


async def test_what_fails_before_the_call_is_sent_is_not_a_424() -> None:
    """A host name that no resolver takes: the model has not seen the call, and the caller is told so."""
    config = config_in_front_of(f"http://{'a' * 70}.example:9")
    async with (
        open_gateway(config, make_logger(stream=io.StringIO())) as gateway,
        aiohttp.ClientSession() as session,
        session.post(f"{gateway.url}/endpoints/raw/invocations", data=b"{}") as response,
    ):
        status = response.status

    assert status == 503


async def test_every_answer_tells_times_and_ids(make_stand: MakeStand) -> None:
    """Served or refused: Server-Timing, X-Request-Id (the caller's, if well formed) and x-amzn-RequestId."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    served = await stand.invoke("echo", X_Request_Id="my-id.1")
    refused = await stand.invoke("nope", X_Request_Id="bad id\tof mine")

    assert served.headers["X-Request-Id"] == "my-id.1"
    assert served.headers["Server-Timing"].startswith("queue;dur=0.0, upstream;dur=")
    assert len(served.headers["x-amzn-RequestId"]) == 36
    assert refused.headers["X-Request-Id"] == refused.headers["x-amzn-RequestId"]
    assert refused.headers["Proxy-Status"].startswith("sagemaker-gateway; error=")
    assert "Proxy-Status" not in served.headers


async def test_sagemakers_own_errors_pass_as_they_came(make_stand: MakeStand) -> None:
    """Status, code, body and members are SageMaker's; the metric names the code from its closed list."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    reply = await stand.invoke("echo", X_Amzn_SageMaker_Custom_Attributes="status=500")
    metrics = await stand.metrics()

    assert reply.status == 424
    assert reply.headers["x-amzn-ErrorType"].startswith("ModelError")
    assert reply.json["OriginalStatusCode"] == 500
    assert "Proxy-Status" not in reply.headers
    labels = (("endpoint", "echo"), ("error", "ModelError"))
    assert metrics["sagemaker_gateway_upstream_errors_total", labels] == 1


async def test_waiters_are_served_in_order(make_stand: MakeStand) -> None:
    """First come, first served: calls are done in the order in which they came to the gateway."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    done: list[int] = []

    async def call(number: int) -> None:
        await stand.invoke("echo", X_Amzn_SageMaker_Custom_Attributes=f"seconds={0 if number else 1}")
        done.append(number)

    tasks = []
    for number in range(8):
        tasks.append(asyncio.create_task(call(number)))
        while sum_of(stand, "echo") != number + 1:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    assert done == list(range(8))


async def test_the_next_call_leaves_before_the_answer_does(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the last byte of an answer its permit goes to the first waiter, whose call is sent in that very moment.

    It does not go out on the connection of that answer, which may be closed with it: the first opens another.
    """
    stand = await make_stand(StandSettings({"echo": ECHO}))
    told: list[str] = []
    begin, release, send_whole = Connection.begin, Permit.release, reply.send_whole

    def note_call(connection: Connection, head: bytes, call: Call, **options: Any) -> asyncio.Future[None]:
        told.append(f"call {call.body.decode()}")
        return begin(connection, head, call, **options)

    def note_release(permit: Permit) -> None:
        told.append("last byte")
        release(permit)
        told.append("handed over")

    async def note_answer(request: Request, answer: Answer, *arguments: Any, **options: Any) -> Sent:
        told.append(f"answer {answer.body.decode()}")
        return await send_whole(request, answer, *arguments, **options)

    monkeypatch.setattr(Connection, "begin", note_call)
    monkeypatch.setattr(Permit, "release", note_release)
    monkeypatch.setattr(reply, "send_whole", note_answer)
    tasks = []
    for number in range(3):
        body = b"%d" % number
        tasks.append(asyncio.create_task(stand.invoke("echo", body, X_Amzn_SageMaker_Custom_Attributes="seconds=0.1")))
        while sum_of(stand, "echo") != number + 1:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    assert told[:5] == ["call 0", "last byte", "handed over", "answer 0", "call 1"]
    assert told[5:] == ["last byte", "call 2", "handed over", "answer 1", "last byte", "handed over", "answer 2"]


async def test_what_is_done_for_the_next_is_not_counted_as_its_time(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call is over with the last byte of its answer, for the metrics, the log and whoever asks how long to wait."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    late = 0.0
    observed: list[float] = []
    release = Permit.release

    def dally(permit: Permit) -> None:
        nonlocal late
        late += 100
        release(permit)

    def note(_: Pace, seconds: float) -> None:
        observed.append(seconds)

    monkeypatch.setattr(Permit, "release", dally)
    monkeypatch.setattr(Pace, "observe", note)
    monkeypatch.setattr("gateway.dispatch.perf_counter", lambda: time.perf_counter() + late)
    await stand.invoke("echo")
    await until(lambda: len(stand.log("request_finished")) == 1)

    assert late == 100
    assert 0 < observed[0] < 100
    assert 0 < stand.log("request_finished")[0]["upstream_ms"] < 100_000


async def test_who_hangs_up_with_the_last_byte_leaves_no_orphan(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The permit is given back by then, though nobody has gone on with the answer: the caller is recorded as gone."""
    requests: list[Request] = []
    problems: list[dict[str, Any]] = []
    handle, release = Proxy.handle, Permit.release

    async def note(proxy: Proxy, request: Request) -> web.StreamResponse | Sent:
        requests.append(request)
        return await handle(proxy, request)

    def hang_up(permit: Permit) -> None:
        release(permit)
        transport = requests[0].transport
        if transport is not None:
            transport.abort()

    asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
    monkeypatch.setattr(Proxy, "handle", note)
    monkeypatch.setattr(Permit, "release", hang_up)
    stand = await make_stand(StandSettings({"echo": ECHO}))
    with pytest.raises(aiohttp.ClientError):
        await stand.invoke("echo")
    await until(lambda: len(stand.log("request_finished")) == 1)
    served = await stand.invoke("echo")

    assert (served.status, [line["status"] for line in stand.log("request_finished")]) == (200, [499, 200])
    assert stand.log("request_finished")[0]["endpoint"] == "echo"
    now = stand.gateway.limiters["echo"].statistics()
    assert (now.running, now.orphaned, problems) == (0, 0, [])


async def test_a_call_for_which_an_instance_idles_is_urgent(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had to wait for a permit is sent at once; who finds one free may go out together with others."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    urgent: list[bool] = []
    send = Upstream.send

    async def note(upstream: Upstream, call: Call, *arguments: Any, **options: Any) -> Answer:
        urgent.append(call.urgent)
        return await send(upstream, call, *arguments, **options)

    monkeypatch.setattr(Upstream, "send", note)
    tasks = []
    for number in range(3):
        tasks.append(asyncio.create_task(stand.invoke("echo", X_Amzn_SageMaker_Custom_Attributes="seconds=0.1")))
        while sum_of(stand, "echo") != number + 1:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    assert urgent == [False, True, True]


def sum_of(stand: Stand, endpoint: str) -> int:
    """Calls that run or wait at the gateway."""
    now = stand.gateway.limiters[endpoint].statistics()
    return now.running + now.waiting


async def test_a_full_queue_refuses_at_once(make_stand: MakeStand) -> None:
    """The queue is bounded in count: one more gets 429 ThrottlingException and Retry-After, and is never sent."""
    stand = await make_stand(StandSettings({"slow": SLOW}, {"slow": {"queue": {"max_waiting": 1}}}))
    first = [asyncio.create_task(stand.invoke("slow")) for _ in range(2)]
    await until(lambda: sum_of(stand, "slow") == 2)

    refused = await stand.invoke("slow")
    served = await asyncio.gather(*first)

    assert (refused.status, refused.headers["x-amzn-ErrorType"]) == (429, "ThrottlingException")
    assert int(refused.headers["Retry-After"]) >= 1
    assert [reply.status for reply in served] == [200, 200]
    assert stand.counters("slow").calls == 2


async def test_the_door_knows_whether_somebody_waits(make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd is let in slowly where it would wait inside as well, and only there: while calls merely run it is not."""
    told: list[Callable[[], bool]] = []
    begin = Doorman.__init__

    def note(doorman: Doorman, loop: asyncio.AbstractEventLoop, is_full: Callable[[], bool]) -> None:
        told.append(is_full)
        begin(doorman, loop, is_full)

    monkeypatch.setattr(Doorman, "__init__", note)
    stand = await make_stand(StandSettings({"slow": {"model": {"seconds": 1.0}}}))
    (is_full,) = told
    running = asyncio.create_task(stand.invoke("slow"))
    await until(lambda: sum_of(stand, "slow") == 1)
    while_it_runs = is_full()
    waiting = asyncio.create_task(stand.invoke("slow"))
    await until(lambda: sum_of(stand, "slow") == 2)
    while_one_waits = is_full()
    await asyncio.gather(running, waiting)

    assert (while_it_runs, while_one_waits, is_full()) == (False, True, False)


async def test_a_waiter_is_dropped_when_its_time_is_up(make_stand: MakeStand) -> None:
    """429 comes at the end of the waiting time, while the running call still runs, not at its release."""
    fleets = {"slow": {"model": {"seconds": 2}}}
    stand = await make_stand(StandSettings(fleets, {"slow": {"queue": {"timeout_seconds": 0.05}}}))
    running = asyncio.create_task(stand.invoke("slow"))
    await until(lambda: stand.counters("slow").calls == 1)

    refused = await stand.invoke("slow")

    assert refused.status == 429
    assert not running.done()
    assert stand.gateway.limiters["slow"].statistics().waiting == 0
    running.cancel()


async def test_a_hang_up_while_waiting_leaves_nothing(make_stand: MakeStand) -> None:
    """A waiter that hangs up leaves the queue at once, is never sent, and is recorded as 499."""
    stand = await make_stand(StandSettings({"slow": SLOW}))
    running = asyncio.create_task(stand.invoke("slow"))
    await until(lambda: sum_of(stand, "slow") == 1)
    waiting = asyncio.create_task(stand.invoke("slow"))
    await until(lambda: sum_of(stand, "slow") == 2)

    waiting.cancel()
    await until(lambda: sum_of(stand, "slow") == 1)
    await running
    await until(lambda: len(stand.log("request_finished")) == 2)

    assert stand.counters("slow").calls == 1
    assert sorted(line["status"] for line in stand.log("request_finished")) == [200, 499]


async def test_hang_ups_never_overload_the_fleet(make_stand: MakeStand) -> None:
    """8 callers that hang up on capacity 1 while their calls run: the fleet never has more than one to do."""
    stand = await make_stand(StandSettings({"slow": SLOW}))

    for _ in range(8):
        await hang_up_while_running(stand, "slow")
    await until(lambda: stand.gateway.limiters["slow"].statistics().orphaned == 1)
    now = stand.gateway.limiters["slow"].statistics()
    await until(lambda: len(stand.log("request_finished")) == 8)
    metrics = await stand.metrics()

    assert (now.running, now.orphaned) == (1, 1)
    assert stand.counters("slow").peak_work == 1
    assert stand.counters("slow").calls == 8
    assert [line["orphaned"] for line in stand.log("request_finished")] == [True] * 8
    codes = (("code", "499"), ("endpoint", "slow"), ("operation", "InvokeEndpoint"))
    assert metrics["sagemaker_gateway_requests_total", codes] == 8
    assert metrics["sagemaker_gateway_orphaned", (("endpoint", "slow"),)] == 0


async def test_a_given_up_call_cools_its_permit(make_stand: MakeStand) -> None:
    """After the gateway's own time limit the permit stays taken for the cooldown; the next call waits for it."""
    settings = {"timeout_seconds": 0.1, "cooldown_seconds": 0.5}
    stand = await make_stand(StandSettings({"slow": {"model": {"seconds": 0.3}}}, {"slow": settings}))

    given_up = await stand.invoke("slow")
    cooling = stand.gateway.limiters["slow"].statistics()
    following = await stand.invoke("slow", X_Amzn_SageMaker_Custom_Attributes="seconds=0")

    assert (given_up.status, given_up.json["OriginalStatusCode"]) == (424, 0)
    assert "error=http_response_timeout" in given_up.headers["Proxy-Status"]
    assert (cooling.running, cooling.cooling) == (0, 1)
    assert following.status == 200
    assert stand.counters("slow").peak_work == 1


async def test_sagemakers_time_limit_cools_the_permit_too(make_stand: MakeStand) -> None:
    """SageMaker's 424 with OriginalStatusCode 0 passes as it came, and the instance is left to finish."""
    fleets = {"slow": {"model": {"seconds": 0.3}, "timeout_seconds": 0.1}}
    stand = await make_stand(StandSettings(fleets, {"slow": {"cooldown_seconds": 0.5}}))

    given_up = await stand.invoke("slow")
    cooling = stand.gateway.limiters["slow"].statistics().cooling
    await stand.invoke("slow", X_Amzn_SageMaker_Custom_Attributes="seconds=0")

    assert (given_up.status, given_up.json["OriginalStatusCode"]) == (424, 0)
    assert "Proxy-Status" not in given_up.headers
    assert cooling == 1
    assert stand.counters("slow").peak_work == 1


async def test_without_credentials_nothing_is_sent(make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller learns that the gateway cannot sign, and no more; /readyz says 503; the permit is back."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    stand = await make_stand(StandSettings({"echo": ECHO}))

    reply = await stand.invoke("echo")
    ready = await stand.request("GET", "/readyz", b"")

    assert (reply.status, reply.headers["x-amzn-ErrorType"]) == (503, "ServiceUnavailable")
    assert (ready.status, ready.body) == (503, b"not ready: credentials\n")
    assert stand.counters("echo").calls == 0
    assert sum_of(stand, "echo") == 0


async def test_an_unreachable_sagemaker_is_503(make_stand: MakeStand, unused_tcp_port: int) -> None:
    """No connection, no model run: 503, retry freely; the permit is back for the next."""
    config = {"aws": {"region": "ap-northeast-1", "endpoint_url": f"http://127.0.0.1:{unused_tcp_port}"}}
    stand = await make_stand(StandSettings({"echo": ECHO}, config=config))

    replies = [await stand.invoke("echo") for _ in range(3)]

    assert [reply.status for reply in replies] == [503] * 3
    assert {reply.headers["x-amzn-ErrorType"] for reply in replies} == {"ServiceUnavailable"}
    assert sum_of(stand, "echo") == 0


async def test_a_slow_body_is_refused(make_stand: MakeStand) -> None:
    """A caller that does not finish its body in time gets 408, and holds no permit meanwhile."""
    stand = await make_stand(
        StandSettings({"echo": ECHO}, config={"listen": {"port": 0, "body_timeout_seconds": 0.05}})
    )
    host, port = stand.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    writer.write(b"POST /endpoints/echo/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert head.startswith(b"HTTP/1.1 408 ")
    assert stand.counters("echo").calls == 0


async def test_expect_continue_is_answered_only_when_the_body_is_wanted(make_stand: MakeStand) -> None:
    """The final 413 comes in place of the 100 for a body that will be refused."""
    stand = await make_stand(StandSettings({"echo": ECHO}, {"echo": {"max_body_bytes": 10}}))
    host, port = stand.url.removeprefix("http://").split(":")
    heads = []

    for length in (11, 3):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /endpoints/echo/invocations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % length
        )
        heads.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        if length == 3:
            writer.write(b"abc")
            heads.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.close()
        await writer.wait_closed()

    assert [head.split()[1] for head in heads] == [b"413", b"100", b"200"]


async def test_random_paths_add_no_series(make_stand: MakeStand) -> None:
    """500 random paths, methods and hosts: the number of series does not move."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    await stand.invoke("echo")
    before = set(await stand.metrics())

    for number in range(500):
        path = f"/{os.urandom(8).hex()}/{number}" if number % 2 else f"/endpoints/{os.urandom(4).hex()}/invocations"
        method = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND")[number % 7]
        reply = await stand.request(method, path, b"", Host=f"h{number}.example")
        assert reply.status == 404
    after = await stand.metrics()

    assert set(after) == before
    labels = (("code", "404"), ("endpoint", "_unknown"), ("operation", "_unknown"))
    assert after["sagemaker_gateway_requests_total", labels] == 500


async def test_odd_paths_reach_no_endpoint(make_stand: MakeStand) -> None:
    """Nothing is decoded, joined or normalised: only the exact path of the config leads anywhere."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    host, port = stand.url.removeprefix("http://").split(":")
    paths = [
        b"/endpoints/../endpoints/echo/invocations",
        b"/endpoints/%2e%2e/invocations",
        b"/endpoints/ech%6f/invocations",
        b"/endpoints/a%2Fb/invocations",
        b"/endpoints/a%0d%0ab/invocations",
        b"//endpoints/echo/invocations",
        b"/endpoints/echo/invocations/",
        b"/endpoints/echo/invocations%00",
        b"/endpoints/" + b"a" * 7000 + b"/invocations",
        b"/endpoints/%ff/invocations",
        b"/endpoints/echo/invocations;x",
    ]
    statuses = []

    for path in paths:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        statuses.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
        writer.close()
        await writer.wait_closed()

    assert statuses == [b"404"] * len(paths)
    assert stand.counters("echo").calls == 0


async def test_hostile_headers_are_refused_before_the_queue(make_stand: MakeStand) -> None:
    """Non-ASCII or over-long SageMaker headers get a 400 that names them; nothing is sent."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    long = await stand.invoke("echo", X_Amzn_SageMaker_Custom_Attributes="x" * 1025)
    odd = await stand.invoke("echo", X_Amzn_SageMaker_Target_Variant="ä")
    encoded = await stand.invoke("echo", Content_Encoding="gzip")

    assert (long.status, odd.status, encoded.status) == (400, 400, 415)
    assert "X-Amzn-SageMaker-Custom-Attributes" in long.json["message"]
    assert "X-Amzn-SageMaker-Target-Variant" in odd.json["message"]
    assert stand.counters("echo").calls == 0


async def test_a_lost_log_costs_no_answer(make_stand: MakeStand) -> None:
    """The model has run: the caller gets its answer even when the log cannot be written, and the drain ends."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    stand.logged.close()

    reply = await stand.invoke("echo", b"abc")
    await stand.gateway.drain()

    assert (reply.status, reply.body) == (200, b"abc")


async def test_a_failing_hook_costs_no_answer(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in who looks on from the side is told in the log, not to the caller, and the other hooks are told all."""

    def fail(_records: Sequence[Record]) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gateway.app.access_log", lambda _log: fail)
    stand = await make_stand(StandSettings({"echo": ECHO}))

    reply = await stand.invoke("echo", b"abc")
    metrics = await stand.metrics()

    assert (reply.status, reply.body) == (200, b"abc")
    assert "a hook failed" in caplog.text
    labels = (("code", "200"), ("endpoint", "echo"), ("operation", "InvokeEndpoint"))
    assert metrics["sagemaker_gateway_requests_total", labels] == 1


async def test_an_answer_that_cannot_be_written_is_recorded_once(
    make_stand: MakeStand, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug there cuts the caller off and is told; it leaves nobody to be waited for at the end."""

    def fail(*_: object, **__: object) -> bytes:
        raise ValueError("a line break")

    stand = await make_stand(StandSettings({"echo": ECHO}))
    with monkeypatch.context() as broken:
        broken.setattr("gateway.reply._head", fail)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await stand.invoke("echo", b"abc")
    await asyncio.wait_for(stand.gateway.roster.wait_idle(), 10)

    assert [line["status"] for line in stand.log("request_finished")] == [500]
    assert "an answer could not be written" in caplog.text


async def test_the_sums_add_up(make_stand: MakeStand) -> None:
    """After a mixed run every request is counted once, and served, refused and failed make up the total."""
    stand = await make_stand(StandSettings({"echo": ECHO, "slow": SLOW}, {"slow": {"queue": {"max_waiting": 1}}}))

    for number in range(10):
        await stand.invoke("echo", X_Amzn_SageMaker_Custom_Attributes="status=500" if number % 3 == 0 else "")
    replies = await asyncio.gather(*[stand.invoke("slow") for _ in range(5)])
    await stand.invoke("nope")
    await hang_up_while_running(stand, "slow")
    await until(lambda: len(stand.log("request_finished")) == 17)
    metrics = await stand.metrics()

    def total(name: str, **labels: str) -> float:
        return sum(
            value
            for (sample, pairs), value in metrics.items()
            if sample == f"sagemaker_gateway_{name}" and labels.items() <= dict(pairs).items()
        )

    assert sorted(reply.status for reply in replies) == [200, 200, 429, 429, 429]
    assert total("requests_total") == 17
    assert total("requests_total", endpoint="echo", code="200") == 6
    assert total("requests_total", endpoint="echo", code="424") == 4
    assert total("upstream_errors_total", error="ModelError") == 4
    assert total("refusals_total") == 4
    assert total("refusals_total", reason="queue_full") == 3
    assert total("refusals_total", endpoint="_unknown", reason="unknown_route") == 1
    assert total("requests_total", code="499") == 1
    assert total("request_duration_seconds_count") == 17
    assert total("upstream_duration_seconds_count") == 13
    assert total("queue_wait_seconds_count") == 13
    assert stand.counters("echo").calls + stand.counters("slow").calls == 13


async def test_the_access_log_tells_where_the_time_went(make_stand: MakeStand) -> None:
    """One JSON line per request: ids, endpoint, status, queue and upstream times; no body and no secret."""
    stand = await make_stand(StandSettings({"echo": {"model": {"seconds": 0.05, "echo": True}}}))

    reply = await stand.invoke("echo", b"confidential", X_Request_Id="abc")
    (line,) = stand.log("request_finished")

    assert line["request_id"] == "abc"
    assert line["aws_request_id"] == reply.headers["x-amzn-RequestId"]
    assert (line["endpoint"], line["operation"], line["status"]) == ("echo", "InvokeEndpoint", 200)
    assert line["upstream_ms"] >= 50
    assert line["queue_ms"] == 0
    assert (line["bytes_in"], line["bytes_out"]) == (12, 12)
    assert "confidential" not in stand.logged.getvalue()
    assert "emulator-secret" not in stand.logged.getvalue()


async def test_many_comings_and_goings_lose_no_permit(make_stand: MakeStand) -> None:
    """300 callers, half of whom leave at some moment: the fleet stays within capacity, and all permits come back."""
    stand = await make_stand(StandSettings({"echo": {"instances": 2, "model": {"seconds": 0.004, "echo": True}}}))

    async def come_and_perhaps_go(number: int) -> None:
        call = asyncio.create_task(stand.invoke("echo", str(number).encode()))
        for _ in range(number * 7 % 60):
            await asyncio.sleep(0)
        if number % 2:
            call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    await asyncio.gather(*[come_and_perhaps_go(number) for number in range(300)])
    await until(lambda: sum_of(stand, "echo") == 0)

    assert stand.counters("echo").peak_work <= 2
    assert (await stand.invoke("echo", b"still here")).body == b"still here"


async def test_a_shared_connection_serves_many(make_stand: MakeStand) -> None:
    """Keep-alive callers are served one request after another on one connection."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    connector = aiohttp.TCPConnector(limit=1)

    async with aiohttp.ClientSession(connector=connector) as session:
        for number in range(20):
            async with session.post(stand.url + "/endpoints/echo/invocations", data=b"%d" % number) as response:
                assert await response.read() == b"%d" % number
                assert response.headers.get("Connection") != "close"
