"""The front door: request ids, unknown operations, and the counters over HTTP."""

import asyncio

import pytest

from gateway.emulator import Emulator

from .support import FAST, http, unsigned


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/endpoints/echo/invocations"),
        ("POST", "/endpoints/echo"),
        ("POST", "/endpoints/echo/invocations/more"),
        ("POST", "/endpoints/echo%2Finvocations"),
        ("DELETE", "/_emulator/endpoints"),
    ],
)
async def test_an_unknown_operation_is_a_404_that_says_what_there_is(method: str, path: str) -> None:
    """What is no operation is 404 UnknownOperationException, whatever the method."""
    async with (
        Emulator(unsigned(echo=FAST)) as emulator,
        http() as session,
        session.request(method, emulator.url + path) as reply,
    ):
        assert reply.status == 404
        assert reply.headers["x-amzn-ErrorType"].startswith("UnknownOperationException:")
        assert "POST /endpoints/NAME/invocations" in (await reply.json())["message"]


async def test_counters_can_be_read_and_reset_over_http() -> None:
    """GET /_emulator/endpoints tells the counters of every endpoint, POST /_emulator/reset starts them anew."""
    async with Emulator(unsigned(echo=FAST, other=FAST)) as emulator, http() as session:
        async with session.post(f"{emulator.url}/endpoints/echo/invocations", data=b"x") as reply:
            assert reply.status == 200
        async with session.get(f"{emulator.url}/_emulator/endpoints") as reply:
            counters = await reply.json()
        assert {name: each["calls"] for name, each in counters.items()} == {"echo": 1, "other": 0}
        assert counters["echo"]["instances"] == [{"calls": 1, "peak_work": 1}]
        async with session.post(f"{emulator.url}/_emulator/reset") as reply:
            assert reply.status == 204
        assert emulator.counters("echo").calls == 0


async def test_every_reply_has_a_request_id_of_its_own() -> None:
    """x-amzn-RequestId stands on answers and refusals alike, and no two are the same."""
    async with Emulator(unsigned(echo=FAST)) as emulator, http() as session:
        ids = set()
        for path in ("/endpoints/echo/invocations", "/endpoints/nobody/invocations", "/", "/_emulator/reset", "/x"):
            async with session.post(emulator.url + path, data=b"") as reply:
                ids.add(reply.headers["x-amzn-RequestId"])
        assert len(ids) == 5


@pytest.mark.parametrize(("length", "first"), [(2, b"HTTP/1.1 100 Continue"), (9, b"HTTP/1.1 413 ")])
async def test_a_caller_that_asks_first_is_told_to_go_on_or_not(length: int, first: bytes) -> None:
    """`Expect: 100-continue` gets its 100 before the body is sent, or the refusal at once."""
    async with Emulator(unsigned(echo={"max_body_bytes": 8, **FAST})) as emulator:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(emulator.url.rpartition(":")[2]))
        head = f"POST /endpoints/echo/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
        writer.write(f"{head}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(first)
        if length == 2:
            writer.write(b"ab")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\nab")
        writer.close()
        await writer.wait_closed()
