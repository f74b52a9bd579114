"""Answers in parts, end to end: at once, in order, never a silent success, and the permit held to the last byte."""

import asyncio
from contextlib import closing, suppress

import aiohttp
import boto3
import pytest
from aiohttp import web
from botocore import UNSIGNED
from botocore.config import Config as BotoConfig
from botocore.exceptions import EventStreamError

from gateway import reply
from gateway.app import Gateway
from gateway.sagemaker.eventstream import Decoder, exception_message
from tests.parts import part
from tests.raw import Peer, Script
from tests.stand import REGION, MakeStand, StandSettings, in_front_of
from tests.waiting import until

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
    b"X-Amzn-SageMaker-Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
FRAMES = {"Accept": "application/vnd.amazon.eventstream"}
ECHO = {"model": {"seconds": 0, "echo": True}}


def chunk(data: bytes) -> bytes:
    """One chunk of the transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def url(gateway: Gateway) -> str:
    """Where streams of the endpoint come from."""
    return f"{gateway.url}/endpoints/raw/invocations-response-stream"


def running(gateway: Gateway, endpoint: str = "raw") -> int:
    """Calls that run."""
    return gateway.limiters[endpoint].statistics().running


async def test_the_first_part_is_there_before_the_second_is_made() -> None:
    """Frames pass at once: the model makes its second part only after the caller has the first."""
    has_first = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.answer(HEAD, chunk(part(b"first")))
        await has_first.wait()
        await peer.send(chunk(part(b"second")), LAST_CHUNK)
        await peer.gone()

    async with (
        in_front_of(serve) as (gateway, _),
        aiohttp.ClientSession() as session,
        session.post(url(gateway), data=b"{}", headers=FRAMES) as response,
    ):
        first = await response.content.readany()
        held = running(gateway)
        has_first.set()
        second = await response.content.read()

    assert (first, second) == (part(b"first"), part(b"second"))
    assert held == 1


async def test_parts_cut_anywhere_come_out_unchanged() -> None:
    """Frames are transport: cut at every byte position, the caller gets the same bytes, framed or decoded."""
    raw = part(b"one") + part(b"two")

    async def serve(peer: Peer) -> None:
        for position in range(1, len(raw)):
            for _ in FRAMES, {}:
                await peer.answer(HEAD, chunk(raw[:position]), chunk(raw[position:]), LAST_CHUNK)

    async with in_front_of(serve) as (gateway, _), aiohttp.ClientSession() as session:
        bodies = set()
        for _ in range(1, len(raw)):
            for headers in FRAMES, {}:
                async with session.post(url(gateway), data=b"{}", headers=headers) as response:
                    bodies.add((response.headers["Content-Type"], await response.read()))

    assert bodies == {("application/vnd.amazon.eventstream", raw), ("text/event-stream", b"onetwo")}


async def cut_in_a_frame(peer: Peer) -> None:
    """End the answer properly, but inside of a frame."""
    await peer.answer(HEAD, chunk(part(b"first")), chunk(part(b"second")[:-1]), LAST_CHUNK)
    await peer.gone()


async def cut_by_close(peer: Peer) -> None:
    """Close the connection between frames."""
    await peer.answer(HEAD, chunk(part(b"first")))
    await peer.leave()


async def garbled(peer: Peer) -> None:
    """Send a frame whose checksum is wrong."""
    await peer.answer(HEAD, chunk(part(b"first")), chunk(part(b"second")[:-1] + b"?"), LAST_CHUNK)
    await peer.gone()


@pytest.mark.parametrize("script", [cut_in_a_frame, cut_by_close, garbled])
@pytest.mark.parametrize("headers", [FRAMES, {}], ids=["frames", "decoded"])
async def test_a_broken_stream_is_never_a_good_end(script: Script, headers: dict[str, str]) -> None:
    """The caller's connection is cut off without a last chunk; it is refused as `broken`; the permit is back.

    And the connection to SageMaker is closed, even where its answer came whole: nothing else is read from it.
    """
    async with in_front_of(script) as (gateway, server), aiohttp.ClientSession() as session:
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            async with session.post(url(gateway), data=b"{}", headers=headers) as response:
                await response.read()
        await until(lambda: running(gateway) == 0)
        await asyncio.wait_for(server.idle.wait(), 5)
        async with session.get(f"{gateway.url}/metrics") as response:
            metrics = await response.text()

    assert 'sagemaker_gateway_refusals_total{endpoint="raw",reason="broken"} 1.0' in metrics


async def test_an_error_in_the_stream_reaches_the_sdk() -> None:
    """An SDK raises the model's error as its own exception; the metric counts it by its code."""
    failure = exception_message("ModelStreamError", "too slow", "ModelInvocationTimeExceeded")

    async def serve(peer: Peer) -> None:
        await peer.answer(HEAD, chunk(part(b"first")), chunk(failure), LAST_CHUNK)
        await peer.gone()

    async with in_front_of(serve) as (gateway, _), aiohttp.ClientSession() as session:
        got = await asyncio.to_thread(_read_with_sdk, gateway.url)
        async with session.get(f"{gateway.url}/metrics") as response:
            metrics = await response.text()

    assert got == ([b"first"], "ModelStreamError")
    assert 'sagemaker_gateway_upstream_errors_total{endpoint="raw",error="ModelStreamError"} 1.0' in metrics


