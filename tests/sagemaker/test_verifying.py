"""Signatures of callers: what botocore has signed is accepted, whatever it is; nothing else ever is."""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.models import Headers
from gateway.sagemaker.signing import Credentials
from gateway.sagemaker.verifying import SKEW_SECONDS, ClaimError, is_signed, read_claim
from tests.sagemaker.test_signing import HEADERS, PRINTABLE, by_botocore, urls

ID = "SGWEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp()
URL = "http://127.0.0.1:8080/endpoints/resnet/invocations"


class Signed:
    """A request as it comes, signed by botocore."""

    def __init__(
        self,
        *,
        method: str = "POST",
        url: str = URL,
        headers: Headers = (("Content-Type", "text/plain"), ("X-Amzn-SageMaker-Inference-Id", "7")),
        body: bytes = b"{}",
        region: str = "eu-west-1",
        service: str = "sagemaker",
        secret: str = SECRET,
        token: str | None = None,
        now: float = NOW,
    ) -> None:
        signer = {"method": method, "url": url, "region": region, "service": service}
        keys = Credentials(ID, secret, token)
        self.headers = CIMultiDict([*headers, *by_botocore(signer, headers, body, keys, now).items()])
        parts = urlsplit(url)
        self.method = method
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.body = body

    def is_taken(self, *, now: float = NOW, secret: str = SECRET) -> bool:
        """Whether it is good, from the first look to the last."""
        try:
            claim = read_claim(self.headers, now)
        except ClaimError:
            return False
        assert claim.access_key_id == ID
        digest = sha256(self.body).hexdigest()
        return is_signed(
            claim, secret, method=self.method, target=self.target, headers=self.headers, body_sha256=digest
        )

    def refusal(self, *, now: float = NOW) -> str:
        """Why it is refused before the body is there."""
        with pytest.raises(ClaimError) as caught:
            read_claim(self.headers, now)
        return str(caught.value)

    def rewrite(self, old: str, new: str) -> None:
        """Replace a part of the Authorization."""
        authorization = self.headers["Authorization"]
        assert old in authorization
        self.headers["Authorization"] = authorization.replace(old, new)


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["POST", "GET", "DELETE"]),
    url=urls(),
    region=st.sampled_from(["eu-west-1", "us-gov-west-1", "anywhere-9"]),
    headers=HEADERS,
    body=st.binary(max_size=64),
    now=st.floats(0, 4_000_000_000),
    late=st.floats(-SKEW_SECONDS + 1, SKEW_SECONDS - 1),
    secret=PRINTABLE,
)
def test_all_that_botocore_signs_is_taken(
    *, method: str, url: str, region: str, headers: Headers, body: bytes, now: float, late: float, secret: str
) -> None:
    """Any method, path, query, region, headers and body, up to five minutes before or after; with no other secret."""
    signed = Signed(method=method, url=url, region=region, headers=headers, body=body, secret=secret, now=now)

    assert signed.is_taken(now=now + late, secret=secret)
    assert not signed.is_taken(now=now + late, secret=secret + "x")


def body(signed: Signed) -> None:
    """Another body."""
    signed.body += b" "


def method(signed: Signed) -> None:
    """Another method."""
    signed.method = "PUT"


def path(signed: Signed) -> None:
    """Another path."""
    path, mark, query = signed.target.partition("?")
    signed.target = f"{path}x{mark}{query}"


def query(signed: Signed) -> None:
    """One more pair in the query."""
    signed.target += "&more=1" if "?" in signed.target else "?more=1"


def value(signed: Signed) -> None:
    """Another value of a signed header."""
    signed.headers["Content-Type"] += "x"


def added(signed: Signed) -> None:
    """A header of SageMaker's that was not signed."""
    signed.headers["X-Amzn-SageMaker-Target-Variant"] = "b"


def doubled(signed: Signed) -> None:
    """A signed header twice."""
    signed.headers.add("X-Amzn-SageMaker-Inference-Id", "8")


def dropped(signed: Signed) -> None:
    """A signed header less."""
    del signed.headers["Content-Type"]


def host(signed: Signed) -> None:
    """Meant for another host."""
    signed.headers["Host"] = "elsewhere"


def date(signed: Signed) -> None:
    """A second later."""
    stamp = signed.headers["X-Amz-Date"]
    signed.headers["X-Amz-Date"] = stamp[:-3] + ("00Z" if stamp[-3:-1] != "00" else "01Z")


def region(signed: Signed) -> None:
    """Another region."""
    signed.rewrite("/eu-west-1/", "/eu-west-2/")


def signature(signed: Signed) -> None:
    """One digit of the signature."""
    last = signed.headers["Authorization"][-1]
    signed.headers["Authorization"] = signed.headers["Authorization"][:-1] + ("0" if last != "0" else "1")


def unsigned(signed: Signed) -> None:
    """A header left out of those that are signed."""
    signed.rewrite("content-type;", "")


