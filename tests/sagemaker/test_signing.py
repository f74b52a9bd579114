"""Signatures: byte for byte those of botocore, whatever is signed."""

import string
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from math import floor
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.models import Headers
from gateway.sagemaker.signing import UNSIGNED_HEADERS, Credentials, Signer

KEYS = Credentials("AKIAEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TEMPORARY = Credentials("ASIAEXAMPLE", "another/secret", "IQoJb3JpZ2luX2VjE/token==")
NOW = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp()
URL = "https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/resnet/invocations"


def by_botocore(
    signer: dict[str, str], headers: Headers, body: bytes, credentials: Credentials, now: float
) -> dict[str, str]:
    """The headers that botocore would add, by lower-case name. Its clock, and nothing else of it, is set."""
    request = AWSRequest(signer["method"], signer["url"], data=body)
    for name, value in headers:
        request.headers[name] = value
    keys = BotocoreCredentials(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    auth = SigV4Auth(keys, signer.get("service", "sagemaker"), signer["region"])
    # A datetime of 1.9999999 s would be rounded up to 2 s; a clock that is read at that time says 1.
    with patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(floor(now), UTC)):
        auth.add_auth(request)
    given = {name.lower() for name, _ in headers}
    added = {name.lower(): value for name, value in request.headers.items() if name.lower() not in given}
    return {**added, "host": auth.headers_to_sign(request)["host"]}


def by_us(signer: Signer, headers: Headers, body: bytes, credentials: Credentials, now: float) -> dict[str, str]:
    """The headers that the gateway adds, by lower-case name, each of them once."""
    added = signer.sign(tuple(headers), sha256(body).hexdigest(), credentials, now)
    assert len({name.lower() for name, _ in added}) == len(added)
    return {name.lower(): value for name, value in added}


TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
PATH_PIECES = st.one_of(
    st.sampled_from(
        ["/", "//", "/.", "/..", "/./", "/../", "%2F", "%2f", "%20", "%25", "%E3%81%82", "%", "~", "=", "+"]
    ),
    st.text(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@%", max_size=8),
)
QUERY_PIECES = st.one_of(
    st.sampled_from(["&", "=", "&&", "a=1", "a=0", "a", "A=1", "b=%20", "c=", "=d", "a=1&a=1", "%7E=~", "x=y=z"]),
    st.text(string.ascii_letters + string.digits + "-._~!$'()*+,;:@%/?", max_size=5),
)
HOSTS = st.sampled_from(
    [
        "runtime.sagemaker.eu-west-1.amazonaws.com",
        "Runtime.SageMaker.EU-WEST-1.amazonaws.com",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "[2001:DB8::1]",
        "user:secret@proxy.example",
    ]
)
PORTS = st.sampled_from(["", ":80", ":443", ":8080", ":1"])
HEADER_NAMES = st.one_of(
    st.text(TOKEN, min_size=1, max_size=12),
    st.sampled_from(["Content-Type", "Accept", "X-Amzn-SageMaker-Custom-Attributes", "x-amz-a", "User-Agent", "TE"]),
)
HEADER_VALUES = st.text(
    st.one_of(st.characters(min_codepoint=32, max_codepoint=126), st.sampled_from(" \t  ,=\xa0é\xff")), max_size=30
)
ADDED = {"host", "date", "authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}
HEADERS = st.lists(
    st.tuples(HEADER_NAMES.filter(lambda name: name.lower() not in ADDED), HEADER_VALUES),
    max_size=6,
    unique_by=lambda header: header[0].lower(),
)
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@st.composite
def urls(draw: st.DrawFn) -> str:
    """URLs of all kinds: percent-encoded or not, dot segments, empty segments, queries."""
    path = "".join(draw(st.lists(PATH_PIECES, max_size=6)))
    query = "".join(draw(st.lists(QUERY_PIECES, max_size=5)))
    return (
        draw(st.sampled_from(["http://", "https://"]))
        + draw(HOSTS)
        + draw(PORTS)
        + (f"/{path}" if path else "")
        + (f"?{query}" if query else "")
    )


@settings(max_examples=400, deadline=None)
@given(
    method=st.sampled_from(["POST", "GET", "PUT", "DELETE", "patch"]),
    url=urls(),
    region=st.sampled_from(["eu-west-1", "ap-northeast-1", "us-gov-west-1", "cn-north-1"]),
    service=st.sampled_from(["sagemaker", "s3express", "execute-api"]),
    headers=HEADERS,
    body=st.binary(max_size=64),
    credentials=st.builds(Credentials, PRINTABLE, PRINTABLE, st.one_of(st.none(), st.just(""), PRINTABLE)),
    now=st.floats(0, 4_000_000_000),
)
@example("POST", f"{URL}?", "eu-west-1", "sagemaker", [("A", "  b   c\t ")], b"\x00\xff", TEMPORARY, NOW)
@example("POST", "https://h/%2e%2e/a/../b//c/./", "eu-west-1", "sagemaker", [], b"", KEYS, NOW)
@example("POST", "https://h?b=2&b=1&a", "eu-west-1", "sagemaker", [], b"", KEYS, NOW)
def test_every_signature_is_botocores(  # noqa: PLR0917 - hypothesis hands them over by name
    method: str,
    url: str,
    region: str,
    service: str,
    headers: list[tuple[str, str]],
    body: bytes,
    credentials: Credentials,
    now: float,
) -> None:
    """Any method, URL, region, service, headers, body, keys and time: the added headers are the same."""
    parameters = {"method": method, "url": url, "region": region, "service": service}
    assert by_us(Signer(**parameters), headers, body, credentials, now) == by_botocore(
        parameters, headers, body, credentials, now
    )


MOMENTS = st.sampled_from([0, 0.999, 1, 1.5, 2, 86_400, 86_401, 172_800, -86_400])
ROTATION = st.sampled_from(
    [KEYS, TEMPORARY, Credentials(KEYS.access_key_id, "rotated"), Credentials(TEMPORARY.access_key_id, "x", "token")]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(MOMENTS, ROTATION), min_size=2, max_size=12))
def test_what_is_remembered_is_forgotten_in_time(calls: list[tuple[float, Credentials]]) -> None:
    """One signer over midnight, back and forth, with keys that rotate, also under the same id, is always right."""
    parameters = {"method": "POST", "url": URL, "region": "eu-west-1"}
    signer = Signer(**parameters)
    ours = [by_us(signer, [], b"", credentials, NOW + moment) for moment, credentials in calls]
    theirs = [by_botocore(parameters, [], b"", credentials, NOW + moment) for moment, credentials in calls]
    assert ours == theirs


def test_the_next_second_and_the_next_day_sign_differently() -> None:
    """The oracle's clock is really set: no two of these moments have the same signature."""
    signer = Signer(method="POST", url=URL, region="eu-west-1")
    signatures = [by_us(signer, [], b"", KEYS, NOW + moment)["authorization"] for moment in (0, 1, 2, 86_401)]
    assert [one == other for one, other in pairwise(signatures)] == [False, False, False]


def test_the_published_example_of_aws_comes_out() -> None:
    """The signature in AWS's own documentation of the GET of ListUsers, without botocore in between.

    https://docs.aws.amazon.com/general/latest/gr/sigv4-create-canonical-request.html
    """
    signer = Signer(
        method="GET",
        url="https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        region="us-east-1",
        service="iam",
    )
    headers = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")]
    keys = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    now = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
    assert by_us(signer, headers, b"", keys, now)["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_what_proxies_change_is_not_signed() -> None:
    """A header that may change on the way does not change the signature; any other does."""
    signer = Signer(method="POST", url=URL, region="eu-west-1")
    bare = by_us(signer, [], b"", KEYS, NOW)
    assert [by_us(signer, [(name.title(), "any")], b"", KEYS, NOW) for name in sorted(UNSIGNED_HEADERS)] == [
        bare for _ in UNSIGNED_HEADERS
    ]
    assert by_us(signer, [("Accept", "any")], b"", KEYS, NOW) != bare


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/", "example.com"),
        ("https://EXAMPLE.com:443/", "example.com"),
        ("http://example.com:80/", "example.com"),
        ("http://example.com:443/", "example.com:443"),
        ("http://127.0.0.1:9000", "127.0.0.1:9000"),
        ("http://[::1]:9000", "[::1]:9000"),
        ("https://[::1]", "[::1]"),
    ],
)
def test_host_is_what_has_to_be_sent(url: str, host: str) -> None:
    """Lower case, without the default port, in brackets where it is an IPv6 address; and that is what is signed."""
    signer = Signer(method="POST", url=url, region="eu-west-1")
    assert (signer.host, by_us(signer, [], b"", KEYS, NOW)["host"]) == (host, host)


def test_credentials_show_no_secret() -> None:
    """Neither the key nor the token appears where credentials are printed."""
    shown = f"{TEMPORARY} {TEMPORARY!r}"
    assert [part in shown for part in ("ASIAEXAMPLE", "another/secret", "IQoJb3")] == [True, False, False]
