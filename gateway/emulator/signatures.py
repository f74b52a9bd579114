"""Verifies Signature Version 4: rebuilds what the caller says it signed, signs it too, and compares.

A plain request is signed by `plain`. All others are signed by botocore, and so is one that does not match, so that
nothing is refused but by botocore's word.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, HTTPHeaders
from botocore.credentials import Credentials
from multidict import CIMultiDictProxy

from gateway.emulator.counters import KeyCounters
from gateway.emulator.plain import plain_canonical, signature_of, signing_key_of
from gateway.emulator.refusals import RefusedError, common, expired_token
from gateway.emulator.settings import CredentialSettings

SERVICE = "sagemaker"
"""The signing name of the runtime and of the control plane alike."""

TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
TIME_FORMAT = "%Y%m%dT%H%M%SZ"
PARAMETER = re.compile(r"(Credential|SignedHeaders|Signature)=([!-+\--~]+)")  # visible US-ASCII but the comma

SIGNATURE = re.compile(r"[0-9a-f]{64}")
TERMINATOR = "aws4_request"
REMEMBERED = 1000
"""How many claims and keys are remembered; then they are forgotten, and worked out anew."""

DATE_HEADER = "X-Amz-Date"
TOKEN_HEADER = "X-Amz-Security-Token"  # noqa: S105 (the header's name)
HASH_HEADER = "X-Amz-Content-SHA256"
ALWAYS_SIGNED = frozenset({"host", DATE_HEADER.lower()})


Key = TypeVar("Key")
Value = TypeVar("Value")


class SignedRequest(NamedTuple):
    """What a signature covers: the path with its query exactly as it stood in the request line, and the body's hash."""

    method: str
    raw_path: str
    headers: CIMultiDictProxy[str]
    body_sha256: str


class _Claim(NamedTuple):
    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


@dataclass(slots=True)
class _Key:
    pair: CredentialSettings
    expired: bool = False
    accepted: int = 0
    refused: int = 0