def _read_with_sdk(endpoint_url: str) -> tuple[list[bytes], str | None]:
    """What boto3 makes of a stream: its parts, and the code of the error that ended it."""
    client = boto3.client("sagemaker-runtime", REGION, endpoint_url=endpoint_url)
    parts: list[bytes] = []
    code = None
    with (
        closing(client),
        closing(client.invoke_endpoint_with_response_stream(EndpointName="raw", Body=b"{}")["Body"]) as stream,
    ):
        try:
            parts.extend(event["PayloadPart"]["Bytes"] for event in stream)
        except EventStreamError as error:
            code = error.response["Error"]["Code"]
    return parts, code


async def test_an_error_in_the_stream_reaches_a_browser() -> None:
    """Decoded, an event stream ends with `event: error`, and the connection is cut off."""
    failure = exception_message("ModelStreamError", "too slow", "ModelInvocationTimeExceeded")

    async def serve(peer: Peer) -> None:
        await peer.answer(HEAD, chunk(part(b"data: 0\n\n")), chunk(failure), LAST_CHUNK)
        await peer.gone()

    got = b""
    async with (
        in_front_of(serve) as (gateway, _),
        aiohttp.ClientSession() as session,
        session.post(url(gateway), data=b"{}") as response,
    ):
        with suppress(aiohttp.ClientPayloadError):
            while data := await response.content.readany():
                got += data

    assert got == b'data: 0\n\n\n\nevent: error\ndata: {"code": "ModelStreamError", "message": "too slow"}\n\n'


async def test_an_error_before_the_first_part_is_an_ordinary_answer(make_stand: MakeStand) -> None:
    """As SageMaker gives it, with status, code and members."""
    stand = await make_stand(StandSettings({"echo": ECHO}))

    answer = await stand.request(
        "POST",
        "/endpoints/echo/invocations-response-stream",
        X_Amzn_SageMaker_Custom_Attributes="status=500",
    )

    assert (answer.status, answer.json["OriginalStatusCode"]) == (424, 500)


