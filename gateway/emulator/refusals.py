"""Every error reply in the exact shape in which SageMaker sends it: status, error type, body.

Modelled errors: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html; the texts
and the extra key `ErrorCode` are quoted from real replies.
"""

import json
from dataclasses import dataclass

ERROR_NAMESPACE = "http://internal.amazon.com/coral/com.amazon.sagemaker.runtime/"
SERVER_ERRORS = 500
TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)
NO_CAPACITY = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if "
    "configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
)

COMPONENT_MISSING = (
    "Inference Component Name header is required for endpoints to which you plan to deploy inference components. "
    "Please include Inference Component Name header or consider using SageMaker models."
)
COMPONENT_NOT_ALLOWED = (
    "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference "
    "components. Please remove Inference Component Name header or consider using inference components."
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error reply; `error_type` is the header `x-amzn-ErrorType`, from which SDKs choose the exception."""

    status: int
    body: str
    error_type: str | None = None
    content_type: str = "application/json"


class RefusedError(Exception):
    """A request is answered with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.body)
        self.refusal = refusal


def common(status: int, code: str, message: str | None) -> Refusal:
    """An error common to all AWS services, such as a bad signature; its body has nothing but the message."""
    return Refusal(status, _json({"message": message}), f"{code}:{ERROR_NAMESPACE}")


def modelled(status: int, code: str, message: str) -> Refusal:
    """An error that the API models with nothing but a message."""
    return Refusal(status, _json({"Message": message}), f"{code}:{ERROR_NAMESPACE}")


def throttled() -> Refusal:
    """The runtime's throttling: status 400, and the message is null."""
    return common(400, "ThrottlingException", None)


def too_large(limit: int) -> Refusal:
    """A body over the limit, refused by the front end in plain text and without an error type."""
    return Refusal(413, f"HTTP content length exceeded {limit} bytes.", content_type="text/plain")


def invalid(message: str, *, error_code: str = "VALIDATION_ERROR") -> Refusal:
    """ValidationError: the request itself is wrong; nothing was sent to a container."""
    body = _json({"ErrorCode": error_code, "Message": message})
    return Refusal(400, body, f"ValidationError:{ERROR_NAMESPACE}")


def no_capacity() -> Refusal:
    """ValidationError, and yet no fault of the caller's: the endpoint is scaled to zero."""
    return invalid(NO_CAPACITY)


def component_missing() -> Refusal:
    """ValidationError: an endpoint with inference components was called without a name of one."""
    return invalid(COMPONENT_MISSING, error_code="INFERENCE_COMPONENT_NAME_MISSING")


def component_not_allowed() -> Refusal:
    """ValidationError: an endpoint without inference components was called with a name of one."""
    return invalid(COMPONENT_NOT_ALLOWED)


def expired_token() -> Refusal:
    """The key pair was good once; a caller that gets itself new ones may try again."""
    return common(403, "ExpiredTokenException", "The security token included in the request is expired")


def control_plane(code: str, message: str, *, status: int = 400) -> Refusal:
    """An error of the control plane (json 1.1), which names the code in the body."""
    return Refusal(status, _json({"__type": code, "message": message}), code, "application/x-amz-json-1.1")


def by_control_plane(refusal: Refusal) -> Refusal:
    """An error common to all AWS services, as the control plane sends it."""
    if refusal.error_type is None:
        return refusal
    code = refusal.error_type.partition(":")[0]
    return control_plane(code, json.loads(refusal.body)["message"], status=refusal.status)


class AccountRefusals:
    """The refusals that name the account, the region and the endpoint's log."""

    def __init__(self, *, region: str, account_id: str) -> None:
        self._region = region
        self._account_id = account_id

    def no_such_endpoint(self, name: str) -> Refusal:
        """The endpoint does not exist."""
        message = f"Endpoint {name} of account {self._account_id} not found."
        return invalid(message, error_code="NO_SUCH_ENDPOINT")

    def container_said_no(self, endpoint: str, status: int, body: bytes) -> Refusal:
        """The container answered anything but 2xx; its body is text for people."""
        text = body.decode("utf-8", errors="replace")
        return self._model_error(endpoint, status, text, f' with message "{text}".')

    def container_cut(self, endpoint: str) -> Refusal:
        """The container's answer ended early, or was larger than allowed."""
        return self._model_error(endpoint, SERVER_ERRORS, "", " and could not load the entire response body.")

    def container_timed_out(self, endpoint: str) -> Refusal:
        """The container did not answer within the time limit; it may still be at it."""
        return self._model_error(endpoint, 0, TIMED_OUT, f' with message "{TIMED_OUT}".')

    def container_lost(self, endpoint: str) -> Refusal:
        """The connection to the container failed."""
        text = (
            f"Amazon SageMaker could not get a response from the {endpoint} endpoint. This can occur when CPU or "
            "memory utilization is high. To check your utilization, see Amazon CloudWatch. To fix this problem, use an "
            "instance type with more CPU capacity or memory."
        )
        return self._model_error(endpoint, 0, text, f' with message "{text}".')

    def _model_error(self, endpoint: str, status: int, original: str, what: str) -> Refusal:
        client = 0 < status < SERVER_ERRORS
        region, group = self._region, f"/aws/sagemaker/Endpoints/{endpoint}"
        console = (
            f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={group}"
        )
        body = {
            "ErrorCode": "CLIENT_ERROR_FROM_MODEL" if client else "INTERNAL_FAILURE_FROM_MODEL",
            "LogStreamArn": f"arn:aws:logs:{region}:{self._account_id}:log-group:{group}",
            "Message": f"Received {'client' if client else 'server'} error ({status}) from primary{what} "
            f"See {console} in account {self._account_id} for more information.",
            "OriginalMessage": original,
            "OriginalStatusCode": status,
        }
        return Refusal(424, _json(body), f"ModelError:{ERROR_NAMESPACE}")


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
