"""Refusals: their form on the wire, and what AWS SDKs make of it."""

import json
import logging
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import get_session

from gateway import errors
from gateway.errors import PROXY_NAME, REASONS, ROWS, Refusal, Row

PROXY_ERROR_TYPES = {
    "connection_limit_reached",
    "connection_read_timeout",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_write_timeout",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "destination_not_found",
    "destination_unavailable",
    "dns_error",
    "dns_timeout",
    "http_protocol_error",
    "http_request_denied",
    "http_request_error",
    "http_response_body_size",
    "http_response_content_coding",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_incomplete",
    "http_response_timeout",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_upgrade_failed",
    "proxy_configuration_error",
    "proxy_internal_error",
    "proxy_internal_response",
    "proxy_loop_detected",
    "tls_alert_received",
    "tls_certificate_error",
    "tls_protocol_error",
}
"""The registry of RFC 9209, section 2.3."""

TABLE = {
    "UNKNOWN_ROUTE": ("unknown_route", 404, "ValidationError", False),
    "DENIED": ("denied", 403, "AccessDeniedException", False),
    "BAD_REQUEST": ("bad_request", 400, "ValidationError", False),
    "BAD_METHOD": ("bad_request", 405, "ValidationError", False),
    "BAD_ENCODING": ("bad_request", 415, "ValidationError", False),
    "BAD_EXPECTATION": ("bad_request", 417, "ValidationError", False),
    "BAD_CODING": ("bad_request", 501, "ValidationError", False),
    "BAD_VERSION": ("bad_request", 505, "ValidationError", False),
    "TOO_LARGE": ("too_large", 413, "RequestEntityTooLargeException", False),
    "BODY_TIMEOUT": ("body_timeout", 408, "RequestTimeoutException", False),
    "QUEUE_FULL": ("queue_full", 429, "ThrottlingException", True),
    "QUEUE_TIMEOUT": ("queue_timeout", 429, "ThrottlingException", True),
    "LONG_WAIT": ("long_wait", 429, "ThrottlingException", True),
    "BUFFER_FULL": ("buffer_full", 429, "ThrottlingException", True),
    "CROWDED": ("crowded", 503, "ServiceUnavailable", True),
    "DRAINING": ("draining", 503, "ServiceUnavailable", True),
    "NO_CAPACITY": ("no_capacity", 503, "ServiceUnavailable", True),
    "UNREACHABLE": ("unreachable", 503, "ServiceUnavailable", True),
    "CREDENTIALS": ("credentials", 503, "ServiceUnavailable", True),
    "TIMEOUT": ("timeout", 424, "ModelError", False),
    "BROKEN": ("broken", 424, "ModelError", False),
    "INTERNAL": ("internal", 500, "InternalFailure", False),
}
"""What the gateway promises of each refusal: reason, status, code, and whether it says when to come back."""

EVERY_ROW = pytest.mark.parametrize("row", [pytest.param(getattr(errors, name), id=name.lower()) for name in TABLE])


def raised_by_the_sdk(refusal: Refusal) -> tuple[ClientError, Any]:
    """What a real client of AWS's SDK, which tries once, raises on the refusal; and the client's own exceptions."""
    session = get_session()
    session.set_credentials("AKIAEXAMPLE", "secret")
    client = session.create_client(
        "sagemaker-runtime", region_name="eu-west-1", config=Config(retries={"total_max_attempts": 1})
    )

    def answer(request: AWSRequest, **_: object) -> AWSResponse:
        status, headers, body = refusal.wire("the-request")
        response = AWSResponse(request.url, status, {name.lower(): value for name, value in headers}, None)
        response._content = body
        return response

    client.meta.events.register("before-send.sagemaker-runtime", answer)
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName="any", Body=b"")
    return caught.value, client.exceptions


def test_the_table_is_the_promised_one() -> None:
    """Every row has the promised reason, status and code, and there is no other row."""
    rows = {name: getattr(errors, name) for name in TABLE}
    assert {
        name: (row.reason, row.status, row.code, row.retry_after is not None) for name, row in rows.items()
    } == TABLE
    assert tuple(rows.values()) == ROWS
    assert tuple(dict.fromkeys(reason for reason, *_ in TABLE.values())) == REASONS


