"""The runtime API: from the caller's headers and body to the reply, whole, as a stream, or later.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html,
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointWithResponseStream.html and
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointAsync.html.
"""

import asyncio
import uuid
from collections.abc import Mapping

from aiohttp import web
from multidict import CIMultiDictProxy

import gateway.emulator.headers as wire
from gateway.emulator.backlog import AsyncJob, AsyncResult, AsyncResults
from gateway.emulator.endpoint import Endpoint, ThrottledError
from gateway.emulator.fleet import NoCapacityError
from gateway.emulator.frames import CONTENT_TYPE
from gateway.emulator.outcome import SUCCESS, Answer, Failure, Invocation, Outcome
from gateway.emulator.refusals import AccountRefusals, Refusal, RefusedError, invalid, no_capacity, throttled
from gateway.emulator.stream import LiveStream
from gateway.emulator.whole import Whole

MAX_INLINE_BYTES = 128_000
"""The largest body of an asynchronous call; larger inputs are in S3."""


class Runtime:
    """Answers invocations of the endpoints it knows."""

    def __init__(
        self, endpoints: Mapping[str, Endpoint], refusals: AccountRefusals, results: AsyncResults, *, bucket: str
    ) -> None:
        self._endpoints = endpoints
        self._bucket = bucket
        self._results = results
        self._refusals = refusals

    def max_body_bytes(self, name: str) -> int | None:
        """The limit for request bodies of an endpoint, or None when there is no such endpoint."""
        endpoint = self._endpoints.get(name)
        return None if endpoint is None else endpoint.settings.max_body_bytes

    async def invoke(self, name: str, headers: CIMultiDictProxy[str], body: bytes, *, arrived_at: float) -> Whole:
        """InvokeEndpoint.

        Args:
            name: The endpoint's name as it stands in the path.
            headers: All headers of the caller.
            body: The body as it came.
            arrived_at: When the call arrived, in seconds of the event loop's clock.

        Raises:
            RefusedError: In place of the container's answer.
            ResetError: In place of any answer.
        """
        endpoint = self._endpoint(name)
        invocation = Invocation(wire.forwarded(headers, wire.INVOKE), body)
        to = endpoint.traffic.direct(invocation.headers)
        fault = endpoint.faults.take(streaming=False)
        try:
            outcome = await endpoint.call(invocation, to, arrived_at=arrived_at, fault=fault)
        except ThrottledError:
            raise RefusedError(throttled()) from None
        except NoCapacityError:
            raise RefusedError(no_capacity()) from None
        if not isinstance(outcome, Answer) or outcome.status not in SUCCESS:
            raise RefusedError(self._model_error(name, outcome))
        passed = wire.returned(outcome.headers, wire.INVOKE_RETURNED)
        return Whole(body=outcome.body, headers={**passed, wire.VARIANT_HEADER: to.deployment.plan.variant})

    async def open_stream(
        self, name: str, headers: CIMultiDictProxy[str], body: bytes, *, arrived_at: float
    ) -> tuple[LiveStream, dict[str, str]]:
        """InvokeEndpointWithResponseStream, up to the first part: the stream, and the headers of its reply.

        Arguments and exceptions are those of `invoke`.
        """
        endpoint = self._endpoint(name)
        invocation = Invocation(wire.forwarded(headers, wire.STREAM), body)
        to = endpoint.traffic.direct(invocation.headers)
        fault = endpoint.faults.take(streaming=True)
        try:
            opened = await endpoint.open_stream(invocation, to, arrived_at=arrived_at, fault=fault)
        except ThrottledError:
            raise RefusedError(throttled()) from None
        except NoCapacityError:
            raise RefusedError(no_capacity()) from None
        if not isinstance(opened, LiveStream):
            raise RefusedError(self._model_error(name, opened))
        passed = wire.returned(opened.headers, wire.STREAM_RETURNED)
        variant = to.deployment.plan.variant
        return opened, {"Content-Type": CONTENT_TYPE, **passed, wire.VARIANT_HEADER: variant}

    async def invoke_async(self, name: str, headers: CIMultiDictProxy[str], body: bytes) -> web.Response:
        """InvokeEndpointAsync: the call is queued, and its result kept in memory. There is no S3 here.

        A container whose input is in S3 is sent the location itself, as text. Arguments and exceptions are those of
        `invoke`.
        """
        endpoint = self._endpoint(name)
        asked, passed = wire.AsyncOptions.of(headers), wire.forwarded(headers, wire.ASYNC)
        if (asked.input_location is None) == (not body):
            raise RefusedError(invalid("Exactly one of Body and InputLocation must be given."))
        if len(body) > MAX_INLINE_BYTES:
            raise RefusedError(invalid(f"The inline payload must be at most {MAX_INLINE_BYTES} bytes."))
        deployment, _ = endpoint.traffic.direct(passed)
        fault = endpoint.faults.take(streaming=False)
        await asyncio.sleep(fault.delay_seconds)
        inference_id = passed.setdefault(wire.INFERENCE_ID, str(uuid.uuid4()))
        result = self._result(name, inference_id, asked)
        self._results.add(result)
        deployment.backlog.add(
            AsyncJob(
                result,
                Invocation(passed, body or (asked.input_location or "").encode()),
                ttl_seconds=asked.ttl_seconds,
                timeout_seconds=asked.timeout_seconds,
                explain=lambda outcome: self._model_error(name, outcome).body,
            )
        )
        locations = {
            f"{wire.PREFIX}OutputLocation": result.output_location,
            f"{wire.PREFIX}FailureLocation": result.failure_location,
        }
        return web.json_response({"InferenceId": inference_id}, status=202, headers=locations)

    def _result(self, name: str, inference_id: str, asked: wire.AsyncOptions) -> AsyncResult:
        bucket = f"{self._bucket}/async/{name}"
        folder = f"/{asked.path_extension.strip('/')}" if asked.path_extension else ""
        key = str(uuid.uuid4())
        return AsyncResult(
            inference_id=inference_id,
            endpoint=name,
            output_location=f"{bucket}/output{folder}/{asked.filename or f'{key}.out'}",
            failure_location=f"{bucket}/failure{folder}/{key}-error.out",
        )

    def _endpoint(self, name: str) -> Endpoint:
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise RefusedError(self._refusals.no_such_endpoint(name))
        return endpoint

    def _model_error(self, name: str, outcome: Outcome) -> Refusal:
        if outcome is Failure.TIMED_OUT:
            return self._refusals.container_timed_out(name)
        if outcome is Failure.LOST:
            return self._refusals.container_lost(name)
        if not isinstance(outcome, Answer):
            return self._refusals.container_cut(name)
        return self._refusals.container_said_no(name, outcome.status, outcome.body)
