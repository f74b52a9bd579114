"""Short calls of the built-in model, and long requests to any container: over connections that are kept."""

import asyncio
import io
import os
import signal

from gateway.emulator import Emulator

from .support import FAST, descendants, http, unsigned, until

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


async def test_answers_of_all_kinds_follow_each_other_on_one_connection() -> None:
    """Short and long, with and without a body, in one piece or in parts: each is the answer to its own call."""
    steers = ["", "bytes=0", "bytes=3000000", "status=204", "status=404", "parts=3,part_bytes=9", "bytes=1", ""]
    async with Emulator(unsigned(seed={"model": {"seconds": 0}})) as emulator, http() as session:
        seen = []
        for steer in steers:
            url = f"{emulator.url}/endpoints/seed/invocations"
            async with session.post(url, data=b"{}", headers={ATTRIBUTES: steer}) as reply:
                seen.append((reply.status, len(await reply.read()) if reply.status == 200 else None))
        counted = emulator.counters("seed")
    finish = len(b'{"message":"finish"}')
    assert seen == [
        *[(200, finish), (200, 0), (200, 3_000_000), (200, 0), (424, None), (200, 27), (200, 1), (200, finish)]
    ]
    assert (counted.answered, counted.model_errors, counted.peak_work, counted.work) == (7, 1, 1, 0)


async def test_a_model_that_is_killed_at_work_is_a_lost_one() -> None:
    """The call that runs on a connection that was used before ends as lost, and so do those after it."""
    async with Emulator(unsigned(echo=FAST)) as emulator, http() as session:
        url = f"{emulator.url}/endpoints/echo/invocations"

        async def call(attributes: str) -> tuple[int, object]:
            async with session.post(url, data=b"{}", headers={ATTRIBUTES: attributes}) as reply:
                return reply.status, (await reply.json(content_type=None)).get("OriginalStatusCode")

        assert await call("") == (200, None)
        running = asyncio.create_task(call("seconds=60"))
        await until(lambda: emulator.counters("echo").running == 1)
        (pid,) = descendants(os.getpid())
        os.kill(pid, signal.SIGKILL)
        assert await running == (424, 0)
        assert await call("") == (424, 0)
        seen = emulator.counters("echo")
    assert (seen.answered, seen.model_errors, seen.running, seen.work) == (1, 2, 0, 0)


async def test_a_container_may_answer_before_it_has_read_the_request() -> None:
    """Its answer counts; the rest of the body is not sent after it: the connection is closed."""
    read: list[int] = []
    answered = asyncio.Event()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_ping = (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET")
        keep = b"Connection: close\r\n" if is_ping else b""
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n%b\r\n" % (200 if is_ping else 413, keep))
        if not is_ping:
            await answered.wait()
            read.append(len(await reader.read()))
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    body = io.BytesIO(bytes(20_000_000))
    async with server, Emulator(unsigned(far={"url": url})) as emulator, http() as session:
        async with session.post(f"{emulator.url}/endpoints/far/invocations", data=body) as reply:
            assert (reply.status, (await reply.json())["OriginalStatusCode"]) == (424, 413)
        answered.set()
        await until(lambda: bool(read))
    assert read[0] < 20_000_000
