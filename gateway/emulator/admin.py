"""What AWS does not have, under `/_emulator`: the counters, and the hands on the endpoints, unsigned."""

import base64
import dataclasses
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import unquote

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway.emulator.backlog import AsyncResults
from gateway.emulator.deployment import Deployment
from gateway.emulator.faults import Fault
from gateway.emulator.ledger import Ledger
from gateway.emulator.refusals import RefusedError, common, invalid
from gateway.emulator.settings import Seconds

KNOWN = (
    "GET /_emulator/endpoints",
    "POST /_emulator/reset",
    "GET /_emulator/async/INFERENCE-ID",
    "POST /_emulator/endpoints/NAME/scale",
    "POST /_emulator/endpoints/NAME/describe",
    "GET, POST and DELETE /_emulator/endpoints/NAME/faults",
)


Wanted = TypeVar("Wanted")


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Scaling(_Order):
    """How many instances an endpoint should have, and how much later a change is shown."""

    instances: int = Field(ge=0)
    describe_delay_seconds: Seconds = 0.0


class Describing(_Order):
    """Whether describing an endpoint is refused."""

    throttled: bool = False
    denied: bool = False


class Admin:
    """Answers the requests under `/_emulator`."""

    def __init__(
        self,
        deployments: Mapping[str, Deployment],
        ledgers: Mapping[str, Ledger],
        results: AsyncResults,
    ) -> None:
        self._deployments = deployments
        self._results = results
        self._ledgers = ledgers

    def answer(self, method: str, path: list[str], body: bytes) -> web.Response | None:
        """The answer to a request, or None when there is no such thing.

        Args:
            method: The HTTP method.
            path: What follows `/_emulator/`, cut at the slashes.
            body: The body as it came.

        Raises:
            RefusedError: The endpoint is unknown, or the body is not what it should be.
        """
        match method, path:
            case "GET", ["endpoints"]:
                counters = {name: dataclasses.asdict(ledger.counters()) for name, ledger in self._ledgers.items()}
                return web.json_response(counters)
            case "POST", ["reset"]:
                for ledger in self._ledgers.values():
                    ledger.reset()
                return web.Response(status=204)
            case (_, ["endpoints", name, what]):
                return self._on_endpoint(method, name, what, body)
            case "GET", ["async", inference_id]:
                return self._async_result(unquote(inference_id))
        return None

    def _async_result(self, inference_id: str) -> web.Response:
        result = self._results.get(inference_id)
        if result is None:
            raise RefusedError(common(404, "ResourceNotFound", f"there is no asynchronous call {inference_id}"))
        return web.json_response({**dataclasses.asdict(result), "body": base64.b64encode(result.body).decode()})

    def _on_endpoint(self, method: str, name: str, what: str, body: bytes) -> web.Response | None:
        match method, what:
            case "POST", "scale":
                deployment, scaling = self._deployment(name), parsed(Scaling, body)
                deployment.begin_scaling(scaling.instances, describe_delay_seconds=scaling.describe_delay_seconds)
                return web.json_response(scaling.model_dump(), status=202)
            case "POST", "describe":
                deployment, switches = self._deployment(name), parsed(Describing, body)
                deployment.describe_throttled, deployment.describe_denied = switches.throttled, switches.denied
                return web.json_response(switches.model_dump())
            case (("GET" | "POST" | "DELETE"), "faults"):
                faults = self._deployment(name).endpoint.faults
                if method == "POST":
                    faults.inject(*parsed(list[Fault], body))
                elif method == "DELETE":
                    faults.clear()
                return web.json_response([fault.model_dump() for fault in faults.pending])
        return None

    def _deployment(self, name: str) -> Deployment:
        deployment = self._deployments.get(name)
        if deployment is None:
            known = ", ".join(self._deployments)
            raise RefusedError(common(404, "ResourceNotFound", f"there is no endpoint {name}, only {known}"))
        return deployment


def parsed(wanted: type[Wanted], body: bytes) -> Wanted:
    """What a body says, as JSON.

    Raises:
        RefusedError: It is not what was wanted; the message lists all mistakes.
    """
    try:
        return TypeAdapter(wanted).validate_json(body)
    except ValidationError as error:
        mistakes = (f"{'.'.join(map(str, each['loc'])) or 'the body'}: {each['msg']}" for each in error.errors())
        raise RefusedError(invalid("; ".join(mistakes))) from None
