"""Verifies AWS Signature Version 4 of a caller, pure: what a signature claims, and whether a secret made it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from multidict import MultiMapping

from gateway.sagemaker.signing import canonical_path, canonical_query, signing_key

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "sagemaker"
SKEW_SECONDS = 300
"""How old a signature may be, and how far ahead the caller's clock: as AWS has it."""

_DATE = "x-amz-date"
_DIGEST = "x-amz-content-sha256"
_TOKEN = "x-amz-security-token"  # noqa: S105 - the header's name
_OF_SAGEMAKER = "x-amzn-sagemaker-"
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = ("Credential", "SignedHeaders", "Signature")


class ClaimError(Exception):
    """A signature cannot be right, whatever the body; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a caller says of its signature.

    Attributes:
        access_key_id: whose secret has made it.
        stamp: when, as `YYYYMMDDTHHMMSSZ`.
        region: for which AWS region.
        signed_headers: the headers that it covers, in lower case.
        signature: itself, in hexadecimal.
        digest: SHA-256 of the body, where the caller names it in a header as well.
    """

    access_key_id: str
    stamp: str
    region: str
    signed_headers: tuple[str, ...]
    signature: str
    digest: str | None


def read_claim(headers: MultiMapping[str], now: float) -> Claim:
    """What the one `Authorization` header claims, checked as far as that goes without the body and the secret.

    Any region will do, as the signature covers it. A session token is refused: the key pairs of the gateway have none,
    so whoever sends one has mixed them up with other keys.

    Args:
        headers: the caller's.
        now: seconds since the epoch.

    Raises:
        ClaimError: it is malformed, out of date, for another service, or leaves headers out that mean something here.
    """
    key_id, day, region, names, signature = _taken_apart(headers["Authorization"])
    if headers.getall(_TOKEN, None) is not None:
        raise ClaimError("The key pairs of this gateway have no session token: leave X-Amz-Security-Token out.")
    stamp = _once(headers, _DATE) or ""
    _check_time(stamp, now)
    if day != stamp[:8]:
        raise ClaimError("The date in Credential is not that of X-Amz-Date.")
    digest = _once(headers, _DIGEST)
    if digest is not None and not _SHA256.fullmatch(digest):
        raise ClaimError("X-Amz-Content-SHA256 is not the SHA-256 of a body: unsigned and chunked ones are not taken.")
    present = {name.lower() for name in headers}
    meaningful = {name for name in present if name in (_DATE, _DIGEST) or name.startswith(_OF_SAGEMAKER)}
    if unsigned := sorted((meaningful | {"host"}) - set(names)):
        raise ClaimError(f"SignedHeaders does not name {unsigned[0]}, which has to be signed.")
    return Claim(key_id, stamp, region, names, signature, digest)


def is_signed(
    claim: Claim, secret_access_key: str, *, method: str, target: str, headers: MultiMapping[str], body_sha256: str
) -> bool:
    """Whether the secret has signed exactly this request.

    Args:
        claim: what its headers claim.
        secret_access_key: of the key pair that the claim names.
        method: the HTTP method.
        target: path and query as they stood in the request line, percent-encoded.
        headers: all headers as they came.
        body_sha256: SHA-256 of the body as it came, in lower-case hexadecimal.
    """
    if claim.digest not in (None, body_sha256):
        return False
    lines = []
    for name in claim.signed_headers:
        values = headers.getall(name, ())
        if not values:
            return False
        lines.append(f"{name}:{','.join([' '.join(value.split()) for value in values])}\n")
    path, _, query = target.partition("?")
    try:
        canonical = "\n".join(
            (
                method,
                canonical_path(path),
                canonical_query(query),
                "".join(lines),
                ";".join(claim.signed_headers),
                body_sha256,
            )
        ).encode(errors="surrogateescape")
    except UnicodeEncodeError:  # bytes of a path that are no text have no canonical form
        return False
    day = claim.stamp[:8]
    scope = f"{day}/{claim.region}/{SERVICE}/aws4_request"
    to_sign = f"{ALGORITHM}\n{claim.stamp}\n{scope}\n{sha256(canonical).hexdigest()}"
    # The key is not kept: the region in it is the caller's word, so that strangers could fill the memory with them.
    signature = hmac.digest(signing_key(secret_access_key, day, claim.region, SERVICE), to_sign.encode(), "sha256")
    return hmac.compare_digest(signature.hex(), claim.signature)


def _taken_apart(authorization: str) -> tuple[str, str, str, tuple[str, ...], str]:
    """Access key id, day, region, signed headers and signature."""
    algorithm, _, rest = authorization.partition(" ")
    pairs = [part.strip().partition("=")[::2] for part in rest.split(",")]
    found = dict(pairs)
    if algorithm != ALGORITHM or sorted(found) != sorted(_FIELDS) or len(pairs) != len(_FIELDS):
        raise ClaimError(f"Authorization is not of the form {ALGORITHM} {', '.join(f'{name}=…' for name in _FIELDS)}.")
    scope = found["Credential"].split("/")
    if len(scope) != 5 or scope[3:] != [SERVICE, "aws4_request"]:  # noqa: PLR2004 - id, day, region, service, end
        raise ClaimError(f"Credential is not of the form ID/YYYYMMDD/REGION/{SERVICE}/aws4_request.")
    if not authorization.isascii() or not _SHA256.fullmatch(found["Signature"]):
        raise ClaimError("Signature is not 64 hexadecimal digits in lower case.")
    return scope[0], scope[1], scope[2], tuple(found["SignedHeaders"].split(";")), found["Signature"]


def _once(headers: MultiMapping[str], name: str) -> str | None:
    """The value of a header that may stand there once."""
    values = headers.getall(name, ())
    if len(values) > 1:
        raise ClaimError(f"{name} stands there more than once.")
    return values[0] if values else None


def _check_time(stamp: str, now: float) -> None:
    try:
        moment = datetime.fromisoformat(stamp).timestamp() if _STAMP.fullmatch(stamp) else None
    except ValueError:  # the digits are no date
        moment = None
    if moment is None:
        raise ClaimError("X-Amz-Date is not a time of the form YYYYMMDDTHHMMSSZ.")
    if abs(now - moment) > SKEW_SECONDS:
        minutes = SKEW_SECONDS // 60
        raise ClaimError(f"The signature is more than {minutes} minutes old or early: set the clock, or sign again.")
