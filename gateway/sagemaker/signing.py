"""AWS Signature Version 4 for one URL, pure: a signature is a function of its arguments.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from time import gmtime, strftime
from typing import TypeAlias
from urllib.parse import quote, urlsplit

from gateway.memo import memo
from gateway.value import value

UNSIGNED_HEADERS = frozenset(
    {
        "baggage",
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-amzn-trace-id",
    }
)
"""Headers that proxies on the way may change, so that no AWS SDK signs them."""

FORMS = 16
"""How many sets of headers are remembered."""

Headers: TypeAlias = tuple[tuple[str, str], ...]

_DATE = ""
"""What stands in for the date where it does not matter yet."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair of AWS, and the session token of a temporary one. Its `repr` shows no secret."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@value
class _Form:
    """All of a canonical request but its date and its body, and the names of the headers in it."""

    before_date: str
    after_date: str
    signed_headers: str


class _Key:
    """HMAC-SHA256 with one key (RFC 2104), whose two first blocks are hashed once: half the time of `hmac.digest`."""

    def __init__(self, secret: bytes) -> None:
        block = secret.ljust(sha256().block_size, b"\0")
        self._inner = sha256(bytes([byte ^ 0x36 for byte in block]))
        self._outer = sha256(bytes([byte ^ 0x5C for byte in block]))

    def hexdigest(self, text: bytes) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest()


@value
class _Moment:
    """What the signatures of one second have in common.

    Attributes:
        second: since the epoch.
        credentials: with which they are made.
        stamp: the second, as it stands in a signature.
        to_sign: all of the string to sign but the digest of the canonical request.
        authorization: the beginning of the header.
        key: that of the day.
    """

    second: int
    credentials: Credentials
    stamp: str
    to_sign: str
    authorization: str
    key: _Key


class Signer:
    """Signs requests to one URL. What does not change from request to request is worked out once.

    Args:
        method: the HTTP method.
        url: the whole URL as it is sent, its path and query percent-encoded.
        region: the AWS region, e.g. `ap-northeast-1`.
        service: AWS's signing name.
    """

    def __init__(self, *, method: str, url: str, region: str, service: str = "sagemaker") -> None:
        parts = urlsplit(url)
        self._host = _host(url)
        self._prefix = f"{method.upper()}\n{canonical_path(parts.path)}\n{canonical_query(parts.query)}\n"
        self._scope_tail = f"/{region}/{service}/aws4_request"
        self._region = region
        self._service = service
        self._moment: _Moment | None = None
        # Good for as long as its first element: a day of one key pair.
        self._key: tuple[tuple[str, str, str], _Key] = (("", "", ""), _Key(b""))
        # What repeats from request to request, by their headers and token: callers differ little in these.
        self._form_of = memo(self._form, FORMS)

    @property
    def host(self) -> str:
        """The value of `Host` that is signed, and so has to be sent."""
        return self._host

    def sign(
        self, headers: Headers, payload_sha256: str, credentials: Credentials, now: float
    ) -> list[tuple[str, str]]:
        """The headers that have to be sent besides the given ones: `Host`, `X-Amz-Date`, the token, `Authorization`.

        Args:
            headers: the other headers of the request, each name once.
            payload_sha256: SHA-256 of the body, in lower-case hexadecimal.
            credentials: the key pair to sign with.
            now: seconds since the epoch; the signature is valid for about 5 minutes from there.
        """
        second, moment, token = int(now), self._moment, credentials.session_token
        if moment is None or moment.second != second or moment.credentials is not credentials:
            self._moment = moment = self._begin(second, credentials)
        form = self._form_of((headers, token))
        request = f"{form.before_date}{moment.stamp}{form.after_date}{payload_sha256}"
        signature = moment.key.hexdigest(f"{moment.to_sign}{sha256(request.encode()).hexdigest()}".encode())
        authorization = f"{moment.authorization}{form.signed_headers}, Signature={signature}"
        added = [("Host", self._host), ("X-Amz-Date", moment.stamp), ("Authorization", authorization)]
        if token:
            added.append(("X-Amz-Security-Token", token))
        return added

    def _form(self, varying: tuple[Headers, str | None]) -> "_Form":
        headers, token = varying
        added = [("Host", self._host), ("X-Amz-Date", _DATE)]
        if token:
            added.append(("X-Amz-Security-Token", token))
        canonical = [
            (lower, " ".join(value.split()))
            for name, value in (*headers, *added)
            if (lower := name.lower()) not in UNSIGNED_HEADERS
        ]
        canonical.sort()
        signed_headers = ";".join([name for name, _ in canonical])
        place = canonical.index(("x-amz-date", _DATE))
        before = "".join([f"{name}:{value}\n" for name, value in canonical[:place]])
        after = "".join([f"{name}:{value}\n" for name, value in canonical[place + 1 :]])
        return _Form(f"{self._prefix}{before}x-amz-date:", f"\n{after}\n{signed_headers}\n", signed_headers)

    def _begin(self, second: int, credentials: Credentials) -> _Moment:
        stamp = strftime("%Y%m%dT%H%M%SZ", gmtime(second))
        day = stamp[:8]
        scope = day + self._scope_tail
        return _Moment(
            second=second,
            credentials=credentials,
            stamp=stamp,
            to_sign=f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n",
            authorization=f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope}, SignedHeaders=",
            key=self._signing_key(credentials, day),
        )

    def _signing_key(self, credentials: Credentials, day: str) -> "_Key":
        identity = (day, credentials.access_key_id, credentials.secret_access_key)
        if identity != self._key[0]:
            secret = signing_key(credentials.secret_access_key, day, self._region, self._service)
            self._key = (identity, _Key(secret))
        return self._key[1]


def signing_key(secret_access_key: str, day: str, region: str, service: str) -> bytes:
    """The key that signs on one day (`YYYYMMDD`), in one region, for one service."""
    key = f"AWS4{secret_access_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _host(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{parts.port}"
    return host


def canonical_path(path: str) -> str:
    """The path without dot segments and doubled slashes, encoded once more."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    first = "/" if path.startswith("/") or not path else ""
    last = "/" if path.endswith("/") and segments else ""
    return quote(first + "/".join(segments) + last, safe="/~")


def canonical_query(query: str) -> str:
    """The pairs of a query in order, each as it was encoded, with an equals sign."""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&")) if query else []
    return "&".join(f"{key}={value}" for key, value in pairs)
