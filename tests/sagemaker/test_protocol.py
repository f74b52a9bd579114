"""The protocol: which headers pass and which values they may have, error codes, and what a failure means."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BAD_ENCODING, BAD_REQUEST, Refusal
from gateway.models import Answer, Headers
from gateway.sagemaker.protocol import (
    ERROR_CODES,
    INVOKE_ENDPOINT,
    OPERATIONS,
    OTHER_ERROR,
    error_code,
    may_still_run,
    request_headers,
    request_id,
)

LONGEST = {
    "Content-Type": 1024,
    "Accept": 1024,
    "X-Amzn-SageMaker-Custom-Attributes": 1024,
    "X-Amzn-SageMaker-Target-Model": 1024,
    "X-Amzn-SageMaker-Target-Variant": 63,
    "X-Amzn-SageMaker-Target-Container-Hostname": 63,
    "X-Amzn-SageMaker-Inference-Id": 64,
    "X-Amzn-SageMaker-Enable-Explanations": 64,
    "X-Amzn-SageMaker-Inference-Component": 63,
    "X-Amzn-SageMaker-Session-Id": 256,
    "X-Amzn-SageMaker-Prefix-Aware-Id": 64,
}
"""InvokeEndpoint's request headers as they are spelled on the wire, and the longest value of each."""

NAMES = sorted(LONGEST)
EVERY_HEADER = pytest.mark.parametrize("name", NAMES)


def passed(*headers: tuple[str, str]) -> list[tuple[str, str]]:
    """What goes to SageMaker."""
    return list(request_headers(INVOKE_ENDPOINT, headers))


def refused(*headers: tuple[str, str]) -> Refusal:
    """Why nothing does."""
    with pytest.raises(Refusal) as caught:
        passed(*headers)
    return caught.value


def answer(status: int, headers: Headers = (), body: bytes = b"") -> Answer:
    """SageMaker's answer."""
    return Answer(status, headers, body, 0.1)


def members(shape: str) -> Mapping[str, Any]:
    """The members of a shape of SageMaker's model that stand in headers, by their name on the wire."""
    model = get_session().get_service_model("sagemaker-runtime").shape_for(shape)
    return {
        member.serialization["name"]: member
        for member in model.members.values()
        if member.serialization.get("location") == "header"
    }


def test_the_list_of_request_headers_is_that_of_the_model() -> None:
    """Every header that AWS's model names is taken, in its spelling, and no other."""
    ours = {header.name for header in INVOKE_ENDPOINT.request_headers.values()}
    assert ours == set(LONGEST) == set(members("InvokeEndpointInput"))
    assert {name: header.name.lower() for name, header in INVOKE_ENDPOINT.request_headers.items()} == {
        name.lower(): name.lower() for name in LONGEST
    }


def test_the_list_of_response_headers_holds_that_of_the_model() -> None:
    """Every header that AWS's model names comes back, with the request id, the error type and the retry hints."""
    model = {name.lower() for name in members("InvokeEndpointOutput")}
    assert model <= INVOKE_ENDPOINT.response_headers
    assert INVOKE_ENDPOINT.response_headers - model == {
        "retry-after",
        "x-amz-retry-after",
        "x-amzn-errortype",
        "x-amzn-requestid",
    }


def test_the_longest_values_are_those_of_the_model() -> None:
    """No length is of our own making."""
    model = {name: member.metadata["max"] for name, member in members("InvokeEndpointInput").items()}
    assert model == LONGEST


def test_operations_are_named_as_in_the_model() -> None:
    """Name and path are those of AWS."""
    service = get_session().get_service_model("sagemaker-runtime")
    for operation in OPERATIONS:
        http = service.operation_model(operation.name).http
        assert (http["method"], http["requestUri"]) == ("POST", f"/endpoints/{{EndpointName}}/{operation.suffix}")


@EVERY_HEADER
def test_a_header_passes_in_any_case_and_goes_out_in_aws_spelling(name: str) -> None:
    """The value is untouched."""
    assert [passed((spelled, "v1")) for spelled in (name, name.lower(), name.upper())] == [[(name, "v1")]] * 3


def test_all_headers_pass_at_once_in_their_order() -> None:
    """Nothing is lost or reordered."""
    headers = [(name, "v1") for name in NAMES]
    assert passed(*headers) == headers


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Connection",
        "Content-Length",
        "Cookie",
        "Expect",
        "Forwarded",
        "Host",
        "Origin",
        "Proxy-Authorization",
        "Range",
        "Transfer-Encoding",
        "TE",
        "Upgrade",
        "User-Agent",
        "Via",
        "X-Amz-Content-SHA256",
        "X-Amz-Date",
        "X-Amz-Security-Token",
        "X-Amzn-Trace-Id",
        "X-Amzn-SageMaker-Content-Type",
        "X-Amzn-SageMaker-Made-Up",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Request-Id",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "traceparent",
    ],
)
def test_no_other_header_passes(name: str) -> None:
    """Neither the caller's credentials nor anything else that the gateway or the connection owns, whatever it says."""
    assert passed((name, "one"), ("Accept", "*/*"), (name.lower(), "two\x00\ud800")) == [("Accept", "*/*")]


