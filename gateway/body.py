"""A caller's body: read whole, bounded in bytes and seconds, together with its SHA-256."""

import asyncio
from hashlib import sha256
from typing import Protocol

from aiohttp import HttpVersion11, StreamReader, web

from gateway.errors import BAD_REQUEST, BODY_TIMEOUT, TOO_LARGE, Refusal

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Memory(Protocol):
    """What the body takes; either method may raise a Refusal."""

    def announce(self, size: int) -> None:
        """Say how many bytes are going to come."""

    def grow(self, size: int) -> None:
        """Say that so many bytes have come."""


def body_at_hand(request: web.BaseRequest, *, limit: int, memory: Memory) -> tuple[bytes, str] | None:
    """The body and its digest, where all of it has come with the headers already; else None.

    Args:
        request: the caller's request.
        limit: longest body, in bytes.
        memory: is told of it.

    Raises:
        Refusal: the body is longer.
    """
    content = request.content
    if not content.is_eof() or content.exception() is not None:
        return None
    body = content.read_nowait()
    check_size(len(body), limit)
    memory.grow(len(body))
    return body, sha256(body).hexdigest()


async def read_body(request: web.BaseRequest, *, limit: int, seconds: float, memory: Memory) -> tuple[bytes, str]:
    """The body and its digest, which a signature needs before the first byte goes out.

    Args:
        request: the caller's request.
        limit: longest body, in bytes.
        seconds: how long the caller may take.
        memory: is told of what comes.

    Raises:
        Refusal: the body is longer, or the caller slower, or its chunks cannot be read. A declared length is refused
            before a byte is read.
    """
    content, length = request.content, request.content_length
    if length is not None:
        check_size(length, limit)
        memory.announce(length)
    try:
        async with asyncio.timeout(seconds):
            if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
                await request.writer.write(CONTINUE)
                request.writer.output_size = 0
            return await _read(content, limit, memory)
    except TimeoutError:
        raise Refusal(
            BODY_TIMEOUT, f"The body did not arrive within {seconds:g} s: send it faster, or in a smaller request."
        ) from None
    except web.RequestPayloadError:
        raise Refusal(
            BAD_REQUEST, "The body's chunks cannot be read (RFC 9112, section 7.1): its length, or its end, is wrong."
        ) from None


async def _read(content: StreamReader, limit: int, memory: Memory) -> tuple[bytes, str]:
    digest = sha256()
    chunks = []
    size = 0
    while chunk := await content.readany():
        size += len(chunk)
        check_size(size, limit)
        memory.grow(len(chunk))
        # Hashed as it comes: a large body in one go would hold up every other caller for milliseconds.
        digest.update(chunk)
        chunks.append(chunk)
    return b"".join(chunks), digest.hexdigest()


def check_size(size: int, limit: int) -> None:
    """Return where a body is not too long.

    Raises:
        Refusal: it is.
    """
    if size > limit:
        raise Refusal(TOO_LARGE, f"The body is longer than {limit} bytes, the most that this endpoint takes.")