def test_only_424_means_that_the_model_may_have_run() -> None:
    """SDKs retry 429 and 5xx by themselves: what may have run never has such a status, and never says "come back"."""
    may_have_run = {errors.TIMEOUT, errors.BROKEN}
    assert {row for row in ROWS if row.status == 424} == may_have_run
    assert {row for row in ROWS if row.code == "ModelError"} == may_have_run
    assert {row.status for row in ROWS if row.retry_after is not None} == {429, 503}


@EVERY_ROW
def test_a_refusal_has_the_form_that_aws_uses(row: Row) -> None:
    """Code and request id are headers, code and message are the body, and `Proxy-Status` names the gateway."""
    status, headers, body = Refusal(row, 'say "why"\n').wire("the-request")
    named = dict(headers)
    assert len(named) == len(headers)
    assert (status, named["x-amzn-ErrorType"], named["x-amzn-RequestId"]) == (row.status, row.code, "the-request")
    assert named["Content-Type"] == "application/json"
    document = json.loads(body)
    assert (document.pop("code"), document.pop("message")) == (row.code, 'say "why"\n')
    members = {"OriginalStatusCode": 0, "OriginalMessage": "", "LogStreamArn": ""} if row.status == 424 else {}
    assert document == {"Message": 'say "why"\n', **members}


@EVERY_ROW
def test_proxy_status_is_of_the_registry(row: Row) -> None:
    """The value is an item of RFC 9209 with an error type that the RFC registers."""
    name, _, parameter = dict(Refusal(row, "why").wire("id")[1])["Proxy-Status"].partition("; ")
    key, _, value = parameter.partition("=")
    assert (name, key, value in PROXY_ERROR_TYPES) == (PROXY_NAME, "error", True)


@EVERY_ROW
def test_the_sdk_raises_the_exception_of_the_code(row: Row) -> None:
    """A client that knows the code raises its own exception of it, with all members; else one that names it."""
    error, exceptions = raised_by_the_sdk(Refusal(row, "why", retry_after=7))
    assert error.response["Error"] == {"Code": row.code, "Message": "why"}
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == row.status
    assert error.response["ResponseMetadata"]["RequestId"] == "the-request"
    modelled = {"ValidationError", "ServiceUnavailable", "ModelError", "InternalFailure"}
    assert type(error) is (getattr(exceptions, row.code) if row.code in modelled else ClientError)
    if row.status == 424:
        assert (error.response["OriginalStatusCode"], error.response["OriginalMessage"]) == (0, "")


@pytest.mark.parametrize(
    ("seconds", "value"), [(0, "1"), (-3, "1"), (0.2, "1"), (1, "1"), (1.01, "2"), (29.5, "30"), (3600, "3600")]
)
def test_retry_after_is_a_whole_number_of_seconds_from_1_up(seconds: float, value: str) -> None:
    """Never 0, which would be an invitation to a tight loop, and never sooner than the given time."""
    headers = dict(Refusal(errors.QUEUE_FULL, "why", retry_after=seconds).wire("id")[1])
    assert headers["Retry-After"] == value


@EVERY_ROW
def test_retry_after_is_there_exactly_where_another_try_makes_sense(row: Row) -> None:
    """429 and 503 say when to come back, the others do not."""
    assert ("Retry-After" in dict(Refusal(row, "why").wire("id")[1])) == (row.status in (429, 503))


def test_405_names_the_methods_that_are_taken() -> None:
    """`Allow` is what a 405 has to have."""
    assert dict(Refusal(errors.BAD_METHOD, "why", allow="GET, HEAD").wire("id")[1])["Allow"] == "GET, HEAD"


def test_whatever_a_message_quotes_the_body_is_json() -> None:
    """Control characters and lone surrogates of a hostile caller cannot break it."""
    hostile = '\x00\x1b[31m"}\r\n\ud800é'
    body = Refusal(errors.BAD_REQUEST, hostile).wire("id")[2]
    assert (json.loads(body)["message"], body.isascii()) == (hostile, True)


def test_a_refusal_reads_as_its_message(caplog: pytest.LogCaptureFixture) -> None:
    """A refusal that ends up in a log says why."""
    logging.getLogger("test").warning("refused: %s", Refusal(errors.DRAINING, "the reason"))
    assert caplog.messages == ["refused: the reason"]
