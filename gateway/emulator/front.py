"""The front door: one address for all operations; reads bodies, checks signatures, and puts errors on the wire."""

import asyncio
import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.emulator.control import ControlPlane
from gateway.emulator.counters import Ledger
from gateway.emulator.refusals import Refusal, RefusedError, common, too_large
from gateway.emulator.runtime import Runtime
from gateway.emulator.signatures import SignedRequest, Verifier, sha256_of

REQUEST_ID = "x-amzn-RequestId"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
DEFAULT_MAX_BODY_BYTES = 26_214_400
OFFLOADED_BYTES = 1_048_576
"""Bodies from here on are hashed in a thread: 25 MiB hold the loop for 20 ms."""


class Front:
    """Handles every request of the emulator's address; its `handle` is what the HTTP server calls."""

    def __init__(
        self, runtime: Runtime, control: ControlPlane, verifier: Verifier | None, ledgers: Mapping[str, Ledger]
    ) -> None:
        self._runtime = runtime
        self._control = control
        self._verifier = verifier
        self._ledgers = ledgers

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request, with a request id; refusals become error replies."""
        try:
            response = await self._answer(request)
        except RefusedError as error:
            response = _error(error.refusal)
        response.headers[REQUEST_ID] = str(uuid.uuid4())
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        arrived_at = asyncio.get_running_loop().time()
        match request.method, request.raw_path.partition("?")[0].split("/"):
            case "POST", ["", "endpoints", name, "invocations"]:
                limit = self._runtime.max_body_bytes(name)
                body = await self._signed_body(request, DEFAULT_MAX_BODY_BYTES if limit is None else limit)
                return await self._runtime.invoke(name, request.headers, body, arrived_at=arrived_at)
            case "POST", ["", ""]:
                body = await self._signed_body(request, DEFAULT_MAX_BODY_BYTES)
                answer = self._control.answer(request.headers.get("X-Amz-Target"), body)
                return web.json_response(answer, content_type="application/x-amz-json-1.1")
            case "GET", ["", "_emulator", "endpoints"]:
                return web.json_response(self._all_counters())
            case "POST", ["", "_emulator", "reset"]:
                for ledger in self._ledgers.values():
                    ledger.reset()
                return web.Response(status=204)
        raise RefusedError(
            common(
                404,
                "UnknownOperationException",
                f"{request.method} {request.raw_path} is no operation of this emulator; it knows "
                "POST /endpoints/NAME/invocations, POST / with X-Amz-Target, GET /_emulator/endpoints and "
                "POST /_emulator/reset",
            )
        )

    async def _signed_body(self, request: web.BaseRequest, limit: int) -> bytes:
        body = await _read(request, limit)
        if self._verifier is not None:
            large = len(body) >= OFFLOADED_BYTES
            digest = await asyncio.to_thread(sha256_of, body) if large else sha256_of(body)
            self._verifier.verify(SignedRequest(request.method, request.raw_path, request.headers, digest))
        return body

    def _all_counters(self) -> dict[str, Any]:
        return {name: dataclasses.asdict(ledger.counters()) for name, ledger in self._ledgers.items()}


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
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise RefusedError(too_large(limit))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _error(refusal: Refusal) -> web.Response:
    response = web.Response(status=refusal.status, body=refusal.body.encode())
    response.headers["Content-Type"] = refusal.content_type
    if refusal.error_type is not None:
        response.headers["x-amzn-ErrorType"] = refusal.error_type
    return response
