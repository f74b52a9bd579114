"""What AWS does not have, under `/_emulator`: the counters, and the hands on endpoints and keys, unsigned."""

import base64
import dataclasses
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import unquote

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway.emulator.backlog import AsyncResults
from gateway.emulator.deployment import Deployment
from gateway.emulator.endpoint import Endpoint
from gateway.emulator.faults import Fault
from gateway.emulator.ledger import Ledger
from gateway.emulator.refusals import RefusedError, common, invalid
from gateway.emulator.settings import CredentialSettings, Seconds
from gateway.emulator.signatures import Verifier

KNOWN = (
    "GET /_emulator/endpoints",
    "POST /_emulator/reset",
    "GET /_emulator/async/INFERENCE-ID",
    "POST /_emulator/endpoints/NAME/scale",
    "POST /_emulator/endpoints/NAME/describe",
    "GET, POST and DELETE /_emulator/endpoints/NAME/faults",
    "POST /_emulator/endpoints/NAME/VARIANT-OR-COMPONENT/scale",
    "GET and POST /_emulator/credentials",
    "POST /_emulator/credentials/ACCESS-KEY-ID/expire",
)

Wanted = TypeVar("Wanted")
Found = TypeVar("Found")


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Scaling(_Order):
    """How many instances a fleet should have, and how much later a change is shown."""

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
        endpoints: Mapping[str, Endpoint],
        deployments: Mapping[str, Deployment],
        ledgers: Mapping[str, Ledger],
        results: AsyncResults,
        verifier: Verifier,
    ) -> None:
        self._endpoints = endpoints
        self._deployments = deployments
        self._ledgers = ledgers
        self._results = results
        self._verifier = verifier

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
                return self._reset()
            case "GET", ["async", inference_id]:
                return self._async_result(unquote(inference_id))
            case _, ["credentials", *rest]:
                return self._on_credentials(method, rest, body)
        return self._on_endpoint(method, path, body)

    def _reset(self) -> web.Response:
        self._verifier.reset()
        for ledger in self._ledgers.values():
            ledger.reset()
        return web.Response(status=204)

    def _async_result(self, inference_id: str) -> web.Response:
        result = self._results.get(inference_id)
        if result is None:
            raise RefusedError(common(404, "ResourceNotFound", f"there is no asynchronous call {inference_id}"))
        return web.json_response({**dataclasses.asdict(result), "body": base64.b64encode(result.body).decode()})

    def _scale(self, name: str, body: bytes) -> web.Response:
        deployment, scaling = _known("fleet", name, self._deployments), parsed(Scaling, body)
        deployment.begin_scaling(scaling.instances, describe_delay_seconds=scaling.describe_delay_seconds)
        return web.json_response(scaling.model_dump(), status=202)

    def _on_endpoint(self, method: str, path: list[str], body: bytes) -> web.Response | None:
        match method, path:
            case "POST", ["endpoints", *name, "scale"]:
                return self._scale("/".join(name), body)
            case "POST", ["endpoints", name, "describe"]:
                endpoint, switches = _known("endpoint", name, self._endpoints), parsed(Describing, body)
                endpoint.describe_throttled, endpoint.describe_denied = switches.throttled, switches.denied
                return web.json_response(switches.model_dump())
            case (("GET" | "POST" | "DELETE"), ["endpoints", name, "faults"]):
                faults = _known("endpoint", name, self._endpoints).faults
                if method == "POST":
                    faults.inject(*parsed(list[Fault], body))
                elif method == "DELETE":
                    faults.clear()
                return web.json_response([fault.model_dump() for fault in faults.pending])
        return None

    def _on_credentials(self, method: str, path: list[str], body: bytes) -> web.Response | None:
        match method, path:
            case "GET", []:
                pass
            case "POST", []:
                self._verifier.accept(parsed(CredentialSettings, body))
            case "POST", [access_key_id, "expire"]:
                _known("key pair", access_key_id, self._verifier.counters())
                self._verifier.expire(access_key_id)
            case _:
                return None
        return web.json_response({name: dataclasses.asdict(each) for name, each in self._verifier.counters().items()})


def _known(kind: str, name: str, among: Mapping[str, Found]) -> Found:
    """What has this name; the refusal of one that is unknown tells those that are not."""
    if name not in among:
        raise RefusedError(common(404, "ResourceNotFound", f"there is no {kind} {name}, only {', '.join(among)}"))
    return among[name]


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
