"""The runtime API: InvokeEndpoint, from the caller's headers and body to the reply.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html.
"""

from collections.abc import Mapping

from aiohttp import web
from multidict import CIMultiDictProxy

from gateway.emulator.container import Answer, Failure
from gateway.emulator.endpoint import SUCCESS, Endpoint, ThrottledError
from gateway.emulator.instance import Outcome
from gateway.emulator.refusals import AccountRefusals, RefusedError, invalid, throttled

VARIANT = "AllTraffic"
"""The one production variant of every endpoint."""

FORWARDED = (
    "Content-Type",
    "Accept",
    "X-Amzn-SageMaker-Custom-Attributes",
    "X-Amzn-SageMaker-Target-Model",
    "X-Amzn-SageMaker-Target-Variant",
    "X-Amzn-SageMaker-Target-Container-Hostname",
    "X-Amzn-SageMaker-Inference-Id",
    "X-Amzn-SageMaker-Enable-Explanations",
    "X-Amzn-SageMaker-Inference-Component",
    "X-Amzn-SageMaker-Session-Id",
    "X-Amzn-SageMaker-Prefix-Aware-Id",
)
"""The headers of InvokeEndpoint; SageMaker strips all others."""

RETURNED = (
    "Content-Type",
    "X-Amzn-SageMaker-Custom-Attributes",
    "X-Amzn-SageMaker-New-Session-Id",
    "X-Amzn-SageMaker-Closed-Session-Id",
)
"""The headers of a container's answer that reach the caller."""

MAX_HEADER_CHARACTERS = 1024


class Runtime:
    """Answers invocations of the endpoints it knows."""

    def __init__(self, endpoints: Mapping[str, Endpoint], refusals: AccountRefusals) -> None:
        self._endpoints = endpoints
        self._refusals = refusals

    def max_body_bytes(self, name: str) -> int | None:
        """The limit for request bodies of an endpoint, or None when there is no such endpoint."""
        endpoint = self._endpoints.get(name)
        return None if endpoint is None else endpoint.settings.max_body_bytes

    async def invoke(
        self, name: str, headers: CIMultiDictProxy[str], body: bytes, *, arrived_at: float
    ) -> web.Response:
        """InvokeEndpoint.

        Args:
            name: The endpoint's name as it stands in the path.
            headers: All headers of the caller.
            body: The body as it came.
            arrived_at: When the call arrived, in seconds of the event loop's clock.

        Raises:
            RefusedError: In place of the container's answer.
        """
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise RefusedError(self._refusals.no_such_endpoint(name))
        try:
            outcome = await endpoint.call(_forwarded(headers), body, arrived_at=arrived_at)
        except ThrottledError:
            raise RefusedError(throttled()) from None
        return self._response(name, outcome)

    def _response(self, name: str, outcome: Outcome) -> web.Response:
        if outcome is Failure.TIMED_OUT:
            raise RefusedError(self._refusals.container_timed_out(name))
        if outcome is Failure.LOST:
            raise RefusedError(self._refusals.container_lost(name))
        if not isinstance(outcome, Answer):
            raise RefusedError(self._refusals.container_cut(name))
        if outcome.status not in SUCCESS:
            raise RefusedError(self._refusals.container_said_no(name, outcome.status, outcome.body))
        headers = {key: value for key in RETURNED if (value := outcome.headers.get(key)) is not None}
        headers["x-Amzn-Invoked-Production-Variant"] = VARIANT
        return web.Response(body=outcome.body, headers=headers)


def _forwarded(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in FORWARDED:
        value = headers.get(key)
        if value is None:
            continue
        if len(value) > MAX_HEADER_CHARACTERS or not (value.isascii() and value.isprintable()):
            limit = f"at most {MAX_HEADER_CHARACTERS} visible US-ASCII characters"
            raise RefusedError(invalid(f"1 validation error detected: the header {key} must be {limit}"))
        found[key] = value
    return found