@given(st.text(), st.text())
def test_whatever_the_name_only_the_listed_pass(name: str, value: str) -> None:
    """Of all names there are."""
    if name.lower() not in {*INVOKE_ENDPOINT.request_headers, "content-encoding"}:
        assert passed((name, value)) == []


@EVERY_HEADER
def test_a_value_as_long_as_may_be_passes_and_a_longer_one_is_refused(name: str) -> None:
    """The refusal names the header, the length found and the length wanted."""
    longest = LONGEST[name]
    assert passed((name, "v" * longest)) == [(name, "v" * longest)]
    refusal = refused((name.lower(), "v" * (longest + 1)))
    assert refusal.row is BAD_REQUEST
    assert [word in refusal.message for word in (name, f" {longest + 1} ", f" {longest} ")] == [True] * 3


HOSTILE = [*map(chr, [*range(9), *range(10, 32), 127, 128, 0xA0, 0xE9, 0xFF, 0x2028]), "あ", "\ud800", "\udcff", "😀"]


@EVERY_HEADER
def test_what_is_no_printable_ascii_is_refused(name: str) -> None:
    """CR, LF, NUL, DEL, other control characters, letters beyond ASCII and stray bytes, anywhere in a value."""
    for letter in HOSTILE:
        for value in (letter, f"a{letter}", f"{letter}a", f"a{letter}b", f"a\r\n{letter}: b"):
            refusal = refused((name, value))
            assert (refusal.row, name in refusal.message) == (BAD_REQUEST, True)


@pytest.mark.parametrize("name", ["Content-Type", "Accept", "X-Amzn-SageMaker-Custom-Attributes"])
@given(value=st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.just("\t"), max_size=1024))
def test_a_free_value_may_be_any_printable_ascii(name: str, value: str) -> None:
    """It passes as it is, spaces and tabs included."""
    assert passed((name, value)) == [(name, value)]


NAMED = ["X-Amzn-SageMaker-Target-Variant", "X-Amzn-SageMaker-Target-Container-Hostname"]
COMPONENT = "X-Amzn-SageMaker-Inference-Component"
SESSION = "X-Amzn-SageMaker-Session-Id"
PRINTED = ["X-Amzn-SageMaker-Target-Model", "X-Amzn-SageMaker-Inference-Id"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in [*NAMED, COMPONENT, SESSION] for value in ("a", "0", "A-b", "a--b", "a-1-B")],
        *[(name, value) for name in PRINTED for value in ("a", "/", "models/v 1.tar.gz", "!~")],
        (SESSION, "NEW_SESSION"),
    ],
)
def test_a_value_of_the_right_form_passes(name: str, value: str) -> None:
    """Names, component names, session ids and printable texts as AWS's patterns have them."""
    assert passed((name, value)) == [(name, value)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            (name, value)
            for name in [*NAMED, COMPONENT, SESSION]
            for value in ("", "-a", "a-", "a_b", "a b", "a.b", "a/")
        ],
        *[(name, value) for name in PRINTED for value in ("", " a", "a\tb")],
        (SESSION, "NEW_SESSION_"),
        (SESSION, "new_session"),
        (SESSION, "xNEW_SESSION"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused(name: str, value: str) -> None:
    """The refusal names the header; nothing is sent that SageMaker would refuse."""
    refusal = refused((name, value))
    assert (refusal.row, name in refusal.message) == (BAD_REQUEST, True)


@pytest.mark.parametrize("name", [*NAMED, COMPONENT])
def test_a_long_value_of_almost_the_right_form_is_refused_at_once(name: str) -> None:
    """The patterns have no exponential corner: the worst value of the longest length is judged as any other."""
    assert refused((name, "a-" * 31 + "_")).row is BAD_REQUEST
    assert refused((name, "-" * 62 + "a")).row is BAD_REQUEST
    assert refused((SESSION, "a" + "-" * 254 + "_")).row is BAD_REQUEST


@EVERY_HEADER
def test_a_header_given_twice_is_refused(name: str) -> None:
    """In whatever spelling, since a signature covers one value and SageMaker takes one."""
    refusal = refused((name, "v1"), (name.lower(), "v1"))
    assert (refusal.row, name in refusal.message) == (BAD_REQUEST, True)


@pytest.mark.parametrize("value", ["gzip", "br", "deflate", "GZip", "gzip, identity", "x", ""])
def test_an_encoded_body_is_refused(value: str) -> None:
    """SageMaker does not undo it, and the header would stay behind."""
    assert refused(("content-ENCODING", value)).row is BAD_ENCODING


@pytest.mark.parametrize("value", ["identity", "Identity"])
def test_an_encoding_that_is_none_passes_without_its_header(value: str) -> None:
    """Nothing has to be undone."""
    assert passed(("Content-Encoding", value)) == []


@pytest.mark.parametrize("code", [code for code in ERROR_CODES if code != OTHER_ERROR])
@pytest.mark.parametrize(
    "form", ["{}", "{}:http://internal.amazon.com/coral/", "com.amazon.coral.service#{}", "a#{}:b#c:d"]
)
def test_an_error_code_is_read_in_all_its_forms(code: str, form: str) -> None:
    """`Code`, `Code:uri` and `namespace#Code`, as botocore reads them, whatever the header's case."""
    assert error_code(answer(400, [("x-Amzn-ErrorTYPE", form.format(code))])) == code


@given(st.text())
def test_an_unknown_code_is_other(value: str) -> None:
    """The metric's label is of a closed list, whatever SageMaker says."""
    assert error_code(answer(500, [("x-amzn-ErrorType", value)])) in ERROR_CODES
    assert error_code(answer(500, [("x-amzn-ErrorType", f"x{value}")])) == OTHER_ERROR


@pytest.mark.parametrize("status", [300, 307, 400, 424, 503, 530])
def test_an_error_without_a_code_is_other(status: int) -> None:
    """A front end's HTML page has no code."""
    assert error_code(answer(status, [("Content-Type", "text/html")])) == OTHER_ERROR


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_no_error_has_no_code(status: int) -> None:
    """Even where the header is there."""
    assert error_code(answer(status, [("x-amzn-ErrorType", "ModelError")])) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [([("X-AMZN-REQUESTID", "abc")], "abc"), ([("x-amzn-RequestId", "")], None), ([("x-request-id", "abc")], None)],
)
def test_the_request_id_is_sagemakers(headers: Headers, expected: str | None) -> None:
    """Where it gave one."""
    assert request_id(answer(200, headers)) == expected


