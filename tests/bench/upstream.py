"""The leanest SageMaker there is, as a process: it sends every body back at once, and streams what is asked for.

The first request of each connection has to be signed rightly, so that nobody is fast for what it leaves out; nobody but
the bench itself, who asks directly.
"""

import asyncio
from itertools import islice
from typing import cast
from uuid import uuid4

import uvloop

from . import parts
from .processes import BACKLOG, listen
from .proof import Proof
from .wire import Reader

UNSIGNED = "/direct"
"""The path without signatures, by which the bench measures what this process itself takes."""

AT_ONCE = 16
"""Parts in a write where they are to be as fast as they are taken, so that this process is not the slowest."""

_HEAD = (
    "HTTP/1.1 %s\r\n"
    f"x-amzn-RequestId: {uuid4()}\r\n"
    "x-Amzn-Invoked-Production-Variant: AllTraffic\r\n"
    "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
)
ANSWER = (_HEAD % "200 OK" + "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n").encode()
REFUSAL = (_HEAD % "403 Forbidden" + "Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n").encode()
STREAM = (
    _HEAD % "200 OK" + "Content-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n"
    "x-Amzn-SageMaker-Content-Type: application/octet-stream\r\n\r\n"
).encode()


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests come one after the other.

    Args:
        proof: who knows what is signed rightly.
    """

    def __init__(self, proof: Proof) -> None:
        self._proof = proof
        self._proven = False
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._stream: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from asyncio's

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the request is complete."""
        message = self._reader.feed(data)
        if message is None or self._transport is None:
            return
        head, body = message
        if not self._proven and (problem := self._problem(head, body)) is not None:
            self._transport.write(REFUSAL % len(problem) + problem)
            return
        self._proven = True
        if parts.OPERATION in head[: head.find(b"\r\n")]:
            self._stream = asyncio.create_task(self._send_parts(self._transport, parts.Wish.read(body)))
        else:
            self._transport.write(ANSWER % len(body) + body)

    def _problem(self, head: bytes, body: bytes) -> bytes | None:
        if head.startswith(f"POST {UNSIGNED}/".encode()):
            return None
        problem = self._proof.problem(head, body)
        return None if problem is None else problem.encode()

    async def _send_parts(self, transport: asyncio.Transport, wish: parts.Wish) -> None:
        transport.write(STREAM)
        frames = wish.frames()
        at_once = 1 if wish.between else AT_ONCE
        while some := tuple(islice(frames, at_once)):
            await self._writable.wait()
            transport.write(b"".join([b"%x\r\n%b\r\n" % (len(frame), frame) for frame in some]))
            await asyncio.sleep(wish.seconds_between)
        transport.write(b"0\r\n\r\n")

    def pause_writing(self) -> None:
        """Wait for whoever reads."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Send no more."""
        if self._stream is not None:
            self._stream.cancel()


async def main() -> None:
    """Serve until the process is ended."""
    proof = Proof()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(proof), sock=listen(), backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
