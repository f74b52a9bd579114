"""Faults on demand: each in its exact shape on the wire, one for each call, as real SDKs see them."""

import asyncio
import errno
import json
from typing import Any

import aiohttp
import pytest
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError, EndpointConnectionError, EventStreamError
from pydantic import ValidationError

from gateway.emulator import Emulator, Fault

from .support import FAST, collect, http, invoke, sdk, settings, stream_of, streamed, unsigned, until

STREAM = "/endpoints/echo/invocations-response-stream"
FIVE: dict[str, Any] = {"CustomAttributes": "parts=5"}
TIME_EXCEEDED = "Your model primary did not complete sending the inference response in the allotted time."


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "code", "text"),
    [
        ("throttle", 400, "ThrottlingException", None),
        ("not_ready", 429, "ModelNotReadyException", "not ready"),
        ("internal_failure", 500, "InternalFailure", "internal failure"),
        ("service_unavailable", 503, "ServiceUnavailable", "unavailable"),
        ("internal_dependency", 530, "InternalDependencyException", "dependency"),
        ("no_capacity", 400, "ValidationError", "Inference Component has no capacity to process this request. App"),
        ("expired_token", 403, "ExpiredTokenException", "The security token included in the request is expired"),
    ],
)
async def test_a_refusal_is_the_sdk_s_own(
    fault: str, status: int, code: str, text: str | None, *, streaming: bool
) -> None:
    """Status, code and message as the SDK reads them; the model never sees the call, and the next one passes."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        emulator.inject("echo", {"fault": fault})
        call = streamed if streaming else invoke
        with pytest.raises(ClientError) as caught:
            await call(client, "echo", b"x")
        seen = emulator.counters("echo")
        assert (seen.calls, seen.faulted, seen.throttled, seen.work) == (0, 1, 0, 0)
        await call(client, "echo", b"x")
        assert (emulator.counters("echo").answered, emulator.counters("echo").faulted) == (1, 1)
    error = caught.value.response
    assert (error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]) == (status, code)
    assert error["Error"]["Message"] is None if text is None else text in error["Error"]["Message"]
    modelled = getattr(client.exceptions, code, ClientError)
    assert isinstance(caught.value, modelled)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_reset_comes_before_any_answer(*, streaming: bool) -> None:
    """The connection is reset, not closed; the model never sees the call."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        emulator.inject("echo", Fault(fault="reset"))
        with pytest.raises(EndpointConnectionError) as caught:
            await (streamed if streaming else invoke)(client, "echo")
        assert emulator.counters("echo").calls == 0
    assert caught.value.kwargs["error"].errno == errno.ECONNRESET


async def test_a_delay_keeps_a_call_at_the_front() -> None:
    """The caller waits, no instance works; and the time limit counts."""
    async with Emulator(settings({"echo": {"timeout_seconds": 0.3, **FAST}})) as emulator, sdk(emulator) as client:
        emulator.inject("echo", {"fault": "delay", "seconds": 0.1}, {"fault": "delay", "seconds": 9})
        call = asyncio.create_task(invoke(client, "echo", b"late"))
        await until(lambda: emulator.counters("echo").open == 1)
        assert emulator.counters("echo").work == 0
        assert await call == b"late"
        with pytest.raises(client.exceptions.ModelError, match="timed out"):
            await invoke(client, "echo")
        seen = emulator.counters("echo")
    assert (seen.calls, seen.answered, seen.timed_out, seen.faulted, seen.busy_instance_seconds < 0.1) == (
        2,
        1,
        1,
        2,
        True,
    )


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        ("stream_error", "ModelStreamError", TIME_EXCEEDED),
        ("internal_stream_failure", "InternalStreamFailure", "internal failure"),
        ("unmodelled_stream_error", "InternalServerError", "internal failure"),
    ],
)
@pytest.mark.parametrize("after", [0, 2, 9])
async def test_an_error_in_mid_stream_is_the_sdk_s_own(fault: str, code: str, text: str, after: int) -> None:
    """So many parts, then the error, at the latest in place of the end; the model has run to its end all the same."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        emulator.inject("echo", {"fault": fault, "after_parts": after})
        got: list[bytes] = []
        reply = await stream_of(client, "echo", **FIVE)
        with pytest.raises(EventStreamError) as caught:
            await collect(reply, got)
        await until(lambda: emulator.counters("echo").work == 0)
        seen = emulator.counters("echo")
    assert got == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n"][:after]
    assert caught.value.response["Error"]["Code"] == code
    assert text in caught.value.response["Error"]["Message"]
    assert (seen.calls, seen.answered, seen.model_errors, seen.faulted, seen.open) == (1, 0, 0, 1, 0)
    assert seen.wasted_instance_seconds == seen.busy_instance_seconds > 0


async def test_a_wrong_crc_is_noticed_by_the_sdk() -> None:
    """One part has another checksum than it should."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        emulator.inject("echo", {"fault": "bad_crc"})
        got: list[bytes] = []
        reply = await stream_of(client, "echo", **FIVE)
        with pytest.raises(ChecksumMismatch):
            await collect(reply, got)
        reply["Body"].close()
    assert got == [b"0\n"]