TIMED_OUT = json.dumps(
    {
        "ErrorCode": "INTERNAL_FAILURE_FROM_MODEL",
        "Message": 'Received server error (0) from primary with message "Your invocation timed out"',
        "OriginalMessage": "Your invocation timed out",
        "OriginalStatusCode": 0,
    }
).encode()


@pytest.mark.parametrize("body", [TIMED_OUT, b'{"OriginalStatusCode":0}', b' {"OriginalStatusCode": -0}\n'])
def test_a_call_that_was_given_up_may_still_run(body: bytes) -> None:
    """ModelError with OriginalStatusCode 0: the container did not answer in time, or could not be reached."""
    assert may_still_run(answer(424, [("x-amzn-ErrorType", "ModelError")], body)) is True


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"0",
        b"null",
        b"[]",
        b'[{"OriginalStatusCode": 0}]',
        b'"OriginalStatusCode"',
        b"{}",
        b'{"OriginalStatusCode": null}',
        b'{"OriginalStatusCode": false}',
        b'{"OriginalStatusCode": "0"}',
        b'{"OriginalStatusCode": ""}',
        b'{"OriginalStatusCode": []}',
        b'{"OriginalStatusCode": 400}',
        b'{"OriginalStatusCode": 500}',
        b'{"originalStatusCode": 0}',
        b'{"Nested": {"OriginalStatusCode": 0}}',
        b'{"OriginalStatusCode": 0',
        b"<html>0</html>",
        b"\xff\xfe\x00",
        b"\x00" * 100,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"OriginalStatusCode": ' + b"1" * 10_000 + b"}",
        TIMED_OUT + b" " * 1_048_576,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_any_other_model_error_has_ended(body: bytes) -> None:
    """The container answered, or nobody can tell: then no instance is kept idle, and no body whatever breaks a call."""
    assert may_still_run(answer(424, [("x-amzn-ErrorType", "ModelError")], body)) is False


@pytest.mark.parametrize("status", [200, 400, 429, 500, 503])
def test_only_a_424_speaks_of_the_container(status: int) -> None:
    """A model may answer anything, also what looks like an error of SageMaker."""
    assert may_still_run(answer(status, (), TIMED_OUT)) is False


@given(st.binary(max_size=64))
def test_no_body_is_too_odd_to_be_judged(body: bytes) -> None:
    """Whatever the bytes, there is an answer."""
    assert may_still_run(answer(424, (), body)) in (True, False)
