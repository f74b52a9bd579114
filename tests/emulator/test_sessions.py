"""Sessions: a container opens one, all its calls go to the same instance, and it ends by word, by time or by loss."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from botocore.exceptions import ClientError

from gateway.emulator import Emulator

from .container import Recorder
from .support import FAST, http, invoke, plain_sdk, sdk, settings, streamed, unsigned, until

SESSION = "X-Amzn-SageMaker-Session-Id"
NEW = "X-Amzn-SageMaker-New-Session-Id"


async def opened(client: Any, name: str, **parameters: str) -> str:
    """The id of a new session."""
    reply = await client.invoke_endpoint(EndpointName=name, Body=b"", SessionId="NEW_SESSION", **parameters)
    session: str = reply["NewSessionId"].partition(";")[0]
    return session


async def test_all_calls_of_a_session_go_to_one_instance() -> None:
    """Whole answers and streams, one by one or at once; the others go on being spread."""
    async with Emulator(settings({"seed": {"instances": 3, **FAST}})) as emulator, sdk(emulator) as client:
        session = await opened(client, "seed")
        await asyncio.gather(*(invoke(client, "seed", SessionId=session) for _ in range(3)))
        assert await streamed(client, "seed", b"x", SessionId=session) == [b"x"]
        seen = emulator.counters("seed")
        assert ([each.calls for each in seen.instances], seen.in_session) == ([5, 0, 0], 4)
        for _ in range(2):
            await invoke(client, "seed")
        assert [each.calls for each in emulator.counters("seed").instances] == [5, 1, 1]


async def test_boto3_opens_and_closes_a_session() -> None:
    """The new id with its time of expiry, the closed id; and a closed session is no more."""

    def talk(client: Any) -> tuple[str, str, str]:
        new = client.invoke_endpoint(EndpointName="seed", Body=b"", SessionId="NEW_SESSION")["NewSessionId"]
        session = new.partition(";")[0]
        known = {"EndpointName": "seed", "Body": b"", "SessionId": session}
        assert "ClosedSessionId" not in client.invoke_endpoint(**known)
        closed = client.invoke_endpoint(**known, CustomAttributes="close=1")["ClosedSessionId"]
        with pytest.raises(client.exceptions.ValidationError, match=f"Session {session} not found"):
            client.invoke_endpoint(**known)
        return new, session, closed

    async with Emulator(settings({"seed": FAST})) as emulator:
        new, session, closed = await asyncio.to_thread(talk, plain_sdk(emulator))
    assert re.fullmatch(r"[0-9a-f]{32}; Expires=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", new)
    assert closed == session


async def test_a_session_belongs_to_its_variant_or_component() -> None:
    """It overrules the weights; asked for at another variant, component or endpoint, it is unknown."""
    endpoints = {
        "two": {"variants": {"blue": {}, "green": {"weight": 0}}, **FAST},
        "host": {"inference_components": {"llama": {}, "mini": {}}, **FAST},
    }
    async with Emulator(settings(endpoints)) as emulator, sdk(emulator) as client:
        session = await opened(client, "two", TargetVariant="green")
        reply = await client.invoke_endpoint(EndpointName="two", Body=b"", SessionId=session)
        assert reply["InvokedProductionVariant"] == "green"
        assert (emulator.counters("two/green").in_session, emulator.counters("two").in_session) == (1, 1)
        with pytest.raises(client.exceptions.ValidationError, match="not found for endpoint two"):
            await invoke(client, "two", SessionId=session, TargetVariant="blue")
        component = await opened(client, "host", InferenceComponentName="llama")
        await invoke(client, "host", SessionId=component, InferenceComponentName="llama")
        for name, session_id in (("mini", component), ("llama", session)):
            with pytest.raises(client.exceptions.ValidationError, match="not found for endpoint host"):
                await invoke(client, "host", SessionId=session_id, InferenceComponentName=name)


async def test_a_session_ends_with_its_time_and_with_its_instance() -> None:
    """Past its expiry, and after the instance was taken away, it is unknown."""
    ahead = timedelta()
    emulated = settings({"seed": {"instances": 2, **FAST}}, verify_signatures=False)
    async with (
        Emulator(emulated, wall_clock=lambda: datetime.now(UTC) + ahead) as emulator,
        sdk(emulator) as client,
    ):
        first, second = await opened(client, "seed"), await opened(client, "seed")
        await emulator.scale("seed", 1)
        await invoke(client, "seed", SessionId=first)
        with pytest.raises(client.exceptions.ValidationError, match="unknown, closed or expired"):
            await invoke(client, "seed", SessionId=second)
        ahead = timedelta(hours=1)
        for call in (invoke, streamed):
            with pytest.raises(client.exceptions.ValidationError, match="unknown, closed or expired"):
                await call(client, "seed", SessionId=first)


@pytest.mark.parametrize(
    ("answered", "status"),
    [("one; Expires=2999-01-31T00:00:00Z", 200), ("one", 400), ("one; Expires=soon", 400), (None, 400)],
)
async def test_the_container_s_word_opens_a_session(answered: str | None, status: int) -> None:
    """Its id counts from its answer on, if the answer says until when; the caller gets the header as it is."""
    headers = {} if answered is None else {NEW: answered}
    async with (
        Recorder(lambda: web.Response(headers=headers)) as container,
        Emulator(unsigned(seed={"url": container.url})) as emulator,
        http() as session,
    ):
        url = f"{emulator.url}/endpoints/seed/invocations"
        async with session.post(url, data=b"", headers={SESSION: "NEW_SESSION"}) as reply:
            assert (reply.status, reply.headers.get(NEW)) == (200, answered)
        async with session.post(url, data=b"", headers={SESSION: "one"}) as reply:
            assert reply.status == status


async def test_a_stream_may_close_a_session() -> None:
    """Its caller is not told, since the API has no header for it; the session is gone all the same."""
    async with Emulator(settings({"seed": FAST})) as emulator, sdk(emulator) as client:
        session = await opened(client, "seed")
        await streamed(client, "seed", SessionId=session, CustomAttributes="parts=2,close=1")
        with pytest.raises(ClientError, match="unknown, closed or expired"):
            await invoke(client, "seed", SessionId=session)
        await until(lambda: emulator.counters("seed").open == 0)