TAMPERINGS = (body, method, path, query, value, added, doubled, dropped, host, date, region, signature, unsigned)


@settings(max_examples=40, deadline=None)
@given(url=urls(), content=st.binary(max_size=32), headers=HEADERS)
@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_whatever_is_changed_on_the_way_shows(
    tamper: Callable[[Signed], None], url: str, content: bytes, headers: Headers
) -> None:
    """Body, method, path, query, header, host, date, region, signature: nothing can be changed."""
    ours = {"content-type", "x-amzn-sagemaker-inference-id"}
    others = [header for header in headers if header[0].lower() not in ours]
    own = [("Content-Type", "text/plain"), ("X-Amzn-SageMaker-Inference-Id", "7")]
    signed = Signed(url=url, body=content, headers=[*own, *others])
    assert signed.is_taken()

    tamper(signed)

    assert not signed.is_taken()


@pytest.mark.parametrize(("seconds", "good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_a_signature_is_good_for_five_minutes(seconds: int, *, good: bool) -> None:
    """Five minutes to either side, as with AWS; a replay after that is refused."""
    signed = Signed()

    assert signed.is_taken(now=NOW + seconds) == good
    if not good:
        assert "5 minutes" in signed.refusal(now=NOW + seconds)


def test_the_digest_in_a_header_has_to_be_that_of_the_body() -> None:
    """It is signed too, and it is not believed."""
    headers = [("X-Amz-Content-SHA256", sha256(b"{}").hexdigest())]
    right, wrong = Signed(headers=headers), Signed(headers=headers, body=b"[]")

    assert right.is_taken()
    assert not wrong.is_taken()


@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", "A" * 64])
def test_unsigned_payloads_are_refused(payload: str) -> None:
    """Whoever carries the call could change its body."""
    assert "X-Amz-Content-SHA256" in Signed(headers=[("X-Amz-Content-SHA256", payload)]).refusal()


def test_session_tokens_are_refused() -> None:
    """Our pairs have none; whoever sends one has taken another identity's keys."""
    assert "session token" in Signed(token="a-token").refusal()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 ", "Authorization is not of the form"),
        ("Signature=", "Sig=", "Authorization is not of the form"),
        (", Signature", ", Credential=a, Signature", "Authorization is not of the form"),
        ("/aws4_request", "", "Credential is not of the form"),
        ("/sagemaker/", "/s3/", "Credential is not of the form"),
        ("20260301/", "20260302/", "not that of X-Amz-Date"),
        ("host;", "", "does not name host"),
        (";x-amz-date", "", "does not name x-amz-date"),
        (";x-amzn-sagemaker-inference-id", "", "does not name x-amzn-sagemaker-inference-id"),
        ("Signature=", "Signature=0", "64 hexadecimal digits"),
        ("Credential=SGW", "Credential=\udcff", "64 hexadecimal digits"),
    ],
)
def test_a_malformed_signature_is_refused_with_a_reason(old: str, new: str, says: str) -> None:
    """Before the body is read: its form alone shows that it cannot be right."""
    signed = Signed()
    signed.rewrite(old, new)

    assert says in signed.refusal()


@pytest.mark.parametrize("stamp", ["", "now", "20260301T235959", "20269999T000000Z", "2026-03-01T23:59:59Z", "٢" * 16])
def test_a_malformed_date_is_refused(stamp: str) -> None:
    """Only the form that AWS uses is a date."""
    signed = Signed()
    signed.headers["X-Amz-Date"] = stamp

    assert "X-Amz-Date is not a time" in signed.refusal()


@pytest.mark.parametrize("name", ["X-Amz-Date", "X-Amz-Content-SHA256"])
def test_what_decides_stands_there_once(name: str) -> None:
    """Two dates or digests leave open which one was meant."""
    signed = Signed(headers=[("X-Amz-Content-SHA256", sha256(b"{}").hexdigest())])
    signed.headers.add(name, signed.headers[name])

    assert "more than once" in signed.refusal()


@given(authorization=st.text(max_size=80) | st.text("AWS4-HMC25, =/;Crednti\udcff", max_size=80))
def test_no_text_breaks_the_verifier(authorization: str) -> None:
    """Whatever stands in the header: a refusal."""
    signed = Signed()
    signed.headers["Authorization"] = authorization

    assert signed.refusal()


@pytest.mark.parametrize("target", ["/\ud800", "/\udcff?\udcff", "*", ""])
def test_an_odd_target_is_not_signed(target: str) -> None:
    """Bytes that are no text, and no path at all: no match, and no error."""
    signed = Signed()
    signed.target = target

    assert not signed.is_taken()


def test_spaces_do_not_matter_and_repeated_headers_are_one() -> None:
    """As in the canonical form: runs of spaces are one, and values are joined with commas."""
    signed = Signed(headers=[("X-Custom", "a  b,c")])
    del signed.headers["X-Custom"]
    signed.headers.extend([("X-Custom", "  a b "), ("X-Custom", "c")])

    assert signed.is_taken()