async def test_a_hang_up_in_the_stream_keeps_the_permit(make_stand: MakeStand) -> None:
    """The stream is read to its end and thrown away; meanwhile nobody else is let in, and the fleet has one to do."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    path = f"{stand.url}/endpoints/echo/invocations-response-stream"
    headers = {"X-Amzn-SageMaker-Custom-Attributes": "parts=20,interval=0.02"}

    for _ in range(3):
        response = await stand.session.post(path, data=b"{}", headers=headers)
        await response.content.readany()
        response.close()
        await until(lambda: stand.gateway.limiters["echo"].statistics().orphaned == 1)
    await until(lambda: running(stand.gateway, "echo") == 0)
    await until(lambda: len(stand.log("request_finished")) == 3)

    assert stand.counters("echo").peak_work == 1
    assert [line["status"] for line in stand.log("request_finished")] == [499] * 3


async def test_a_slow_reader_slows_the_stream_down() -> None:
    """What a caller does not read is not read from SageMaker either, beyond a bound."""
    sent = 0
    stop = asyncio.Event()
    piece = part(b"x" * 65_536)

    async def serve(peer: Peer) -> None:
        nonlocal sent
        await peer.answer(HEAD)
        while not stop.is_set():
            peer.writer.write(chunk(piece))
            drained = asyncio.ensure_future(peer.writer.drain())
            await asyncio.wait((drained, asyncio.ensure_future(stop.wait())), return_when=asyncio.FIRST_COMPLETED)
            sent += len(piece)

    async with in_front_of(serve) as (gateway, _):
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(
            b"POST /endpoints/raw/invocations-response-stream HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.2)
        stop.set()
        writer.transport.abort()
        await until(lambda: running(gateway) == 0)

    assert sent < 20_000_000


async def test_a_reader_that_stops_is_dropped(monkeypatch: pytest.MonkeyPatch, make_stand: MakeStand) -> None:
    """It counts as gone after a while, and the call goes on as an orphan to its end."""
    monkeypatch.setattr(reply, "STALL_SECONDS", 0.1)
    stand = await make_stand(StandSettings({"echo": ECHO}))
    host, port = stand.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        b"POST /endpoints/echo/invocations-response-stream HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
        b"X-Amzn-SageMaker-Custom-Attributes: parts=400,part_bytes=65536\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")

    await until(lambda: len(stand.log("request_finished")) == 1, seconds=30)
    writer.transport.abort()

    (line,) = stand.log("request_finished")
    assert (line["status"], line["orphaned"]) == (499, True)
    assert running(stand.gateway, "echo") == 0


async def test_a_hundred_streams_at_once(make_stand: MakeStand) -> None:
    """50 parts each: every byte arrives in order, and all permits come back."""
    stand = await make_stand(
        StandSettings(
            {"echo": ECHO | {"instances": 2, "concurrency_per_instance": 50}},
            {"echo": {"concurrency_per_instance": 50}},
        )
    )
    headers = {"X-Amzn-SageMaker-Custom-Attributes": "parts=50,interval=0.001,sse=1"}

    async def one() -> bytes:
        path = f"{stand.url}/endpoints/echo/invocations-response-stream"
        async with stand.session.post(path, data=b"{}", headers=headers) as response:
            return await response.read()

    bodies = set(await asyncio.gather(*[one() for _ in range(100)]))

    assert bodies == {b"".join(b"data: %d\n\n" % number for number in range(50))}
    assert running(stand.gateway, "echo") == 0
    assert stand.counters("echo").peak_work <= 100


async def test_frames_are_whole_for_an_sdk(make_stand: MakeStand) -> None:
    """What passes through is what SageMaker framed: it decodes without a rest."""
    stand = await make_stand(StandSettings({"echo": ECHO}))
    headers = FRAMES | {"X-Amzn-SageMaker-Custom-Attributes": "parts=10,part_bytes=1000"}

    async with stand.session.post(
        f"{stand.url}/endpoints/echo/invocations-response-stream", data=b"{}", headers=headers
    ) as response:
        raw = await response.read()
    decoder = Decoder()
    messages = decoder.feed(raw)
    decoder.close()

    assert sum(len(message.payload) for message in messages) == 10_000


async def test_an_unsigned_sdk_reads_frames_too() -> None:
    """Who has no AWS keys is the natural caller of a gateway that has them."""

    async def serve(peer: Peer) -> None:
        await peer.answer(HEAD, chunk(part(b"first")), chunk(part(b"second")), LAST_CHUNK)
        await peer.gone()

    def read(endpoint_url: str) -> list[bytes]:
        config = BotoConfig(signature_version=UNSIGNED)
        client = boto3.client("sagemaker-runtime", REGION, endpoint_url=endpoint_url, config=config)
        answer = client.invoke_endpoint_with_response_stream(EndpointName="raw", Body=b"{}")
        with closing(client), closing(answer["Body"]) as stream:
            return [event["PayloadPart"]["Bytes"] for event in stream]

    async with in_front_of(serve) as (gateway, _):
        parts = await asyncio.to_thread(read, gateway.url)

    assert parts == [b"first", b"second"]


async def test_http_1_0_gets_no_stream() -> None:
    """Its bodies end with the connection, so that a broken one would look whole."""
    async with in_front_of(cut_in_a_frame) as (gateway, server):
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /endpoints/raw/invocations-response-stream HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()

    assert b" 400 " in answer.split(b"\r\n")[0]
    assert server.requests == []


async def test_a_bug_in_mid_stream_is_no_good_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails after the head is out: no second answer, no last chunk, and the permit comes back."""
    write = web.StreamResponse.write

    written: list[bytes] = []

    async def fail(response: web.StreamResponse, data: bytes) -> None:
        if written:
            raise RuntimeError("a bug")
        written.append(data)
        await write(response, data)

    both = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.answer(HEAD, chunk(part(b"first")))
        await both.wait()
        await peer.send(chunk(part(b"second")), LAST_CHUNK)
        await peer.gone()

    monkeypatch.setattr(web.StreamResponse, "write", fail)
    got = b""
    async with (
        in_front_of(serve) as (gateway, _),
        aiohttp.ClientSession() as session,
        session.post(url(gateway), data=b"{}") as response,
    ):
        with suppress(aiohttp.ClientPayloadError):
            while data := await response.content.readany():
                got += data
                both.set()
        await until(lambda: running(gateway) == 0)

    assert got == b"first"
    assert response.content.exception() is not None


async def test_a_stream_that_is_cut_off_at_the_end_is_no_good_end() -> None:
    """The drain's time is up: the caller's connection closes without a last chunk, and it is counted once."""

    async def serve(peer: Peer) -> None:
        await peer.answer(HEAD, chunk(part(b"first")))
        await peer.gone()

    async with in_front_of(serve) as (gateway, _), aiohttp.ClientSession() as session:
        async with session.post(url(gateway), data=b"{}", headers=FRAMES) as response:
            first = await response.content.readany()
            await gateway.cut_off()
            with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
                await response.content.read()
        async with session.get(f"{gateway.url}/metrics") as response:
            metrics = await response.text()

    assert first == part(b"first")
    counted = [line for line in metrics.splitlines() if "requests_total{" in line and not line.endswith(" 0.0")]
    assert len(counted) == 1
    assert counted[0].endswith(" 1.0")
