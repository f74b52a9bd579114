"""The built-in model keeps the container contract, as a process of its own."""

import asyncio
import hashlib
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from gateway.emulator import model as model_module
from gateway.emulator.process import ContainerProcess, free_port

from .support import http, until

PROGRAM = str(Path(model_module.__file__))
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@asynccontextmanager
async def running(*options: str) -> AsyncIterator[tuple[str, int, ContainerProcess]]:
    """The model's base URL, its port and its process."""
    port = free_port()
    command = [sys.executable, "-I", "-S", PROGRAM, "--until-stdin-closes", *options]
    process = await ContainerProcess.start("model", command, port=port, environment={})
    url = f"http://127.0.0.1:{port}"
    try:
        async with http() as session:
            while True:
                try:
                    async with session.get(f"{url}/ping"):
                        break
                except aiohttp.ClientConnectorError:
                    assert not await process.exited(0.005), process.output_tail()
        yield url, port, process
    finally:
        await process.stop(5)


async def exchange(port: int, *parts: bytes) -> bytes:
    """Send raw bytes on one connection, and return all that comes back until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


async def test_it_answers_as_the_seed_experiment_does() -> None:
    """GET /ping answers 200 with an empty body, and an invocation answers the JSON of the seed experiment."""
    async with running("--seconds", "0") as (url, _, _), http() as session:
        async with session.get(f"{url}/ping") as reply:
            assert (reply.status, await reply.read()) == (200, b"")
        async with session.post(f"{url}/invocations", data=b"{}") as reply:
            assert (reply.status, reply.content_type) == (200, "application/json")
            assert await reply.read() == b'{"message":"finish"}'


async def test_25_mebibytes_of_binary_come_back_unchanged() -> None:
    """With --echo the body returns byte for byte, with its content type and its custom attributes."""
    body = os.urandom(26_214_400)
    headers = {"Content-Type": "application/x-raw", ATTRIBUTES: "trace=1,seconds=0"}
    async with running("--echo") as (url, _, _), http() as session:
        async with session.post(f"{url}/invocations", data=io.BytesIO(body), headers=headers) as reply:
            answer = await reply.read()
            assert (reply.status, reply.headers["Content-Type"]) == (200, "application/x-raw")
            assert reply.headers[ATTRIBUTES] == "trace=1,seconds=0"
        assert hashlib.sha256(answer).digest() == hashlib.sha256(body).digest()


async def test_a_chunked_request_is_read_whole() -> None:
    """Chunks of any size, cut anywhere, with extension and trailer, are one body; the connection goes on after it."""
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [b"3;a=b\r\n\x00\r", b"\n\r\n10", b"\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n", b"\r\n"]
    last = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with running("--seconds", "0", "--echo") as (_, port, _):
        received = await exchange(port, head, *chunks, last)
    assert received.count(b"HTTP/1.1 200 ") == 2
    assert b"\x00\r\n0123456789abcdef" in received


@pytest.mark.parametrize(
    ("attributes", "status", "check"),
    [
        ("seconds=0,status=503,bytes=7", 503, lambda body: body == b"x" * 7),
        ("seconds=0,mine=1,status=404", 404, lambda body: json.loads(body) == {"message": "finish"}),
        ("seconds=0,status=204", 204, lambda body: body == b""),
        ("seconds=soon", 400, lambda body: b"seconds wants a number, not 'soon'" in body),
        ("status=99", 400, lambda body: b"status wants 200 to 599, not '99'" in body),
        ("bytes=-1", 400, lambda body: b"bytes wants zero or more, not '-1'" in body),
        ("seconds=inf", 400, lambda body: b"seconds wants zero or more" in body),
    ],
)
async def test_a_caller_steers_a_single_answer(attributes: str, status: int, check: Callable[[bytes], bool]) -> None:
    """Custom attributes choose time, status and size of one answer; a mistake in them is a 400 that says so."""
    headers = {ATTRIBUTES: attributes}
    async with (
        running() as (url, _, _),
        http() as session,
        session.post(f"{url}/invocations", data=b"", headers=headers) as reply,
    ):
        assert reply.status == status
        assert check(await reply.read())


async def test_it_opens_and_closes_sessions() -> None:
    """A new id with its time of expiry where one is asked for, the caller's id back where the caller says so."""
    name, new = "X-Amzn-SageMaker-Session-Id", "X-Amzn-SageMaker-New-Session-Id"
    async with running("--seconds", "0") as (url, _, _), http() as session:
        ids = set()
        for _ in range(2):
            async with session.post(f"{url}/invocations", headers={name: "NEW_SESSION"}) as reply:
                opened, _, until_when = reply.headers[new].partition("; Expires=")
                assert timedelta(0) < datetime.fromisoformat(until_when) - datetime.now(UTC) <= timedelta(minutes=20)
                ids.add(opened)
        assert len(ids) == 2
        for attributes, closed in (("", None), ("close=0", None), ("close=1", "mine")):
            headers = {name: "mine", ATTRIBUTES: attributes}
            async with session.post(f"{url}/invocations", headers=headers) as reply:
                assert reply.headers.get("X-Amzn-SageMaker-Closed-Session-Id") == closed
                assert new not in reply.headers


async def test_what_is_not_in_the_contract_is_refused_with_a_hint() -> None:
    """Unknown paths are 404, bytes that are no HTTP/1.1 are 400 and the end of the connection."""
    async with running() as (url, port, _), http() as session:
        async with session.get(f"{url}/invocations") as reply:
            assert reply.status == 404
            assert b"POST /invocations" in await reply.read()
        for garbage in (b"HELLO\r\n\r\n", b"POST /invocations HTTP/1.1\r\nContent-Length: +3\r\n\r\n"):
            assert (await exchange(port, garbage)).startswith(b"HTTP/1.1 400 ")
        assert (await exchange(port, b"x" * 100_000)).startswith(b"HTTP/1.1 400 ")
        zz = b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        assert (await exchange(port, zz)).startswith(b"HTTP/1.1 400 ")


async def test_it_ends_with_its_standard_input() -> None:
    """When the emulator's end of the pipe closes, the process ends at once, sleeping calls or not."""
    async with running("--seconds", "60") as (_, port, process):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /invocations HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        process._process.stdin.close()  # type: ignore[union-attr]
        await until(lambda: process.exit_status is not None)
        assert process.exit_status == 0
        writer.close()