async def test_a_stream_that_is_cut_in_mid_frame_ends_cleanly_as_http() -> None:
    """The HTTP body ends as it should, in the middle of a message: the SDK takes it for the end, and nobody is told."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        emulator.inject("echo", {"fault": "cut_mid_frame", "after_parts": 2})
        assert await streamed(client, "echo", **FIVE) == [b"0\n", b"1\n"]
        assert (await streamed(client, "echo", **FIVE))[-1] == b"4\n"
        assert emulator.counters("echo").answered == 1


async def test_a_connection_that_is_reset_in_mid_frame_breaks_the_body() -> None:
    """The HTTP body never ends."""
    async with Emulator(unsigned(echo=FAST)) as emulator, http() as session:
        emulator.inject("echo", {"fault": "reset_mid_frame", "after_parts": 0})
        async with session.post(emulator.url + STREAM, data=b"abc") as reply:
            assert reply.status == 200
            with pytest.raises(aiohttp.ClientError):
                await reply.read()
        await until(lambda: emulator.counters("echo").open == 0)


async def test_a_call_takes_the_first_fault_that_can_happen_to_it() -> None:
    """A fault of streams waits for a stream; the others happen to whatever comes next."""
    async with Emulator(settings({"echo": FAST})) as emulator, sdk(emulator) as client:
        emulator.inject("echo", {"fault": "stream_error", "after_parts": 0}, {"fault": "internal_failure"})
        with pytest.raises(client.exceptions.InternalFailure):
            await invoke(client, "echo")
        assert await invoke(client, "echo", b"x") == b"x"
        with pytest.raises(EventStreamError):
            await streamed(client, "echo")
        assert await streamed(client, "echo", b"x") == [b"x"]


async def test_faults_can_be_told_over_http() -> None:
    """POST adds to the line and answers with it, GET reads it, DELETE empties it; mistakes are told, all at once."""

    async def ask(method: str, name: str, faults: Any = None) -> tuple[int, Any]:
        url = f"{emulator.url}/_emulator/endpoints/{name}/faults"
        async with session.request(method, url, data=json.dumps(faults)) as reply:
            return reply.status, await reply.json()

    async with Emulator(unsigned(echo=FAST)) as emulator, http() as session:
        status, pending = await ask("POST", "echo", [{"fault": "throttle"}, {"fault": "delay", "seconds": 0}])
        assert (status, [each["fault"] for each in pending]) == (200, ["throttle", "delay"])
        async with session.post(f"{emulator.url}/endpoints/echo/invocations", data=b"") as reply:
            assert (reply.status, await reply.json()) == (400, {"message": None})
        assert len((await ask("GET", "echo"))[1]) == 1
        assert await ask("DELETE", "echo") == (200, [])
        status, refusal = await ask("POST", "echo", [{"fault": "thottle"}, {"fault": "reset", "after": 1}])
        assert status == 400
        assert "0.fault" in refusal["Message"]
        assert "1.after" in refusal["Message"]
        assert (await ask("POST", "echo", "reset"))[0] == 400
        assert (await ask("GET", "nobody"))[0] == 404
        with pytest.raises(ValidationError):
            emulator.inject("echo", {"fault": "thottle"})
        with pytest.raises(KeyError):
            emulator.inject("nobody", {"fault": "reset"})