class _DeclaredHeadersAuth(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """SigV4Auth, but for the caller's choice of headers: any header may be signed, and is if it is declared."""

    def __init__(self, credentials: Credentials, region: str, headers: HTTPHeaders, body_sha256: str) -> None:
        super().__init__(credentials, SERVICE, region)
        self._headers = headers
        self._body_sha256 = body_sha256

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:  # noqa: ARG002 (botocore's signature)
        return self._headers

    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002 (botocore's signature)
        return self._body_sha256


class Verifier:
    """Knows the key pairs, the region and the time, and refuses what they did not sign."""

    def __init__(
        self,
        credentials: Iterable[CredentialSettings],
        *,
        region: str,
        skew_seconds: float,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._keys = {pair.access_key_id: _Key(pair) for pair in credentials}
        self._region = region
        self._skew = timedelta(seconds=skew_seconds)
        self._wall_clock = wall_clock
        self._claims: dict[tuple[str, ...], _Claim] = {}  # by what stands before the signature, and all headers' names
        self._signing_keys: dict[tuple[str, str], hmac.HMAC] = {}

    def accept(self, pair: CredentialSettings) -> None:
        """From now on this key pair is good, in place of what was known under its id; it is counted anew."""
        self._keys[pair.access_key_id] = _Key(pair)

    def expire(self, access_key_id: str) -> None:
        """From now on what this key pair signs is refused as expired; KeyError for an unknown id."""
        self._keys[access_key_id].expired = True

    def counters(self) -> dict[str, KeyCounters]:
        """What has happened to each key pair since the last reset, by its id."""
        return {name: KeyCounters(key.expired, key.accepted, key.refused) for name, key in self._keys.items()}

    def reset(self) -> None:
        """Start counting anew."""
        for key in self._keys.values():
            key.accepted = key.refused = 0

    def verify(self, request: SignedRequest) -> None:
        """Return when the signature is right.

        Raises:
            RefusedError: It is missing, malformed, out of date, by an unknown or expired key, for another region or
                service, or does not match.
        """
        claim = self._claim(request.headers)
        timestamp = request.headers.get(DATE_HEADER, "")
        self._check_time(timestamp)
        self._check_scope(claim, timestamp)
        key = self._keys.get(claim.access_key_id)
        if key is None or request.headers.get(TOKEN_HEADER) != key.pair.session_token:
            raise _refused("UnrecognizedClientException", "The security token included in the request is invalid.")
        if key.expired:
            key.refused += 1
            raise RefusedError(expired_token())
        if request.headers.get(HASH_HEADER, request.body_sha256) != request.body_sha256:
            raise _mismatch(f"The header {HASH_HEADER} is not the SHA-256 of the body.")
        if not self._is_plainly_right(request, claim, key.pair, timestamp):
            self._compare(request, claim, key.pair, timestamp)
        key.accepted += 1

    def _claim(self, headers: CIMultiDictProxy[str]) -> _Claim:
        """What the Authorization header claims, and what it must."""
        before, _, signature = headers.get("Authorization", "").rpartition("Signature=")
        known = self._claims.get((before, *headers)) if SIGNATURE.fullmatch(signature) else None
        if known is not None:
            return known._replace(signature=signature)
        claim = _claim(headers)
        # Host, and every x-amz- header that is there: what is not signed could be changed on the way.
        present = {lower for name in headers if (lower := name.lower()).startswith("x-amz-")}
        if not present.issubset(claim.signed_headers) or not ALWAYS_SIGNED.issubset(claim.signed_headers):
            name = next(each for each in (*sorted(ALWAYS_SIGNED), *sorted(present)) if each not in claim.signed_headers)
            raise _refused("InvalidSignatureException", f"'{name}' must be a 'SignedHeader' in the Authorization.")
        if SIGNATURE.fullmatch(signature):
            _remember(self._claims, (before, *headers), claim)
        return claim

    def _is_plainly_right(
        self, request: SignedRequest, claim: _Claim, pair: CredentialSettings, timestamp: str
    ) -> bool:
        method, raw_path, headers, body_sha256 = request
        canonical = plain_canonical(method, raw_path, headers, claim.signed_headers, body_sha256)
        if canonical is None:
            return False
        scope = (claim.date, self._region, SERVICE, TERMINATOR)
        signing_key = self._signing_keys.get((pair.secret_access_key, claim.date))
        if signing_key is None:
            signing_key = signing_key_of(pair.secret_access_key, *scope)
            _remember(self._signing_keys, (pair.secret_access_key, claim.date), signing_key)
        wanted = signature_of(signing_key, timestamp, "/".join(scope), canonical)
        return hmac.compare_digest(wanted.encode(), claim.signature.encode())

    def _compare(self, request: SignedRequest, claim: _Claim, pair: CredentialSettings, timestamp: str) -> None:
        wanted, canonical = self._sign(request, claim, pair, timestamp)
        if not hmac.compare_digest(wanted.encode(), claim.signature.encode()):
            raise _mismatch(f"The Canonical String for this request should have been\n'{canonical}'")

    def _sign(self, request: SignedRequest, claim: _Claim, pair: CredentialSettings, timestamp: str) -> tuple[str, str]:
        auth: Any = _DeclaredHeadersAuth(
            Credentials(pair.access_key_id, pair.secret_access_key),
            self._region,
            _declared(request.headers, claim.signed_headers),
            request.body_sha256,
        )
        rebuilt = AWSRequest(method=request.method, url=f"http://host{request.raw_path}")
        rebuilt.context["timestamp"] = timestamp
        canonical: str = auth.canonical_request(rebuilt)
        return auth.signature(auth.string_to_sign(rebuilt, canonical), rebuilt), canonical

    def _check_time(self, timestamp: str) -> None:
        signed_at = _moment(timestamp)
        now = self._wall_clock()
        if signed_at < now - self._skew:
            edge = f"{_stamp(now - self._skew)} ({_stamp(now)} - {self._skew.total_seconds() / 60:g} min.)"
            raise _refused("InvalidSignatureException", f"Signature expired: {timestamp} is now earlier than {edge}")
        if signed_at > now + self._skew:
            edge = f"{_stamp(now + self._skew)} ({_stamp(now)} + {self._skew.total_seconds() / 60:g} min.)"
            message = f"Signature not yet current: {timestamp} is still later than {edge}"
            raise _refused("InvalidSignatureException", message)

    def _check_scope(self, claim: _Claim, timestamp: str) -> None:
        if claim.region != self._region:
            message = f"Credential should be scoped to a valid region, not '{claim.region}'."
        elif claim.service != SERVICE:
            message = f"Credential should be scoped to correct service: '{SERVICE}'."
        elif claim.date != timestamp[:8]:
            message = (
                f"Date in Credential scope does not match YYYYMMDD from {DATE_HEADER}: '{claim.date}' != '{timestamp}'."
            )
        else:
            return
        raise _refused("InvalidSignatureException", message)


def sha256_of(body: bytes) -> str:
    """The body's hash as it stands in a canonical request."""
    return hashlib.sha256(body).hexdigest()


def _claim(headers: CIMultiDictProxy[str]) -> _Claim:
    """What the Authorization header claims."""
    header = headers.get("Authorization")
    if not header:
        raise _refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    if not header.startswith("AWS4-HMAC-SHA256 "):
        raise _incomplete("Authorization header requires the algorithm AWS4-HMAC-SHA256")
    found = dict(PARAMETER.findall(header))
    missing = [name for name in ("Credential", "SignedHeaders", "Signature") if name not in found]
    if missing:
        raise _incomplete(" ".join(f"Authorization header requires '{name}' parameter." for name in missing))
    scope = found["Credential"].split("/")
    if len(scope) != 5 or scope[4] != TERMINATOR:  # noqa: PLR2004 (key, date, region, service, terminator)
        raise _incomplete("Credential must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request")
    names = tuple(found["SignedHeaders"].lower().split(";"))
    return _Claim(scope[0], scope[1], scope[2], scope[3], names, found["Signature"])


def _remember(known: dict[Key, Value], key: Key, value: Value) -> None:
    if len(known) >= REMEMBERED:
        known.clear()
    known[key] = value


def _declared(headers: CIMultiDictProxy[str], names: Iterable[str]) -> HTTPHeaders:
    """The headers that the caller says it signed; one that is missing makes another signature, and needs no error."""
    found = HTTPHeaders()
    for name in names:
        for value in headers.getall(name, ()):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _mismatch(f"The signed header '{name}' is not UTF-8 text.") from None
            found[name] = value
    return found


def _moment(timestamp: str) -> datetime:
    try:
        if TIME.fullmatch(timestamp):
            return datetime.fromisoformat(timestamp)
    except ValueError:
        pass  # the digits are no date
    raise _incomplete(f"{DATE_HEADER} must be in ISO8601 basic format, like 20260131T235959Z. Got '{timestamp}'")


def _stamp(moment: datetime) -> str:
    return moment.strftime(TIME_FORMAT)


def _refused(code: str, message: str) -> RefusedError:
    return RefusedError(common(403, code, message))


def _incomplete(message: str) -> RefusedError:
    return _refused("IncompleteSignatureException", message)


def _mismatch(detail: str) -> RefusedError:
    return _refused(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        f"Key and signing method. Consult the service documentation for details.\n\n{detail}",
    )
