"""The operations of the SageMaker Runtime API: paths, headers either way, error codes, what a failure means.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Operations_Amazon_SageMaker_Runtime.html
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import partial

from gateway.errors import BAD_ENCODING, BAD_REQUEST, Refusal
from gateway.memo import memo
from gateway.models import Answer, Header, Headers, Operation, Unseen

_NAME = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9])*")
_COMPONENT = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_PRINTABLE = re.compile(r"[!-~][ -~]*")
_NOT_EMPTY = re.compile(r".+")
_FIELD = re.compile(r"[\t -~]*")

REMEMBERED, LONGEST_REMEMBERED = 256, 64
"""How many names of headers, as they are spelt, need to be looked at only once; and how long these may be."""

_CONTENT_TYPE = Header("Content-Type", 1024)
_CONTENT_ENCODING = Header("Content-Encoding", 1024)  # it is no header of SageMaker's, but means something
_ACCEPT = Header("Accept", 1024)
_ACCEPT_OF_PARTS = Header("X-Amzn-SageMaker-Accept", 1024)
_CUSTOM_ATTRIBUTES = Header("X-Amzn-SageMaker-Custom-Attributes", 1024)
_INFERENCE_ID = Header("X-Amzn-SageMaker-Inference-Id", 64, _PRINTABLE)
_TARGETS = (
    Header("X-Amzn-SageMaker-Target-Variant", 63, _NAME),
    Header("X-Amzn-SageMaker-Target-Container-Hostname", 63, _NAME),
    Header("X-Amzn-SageMaker-Inference-Component", 63, _COMPONENT),
    Header("X-Amzn-SageMaker-Prefix-Aware-Id", 64, _NOT_EMPTY),
)
_ANY_ANSWER = frozenset(
    {
        "content-type",
        "retry-after",
        "x-amz-retry-after",
        "x-amzn-errortype",
        "x-amzn-invoked-production-variant",
        "x-amzn-requestid",
        "x-amzn-sagemaker-custom-attributes",
    }
)


def _by_name(*headers: Header) -> dict[str, Header]:
    return {header.name.lower(): header for header in headers}


INVOKE_ENDPOINT = Operation(
    name="InvokeEndpoint",
    suffix="invocations",
    request_headers=_by_name(
        _CONTENT_TYPE,
        _ACCEPT,
        _CUSTOM_ATTRIBUTES,
        _INFERENCE_ID,
        *_TARGETS,
        Header("X-Amzn-SageMaker-Target-Model", 1024, _PRINTABLE),
        Header("X-Amzn-SageMaker-Enable-Explanations", 64, _NOT_EMPTY),
        Header("X-Amzn-SageMaker-Session-Id", 256, re.compile(rf"NEW_SESSION|{_NAME.pattern}")),
    ),
    response_headers=_ANY_ANSWER | {"x-amzn-sagemaker-closed-session-id", "x-amzn-sagemaker-new-session-id"},
)

INVOKE_ENDPOINT_WITH_RESPONSE_STREAM = Operation(
    name="InvokeEndpointWithResponseStream",
    suffix="invocations-response-stream",
    request_headers=_by_name(
        _CONTENT_TYPE,
        _ACCEPT_OF_PARTS,
        _CUSTOM_ATTRIBUTES,
        _INFERENCE_ID,
        *_TARGETS,
        Header("X-Amzn-SageMaker-Session-Id", 256, _NAME),
    ),
    response_headers=_ANY_ANSWER | {"x-amzn-sagemaker-content-type"},
    streams=True,
)

INVOKE_ENDPOINT_ASYNC = Operation(
    name="InvokeEndpointAsync",
    suffix="async-invocations",
    request_headers=_by_name(
        Header("X-Amzn-SageMaker-Content-Type", 1024),
        _ACCEPT_OF_PARTS,
        _CUSTOM_ATTRIBUTES,
        _INFERENCE_ID,
        Header("X-Amzn-SageMaker-InputLocation", 1024, re.compile(r"(?:https|s3)://[^/]+/?.*")),
        Header("X-Amzn-SageMaker-S3OutputPathExtension", 512, re.compile(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]+")),
        Header("X-Amzn-SageMaker-Filename", 32, re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9\-_.]*")),
        Header("X-Amzn-SageMaker-RequestTTLSeconds", 5, re.compile(r"[0-9]+")),
        Header("X-Amzn-SageMaker-InvocationTimeoutSeconds", 4, re.compile(r"[0-9]+")),
    ),
    response_headers=_ANY_ANSWER | {"x-amzn-sagemaker-outputlocation", "x-amzn-sagemaker-failurelocation"},
    takes_permit=False,
    max_body_bytes=128_000,
)

OPERATIONS = (INVOKE_ENDPOINT, INVOKE_ENDPOINT_WITH_RESPONSE_STREAM, INVOKE_ENDPOINT_ASYNC)


def _mean(allowed: Mapping[str, Header], name: str) -> Header | None:
    lower = name.lower()
    return _CONTENT_ENCODING if lower == "content-encoding" else allowed.get(lower)


_MEANT = {
    operation.name: memo(
        partial(_mean, operation.request_headers), REMEMBERED, keeps=lambda name, _: len(name) <= LONGEST_REMEMBERED
    )
    for operation in OPERATIONS
}
"""By operation, what a caller's headers are, by their names as they come; None for those that stay behind."""

