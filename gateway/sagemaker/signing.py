"""AWS Signature Version 4 for one URL, pure: a signature is a function of its arguments.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from time import gmtime, strftime
from urllib.parse import quote, urlsplit

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

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair of AWS, and the session token of a temporary one. Its `repr` shows no secret."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


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
        # Both are good for as long as their first element: a second, and a day of one key pair.
        self._time: tuple[int, str, str] = (-1, "", "")
        self._key: tuple[tuple[str, str, str], bytes] = (("", "", ""), b"")

    @property
    def host(self) -> str:
        """The value of `Host` that is signed, and so has to be sent."""
        return self._host

    def sign(
        self, headers: Iterable[tuple[str, str]], payload_sha256: str, credentials: Credentials, now: float
    ) -> list[tuple[str, str]]:
        """The headers that have to be sent besides the given ones: `Host`, `X-Amz-Date`, the token, `Authorization`.

        Args:
            headers: the other headers of the request, each name once.
            payload_sha256: SHA-256 of the body, in lower-case hexadecimal.
            credentials: the key pair to sign with.
            now: seconds since the epoch; the signature is valid for about 5 minutes from there.
        """
        stamp, day = self._timestamp(now)
        added = [("Host", self._host), ("X-Amz-Date", stamp)]
        if credentials.session_token:
            added.append(("X-Amz-Security-Token", credentials.session_token))
        canonical = [
            (lower, " ".join(value.split()))
            for name, value in (*headers, *added)
            if (lower := name.lower()) not in UNSIGNED_HEADERS
        ]
        canonical.sort()
        signed_headers = ";".join([name for name, _ in canonical])
        lines = "\n".join([f"{name}:{value}" for name, value in canonical])
        request = f"{self._prefix}{lines}\n\n{signed_headers}\n{payload_sha256}"
        scope = day + self._scope_tail
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(credentials, day), to_sign.encode(), "sha256").hex()
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope}, "
            f"SignedHeaders={signed_headers}, Signature={signature}"
        )
        added.append(("Authorization", authorization))
        return added

    def _timestamp(self, now: float) -> tuple[str, str]:
        second = int(now)
        if second != self._time[0]:
            stamp = strftime("%Y%m%dT%H%M%SZ", gmtime(second))
            self._time = (second, stamp, stamp[:8])
        return self._time[1], self._time[2]

    def _signing_key(self, credentials: Credentials, day: str) -> bytes:
        identity = (day, credentials.access_key_id, credentials.secret_access_key)
        if identity != self._key[0]:
            self._key = (identity, signing_key(credentials.secret_access_key, day, self._region, self._service))
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
