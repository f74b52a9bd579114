"""Every way to be refused: status, code, metric reason and retry hint. A new refusal is one row."""

import json
from dataclasses import dataclass
from math import ceil

PROXY_NAME = "sagemaker-gateway"
"""What the gateway calls itself in `Proxy-Status` (RFC 9209) and `Server`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table of refusals.

    Attributes:
        reason: label of `refusals_total`, and field of the access log.
        status: HTTP status. 429 and 503 mean that no model saw the call; 424 means that one may have run.
        code: `x-amzn-ErrorType`, from which AWS SDKs raise their own exception.
        error: proxy error type of RFC 9209, section 2.3, for `Proxy-Status`.
        retry_after: seconds after which another try makes sense; None where it makes none.
    """

    reason: str
    status: int
    code: str
    error: str
    retry_after: float | None = None


UNKNOWN_ROUTE = Row("unknown_route", 404, "ValidationError", "destination_not_found")
DENIED = Row("denied", 403, "AccessDeniedException", "http_request_denied")
BAD_REQUEST = Row("bad_request", 400, "ValidationError", "http_request_error")
BAD_METHOD = Row("bad_request", 405, "ValidationError", "http_request_error")
BAD_ENCODING = Row("bad_request", 415, "ValidationError", "http_request_error")
BAD_EXPECTATION = Row("bad_request", 417, "ValidationError", "http_request_error")
BAD_CODING = Row("bad_request", 501, "ValidationError", "http_request_error")
BAD_VERSION = Row("bad_request", 505, "ValidationError", "http_request_error")
TOO_LARGE = Row("too_large", 413, "RequestEntityTooLargeException", "http_request_error")
BODY_TIMEOUT = Row("body_timeout", 408, "RequestTimeoutException", "http_request_error")
QUEUE_FULL = Row("queue_full", 429, "ThrottlingException", "connection_limit_reached", 1)
QUEUE_TIMEOUT = Row("queue_timeout", 429, "ThrottlingException", "connection_limit_reached", 1)
LONG_WAIT = Row("long_wait", 429, "ThrottlingException", "connection_limit_reached", 1)
BUFFER_FULL = Row("buffer_full", 429, "ThrottlingException", "connection_limit_reached", 1)
CROWDED = Row("crowded", 503, "ServiceUnavailable", "connection_limit_reached", 1)
DRAINING = Row("draining", 503, "ServiceUnavailable", "destination_unavailable", 1)
NO_CAPACITY = Row("no_capacity", 503, "ServiceUnavailable", "destination_unavailable", 30)
UNREACHABLE = Row("unreachable", 503, "ServiceUnavailable", "destination_unavailable", 5)
CREDENTIALS = Row("credentials", 503, "ServiceUnavailable", "proxy_configuration_error", 30)
TIMEOUT = Row("timeout", 424, "ModelError", "http_response_timeout")
BROKEN = Row("broken", 424, "ModelError", "http_response_incomplete")
INTERNAL = Row("internal", 500, "InternalFailure", "proxy_internal_error")

ROWS = (
    UNKNOWN_ROUTE,
    DENIED,
    BAD_REQUEST,
    BAD_METHOD,
    BAD_ENCODING,
    BAD_EXPECTATION,
    BAD_CODING,
    BAD_VERSION,
    TOO_LARGE,
    BODY_TIMEOUT,
    QUEUE_FULL,
    QUEUE_TIMEOUT,
    LONG_WAIT,
    BUFFER_FULL,
    CROWDED,
    DRAINING,
    NO_CAPACITY,
    UNREACHABLE,
    CREDENTIALS,
    TIMEOUT,
    BROKEN,
    INTERNAL,
)
REASONS = tuple(dict.fromkeys(row.reason for row in ROWS))


class Refusal(Exception):  # noqa: N818 - it is an answer, not a mishap
    """The gateway's own answer, in place of SageMaker's.

    Args:
        row: which refusal.
        message: what was wrong, where, what was expected, what to do; for the caller's eyes.
        retry_after: seconds until another try makes sense, where more is known than the row's hint.
        allow: the methods that the path takes, for 405.
    """

    def __init__(self, row: Row, message: str, *, retry_after: float | None = None, allow: str | None = None) -> None:
        super().__init__(message)
        self.row = row
        self.message = message
        self.retry_after = row.retry_after if retry_after is None else retry_after
        self.allow = allow

    def fresh(self) -> "Refusal":
        """The same, as if it had not been raised yet: its traceback would keep alive what the request held."""
        return Refusal(self.row, self.message, retry_after=self.retry_after, allow=self.allow)

    def forget(self) -> None:
        """Let go of the frames through which it came: one of them has the task that has this, and so the body."""
        for error in (self, self.__cause__, self.__context__):
            if error is not None:
                error.__traceback__ = None

    def wire(self, request_id: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body in the form that AWS SDKs read, with all members of the modelled errors."""
        row = self.row
        body: dict[str, object] = {"code": row.code, "message": self.message, "Message": self.message}
        if row.code == "ModelError":
            body |= {"OriginalStatusCode": 0, "OriginalMessage": "", "LogStreamArn": ""}
        headers = [
            ("Content-Type", "application/json"),
            ("x-amzn-ErrorType", row.code),
            ("x-amzn-RequestId", request_id),
            ("Proxy-Status", f"{PROXY_NAME}; error={row.error}"),
        ]
        if self.retry_after is not None:
            headers.append(("Retry-After", str(max(1, ceil(self.retry_after)))))
        if self.allow is not None:
            headers.append(("Allow", self.allow))
        return row.status, headers, json.dumps(body).encode()


def stopped() -> Refusal:
    """What becomes of a call that is cut off at the end."""
    return Refusal(BROKEN, "The gateway was stopped. The model may have run.")


def leaving() -> Refusal:
    """What becomes of a request that comes too late, or is cut off before its call."""
    return Refusal(DRAINING, "The gateway is shutting down: the call was not sent, try again elsewhere.")


def failed() -> Refusal:
    """What becomes of a request on which we have a bug."""
    return Refusal(INTERNAL, "The gateway failed on this request; its log says why.")


def keyless() -> Refusal:
    """What becomes of a call that there is nothing to sign with."""
    return Refusal(
        CREDENTIALS, "The gateway has no usable AWS credentials. No model saw the call; its operators see why."
    )