OTHER_ERROR = "_other"
ERROR_CODES = (
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InternalDependencyException",
    "InternalFailure",
    "InternalStreamFailure",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "ModelError",
    "ModelNotReadyException",
    "ModelStreamError",
    "RequestEntityTooLargeException",
    "RequestExpired",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationError",
    OTHER_ERROR,
)
"""The values of the metric label `error`: the modelled errors of the API, and AWS's common ones."""

_KNOWN_ERRORS = frozenset(ERROR_CODES)
_FIRST_ERROR_STATUS = 300
_MODEL_ERROR_STATUS = 424
_LONGEST_ERROR_BYTES = 1_048_576
_KEYS_REFUSED_STATUS = 403

_UNSEEN = {
    (400, "ThrottlingException"): Unseen.THROTTLED,
    (429, "ThrottlingException"): Unseen.THROTTLED,
    (429, "ModelNotReadyException"): Unseen.NOT_READY,
}
"""Answers that SageMaker gives before a container is asked.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html#API_runtime_InvokeEndpoint_Errors
"""

_NO_CAPACITY = re.compile(r"Inference Component( [\w-]+)? has no capacity\b")
"""How SageMaker says that an inference component is scaled to zero: in a ValidationError, as if it were the caller's.

https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-zero-instances.html
"""

_KEYS_REFUSED = frozenset(
    {"ExpiredTokenException", "MissingAuthenticationTokenException", "UnrecognizedClientException"}
)
"""Errors that other keys may mend."""


def request_headers(operation: Operation, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers of a caller that go to SageMaker; all others, known or not, stay behind.

    Raises:
        Refusal: SageMaker would not take a value, or the body is encoded in a way that it does not undo.
    """
    passed: dict[str, str] = {}
    meant = _MEANT[operation.name]
    for name, value in headers:
        header = meant(name)
        if header is None:
            continue
        if header is _CONTENT_ENCODING:
            if value.lower() != "identity":
                raise Refusal(
                    BAD_ENCODING, "Content-Encoding is not understood by SageMaker: send the body as it is, without it."
                )
        elif header.name in passed:
            raise Refusal(BAD_REQUEST, f"{header.name} is given twice: give it once.")
        else:
            _check(header, value)
            passed[header.name] = value
    return tuple(passed.items())


def taken(operation: Operation, headers: Mapping[str, str]) -> Headers:
    """Those of the gateway's own headers that the operation has."""
    return tuple((name, value) for name, value in headers.items() if name.lower() in operation.request_headers)


def error_code(answer: Answer) -> str | None:
    """The error code of an answer of SageMaker, from the closed list; None where it is no error."""
    if answer.status < _FIRST_ERROR_STATUS:
        return None
    # "Code", "Code:uri" and "namespace#Code" are all in use.
    value = _header(answer, "x-amzn-errortype").partition(":")[0].rpartition("#")[2]
    return listed(value)


def listed(code: str) -> str:
    """The code as a metric label: from the closed list."""
    return code if code in _KNOWN_ERRORS else OTHER_ERROR


def request_id(answer: Answer) -> str | None:
    """SageMaker's id of the call."""
    return _header(answer, "x-amzn-requestid") or None


def unseen(answer: Answer) -> Unseen | None:
    """Why it is certain that no model saw the call; None where one may have, or where it was answered."""
    if answer.status < _FIRST_ERROR_STATUS:
        return None
    code = error_code(answer)
    # Only the beginning counts: further on SageMaker may quote its caller.
    if code == "ValidationError" and _NO_CAPACITY.match(str(_json(answer).get("Message"))):
        return Unseen.NO_CAPACITY
    return _UNSEEN.get((answer.status, code or ""))


def lacks_capacity(answer: Answer) -> bool:
    """Whether the fleet is scaled to zero."""
    # Asked of every answer, of which most are no errors: there the enumeration need not be looked into.
    return answer.status >= _FIRST_ERROR_STATUS and unseen(answer) is Unseen.NO_CAPACITY


def keys_refused(answer: Answer) -> bool:
    """Whether SageMaker takes the keys for expired, or does not know them (any more)."""
    return answer.status == _KEYS_REFUSED_STATUS and error_code(answer) in _KEYS_REFUSED


def may_still_run(answer: Answer) -> bool:
    """Whether SageMaker gave the call up while its container may go on: ModelError with OriginalStatusCode 0."""
    if answer.status != _MODEL_ERROR_STATUS:
        return False
    status = _json(answer).get("OriginalStatusCode")
    return type(status) is int and status == 0


def _check(header: Header, value: str) -> None:
    if len(value) > header.max_length:
        raise Refusal(
            BAD_REQUEST, f"{header.name} has {len(value)} characters: SageMaker takes {header.max_length} at most."
        )
    if not value.isascii() or (not value.isprintable() and not _FIELD.fullmatch(value)):
        raise Refusal(BAD_REQUEST, f"{header.name} may hold printable ASCII only.")
    if header.pattern is not None and not header.pattern.fullmatch(value):
        raise Refusal(BAD_REQUEST, f"{header.name} has to match the pattern {header.pattern.pattern}")


def _json(answer: Answer) -> Mapping[str, object]:
    """The members of an error; empty where it has none."""
    if len(answer.body) > _LONGEST_ERROR_BYTES:
        return {}
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _header(answer: Answer, name: str) -> str:
    for key, value in answer.headers:
        if key.lower() == name:
            return value
    return ""
