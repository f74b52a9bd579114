"""The Signature Version 4 of a plain request: one whose canonical form is what it says, with nothing to normalise.

Nearly all requests are plain, and their signatures cost a tenth of what they cost botocore. Others are not for here.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

from multidict import CIMultiDictProxy

PLAIN_PATH = re.compile(r"(?:/[a-zA-Z0-9_~-][a-zA-Z0-9_.~-]*)+")
"""No query, nothing to quote, no empty segment, and none of dots alone."""


def plain_canonical(
    method: str, raw_path: str, headers: CIMultiDictProxy[str], names: Sequence[str], body_sha256: str
) -> str | None:
    """The canonical request, or None when this one is not plain.

    Args:
        method: The request's method.
        raw_path: The path as it stood in the request line.
        headers: All headers.
        names: Those that are signed, in lower case, in any order.
        body_sha256: The body's hash in hex.
    """
    if not (method.isupper() and PLAIN_PATH.fullmatch(raw_path)):
        return None
    names = sorted(names)
    lines = [method, raw_path, ""]
    for name in names:
        values = headers.getall(name, ())
        if len(values) != 1 or not _is_plain(values[0]):
            return None
        lines.append(f"{name}:{values[0]}")
    lines += ["", ";".join(names), body_sha256]
    return "\n".join(lines) if len(set(names)) == len(names) else None


def signing_key_of(secret: str, *scope: str) -> hmac.HMAC:
    """The key for a scope: date, region, service and the word that ends it."""
    key = f"AWS4{secret}".encode()
    for word in scope:
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.new(key, digestmod="sha256")


def signature_of(key: hmac.HMAC, timestamp: str, scope: str, canonical_request: str) -> str:
    """The signature of a canonical request, in hex."""
    digest = hashlib.sha256(canonical_request.encode()).hexdigest()
    code = key.copy()
    code.update(f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}".encode())
    return code.hexdigest()


def _is_plain(value: str) -> bool:
    """Whether it is visible US-ASCII with single spaces in it."""
    return value.isascii() and value.isprintable() and "  " not in value and value[:1] != " " != value[-1:]
