"""What SageMaker's end does: scripts for single connections, byte for byte."""

import asyncio
from functools import cache
from itertools import count
from typing import NamedTuple

from tests.faults.worlds import contexts
from tests.parts import part
from tests.raw import OK, Peer, Script, serve_held, serve_ok

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAMED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
    b"X-Amzn-SageMaker-Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
DRIP_SECONDS = 0.01
PIECE = part(b"x" * 65_536)
PIECES = 750
"""Of which a long stream has so many: far more than all buffers on the way take."""


class Failure(NamedTuple):
    """An error of SageMaker's own."""

    status: bytes
    code: str
    body: bytes

    @property
    def wire(self) -> bytes:
        """Its answer."""
        head = b"HTTP/1.1 %b\r\nx-amzn-ErrorType: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        return head % (self.status, self.code.encode(), len(self.body)) + self.body


def model_error(original_status: int, message: bytes) -> Failure:
    """SageMaker's 424, with all members that it has in practice."""
    body = (
        b'{"ErrorCode":"CLIENT_ERROR_FROM_MODEL","LogStreamArn":"arn:aws:logs:eu-west-1:123456789012:log-group:/x",'
        b'"Message":"%b","OriginalMessage":"%b","OriginalStatusCode":%d}' % (message, message, original_status)
    )
    return Failure(b"424 Failed Dependency", "ModelError", body)


OUT_OF_TIME = model_error(0, b"Your invocation timed out while waiting for a response from container primary.")
THROTTLED = Failure(b"400 Bad Request", "ThrottlingException", b'{"message":null}')


def answers(*parts: bytes, then: Script = serve_ok) -> Script:
    """Answer one request with these bytes, each part in a segment of its own; then do something else."""

    async def script(peer: Peer) -> None:
        await peer.answer(*parts)
        await then(peer)

    return script


def fails(failure: Failure) -> Script:
    """Answer one request with an error, and then go on serving."""
    return answers(failure.wire)


async def rejects_held(peer: Peer) -> None:
    """Something on the way answers in SageMaker's place, each request when the gate lets it."""
    await serve_held(peer, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno")


def whole(body: bytes, *headers: bytes) -> bytes:
    """An answer with a length."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body)


def chunk(data: bytes) -> bytes:
    """One chunk of the transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def reset(peer: Peer) -> None:
    """End with a reset."""
    peer.reset()


def drips(head: bytes, piece: bytes) -> Script:
    """Begin an answer, and go on for ever."""

    async def script(peer: Peer) -> None:
        await peer.answer(head)
        for _ in count():
            await peer.send(piece)
            await asyncio.sleep(DRIP_SECONDS)

    return script


async def speaks_no_tls(peer: Peer) -> None:
    """Answer a handshake in plain text."""
    hello = await peer.reader.read(65_536)
    assert b"POST" not in hello
    await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


async def speaks_tls(peer: Peer) -> None:
    """Serve behind TLS."""
    await peer.writer.start_tls(contexts().server)
    await serve_ok(peer)


async def dies_idle(peer: Peer) -> None:
    """Serve one call, and close the connection while it is idle."""
    await peer.answer(OK)
    await peer.leave()


async def dies_busy(peer: Peer) -> None:
    """Serve one call, take the next, and close the connection on it."""
    await peer.answer(OK)
    await peer.request()
    await peer.leave()


async def streams_held(peer: Peer) -> None:
    """Begin a stream; go on with it to its end when the gate lets it; then serve calls."""
    await peer.answer(STREAMED, chunk(part(b"first")))
    await peer.server.gate.acquire()
    await peer.send(*[chunk(PIECE)] * 20, LAST_CHUNK)
    await serve_ok(peer)


async def resets_when_told(peer: Peer) -> None:
    """Begin a stream, and reset the connection when the gate lets it."""
    await peer.answer(STREAMED, chunk(part(b"first")))
    await peer.server.gate.acquire()
    peer.reset()


async def streams_long(peer: Peer) -> None:
    """Send a stream as fast as it is read, noting in `working` how many pieces were taken; then serve calls."""
    await peer.answer(STREAMED)
    wire = chunk(PIECE)
    for _ in range(PIECES):
        peer.writer.write(wire)
        await peer.writer.drain()
        peer.server.working += 1
    await peer.send(LAST_CHUNK)
    await serve_ok(peer)


@cache
def large_answer() -> bytes:
    """More than all buffers on the way take."""
    return whole(b"x" * 24_000_000)


async def answers_largely(peer: Peer) -> None:
    """Answer the first call with many bytes, and the others with few."""
    await peer.answer(large_answer())
    await serve_ok(peer)
