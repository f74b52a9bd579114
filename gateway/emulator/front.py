"""The front door: one address for all operations; reads bodies, checks signatures, and puts errors on the wire."""

import asyncio
import os
import socket
import struct

from aiohttp import web

from gateway.emulator.admin import KNOWN as ADMIN_KNOWN
from gateway.emulator.admin import Admin
from gateway.emulator.control import ControlPlane
from gateway.emulator.faults import ResetError
from gateway.emulator.refusals import Refusal, RefusedError, by_control_plane, common, too_large
from gateway.emulator.runtime import Runtime
from gateway.emulator.signatures import SignedRequest, Verifier, sha256_of
from gateway.emulator.stream import LiveStream

REQUEST_ID = "x-amzn-RequestId"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
DEFAULT_MAX_BODY_BYTES = 26_214_400
KNOWN = (
    "POST /endpoints/NAME/invocations",
    "POST /endpoints/NAME/invocations-response-stream",
    "POST /endpoints/NAME/async-invocations",
    "POST / with X-Amz-Target",
)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
OFFLOADED_BYTES = 1_048_576
"""Bodies from here on are hashed in a thread: 25 MiB hold the loop for 20 ms."""


class Front:
    """Handles every request of the emulator's address; its `handle` is what the HTTP server calls."""

    def __init__(self, runtime: Runtime, control: ControlPlane, admin: Admin, verifier: Verifier | None) -> None:
        self._runtime = runtime
        self._control = control
        self._admin = admin
        self._verifier = verifier

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request, with a request id; refusals become error replies."""
        request_id = _new_id()
        try:
            response = await self._answer(request, request_id)
        except RefusedError as error:
            response = _error(error.refusal)
        except ResetError:
            _reset(request)
            response = web.Response()  # nobody gets it
        if not response.prepared:
            response.headers[REQUEST_ID] = request_id
        return response

    async def _answer(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        arrived_at = asyncio.get_running_loop().time()
        match request.method, request.raw_path.partition("?")[0].split("/"):
            case "POST", ["", "endpoints", name, "invocations-response-stream"]:
                body = await self._signed_body(request, self._limit(name))
                stream, headers = await self._runtime.open_stream(name, request.headers, body, arrived_at=arrived_at)
                return await _streamed(request, stream, {**headers, REQUEST_ID: request_id})
            case "POST", ["", "endpoints", name, "invocations"]:
                body = await self._signed_body(request, self._limit(name))
                return await self._runtime.invoke(name, request.headers, body, arrived_at=arrived_at)
            case "POST", ["", "endpoints", name, "async-invocations"]:
                body = await self._signed_body(request, self._limit(name))
                return await self._runtime.invoke_async(name, request.headers, body)
            case "POST", ["", ""]:
                try:
                    body = await self._signed_body(request, DEFAULT_MAX_BODY_BYTES)
                except RefusedError as error:
                    raise RefusedError(by_control_plane(error.refusal)) from None
                described = self._control.answer(request.headers.get("X-Amz-Target"), body)
                return web.json_response(described, content_type="application/x-amz-json-1.1")
            case method, ["", "_emulator", *path]:
                answer = self._admin.answer(method, path, await _read(request, DEFAULT_MAX_BODY_BYTES))
                if answer is not None:
                    return answer
        raise RefusedError(
            common(
                404,
                "UnknownOperationException",
                f"{request.method} {request.raw_path} is no operation of this emulator; it knows "
                f"{', '.join(KNOWN + ADMIN_KNOWN)}",
            )
        )

    def _limit(self, name: str) -> int:
        limit = self._runtime.max_body_bytes(name)
        return DEFAULT_MAX_BODY_BYTES if limit is None else limit

    async def _signed_body(self, request: web.BaseRequest, limit: int) -> bytes:
        body = await _read(request, limit)
        if self._verifier is not None:
            large = len(body) >= OFFLOADED_BYTES
            digest = await asyncio.to_thread(sha256_of, body) if large else sha256_of(body)
            self._verifier.verify(SignedRequest(request.method, request.raw_path, request.headers, digest))
        return body


def _new_id() -> str:
    """A random UUID, without the object."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


async def _read(request: web.BaseRequest, limit: int) -> bytes:
    """The body as it came; refused as soon as it is known to be over the limit in bytes."""
    if (request.content_length or 0) > limit:
        raise RefusedError(too_large(limit))
    if not request.can_read_body:
        return b""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(CONTINUE)
        request.writer.output_size = 0  # what has been sent so far is no part of the answer
    chunks: list[bytes] = []
    size = 0
    while chunk := await request.content.readany():
        size += len(chunk)
        if size > limit:
            raise RefusedError(too_large(limit))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _streamed(request: web.BaseRequest, stream: LiveStream, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    async with stream:
        await response.prepare(request)
        await stream.send(response.write)
    await response.write_eof()
    return response


def _reset(request: web.BaseRequest) -> None:
    """Reset the caller's connection: a closed one would be an RST only by chance."""
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        request.transport.abort()


def _error(refusal: Refusal) -> web.Response:
    response = web.Response(status=refusal.status, body=refusal.body.encode())
    response.headers["Content-Type"] = refusal.content_type
    if refusal.error_type is not None:
        response.headers["x-amzn-ErrorType"] = refusal.error_type
    return response
