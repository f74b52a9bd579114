"""What of HTTP is refused: what aiohttp's parser takes and the gateway does not, and what it does not take either.

Whoever stands in front of the gateway may read a doubtful request otherwise than its parser does. Then one of them
takes for a body what the other one takes for the next request. So nothing doubtful is taken, and after it the
connection ends: https://www.rfc-editor.org/rfc/rfc9112#section-11.2
"""

import re
from itertools import chain

from aiohttp import HttpVersion11, hdrs
from aiohttp.http_exceptions import HttpProcessingError, InvalidHeader, InvalidURLError, LineTooLong

from gateway.errors import BAD_CODING, BAD_EXPECTATION, BAD_METHOD, BAD_REQUEST, BAD_VERSION, Refusal
from gateway.request import VERSIONS, Request

CONTINUE = "100-continue"

_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+;=%:\[\]-]*")
"""RFC 3986, section 3.2.2, with a port, and without the comma: two hosts in one."""

_OTHER_VERSION = ("Invalid HTTP version", "Pause on PRI")
_ANEW = "The connection is closed: send the request anew on another, well formed."


def check(request: Request, head_bytes: int) -> None:
    """Look at a request before anybody acts on it.

    Args:
        request: what the parser took.
        head_bytes: how long target and headers may be together.

    Raises:
        Refusal: it is not for a server of HTTP/1.1, or it can be read in two ways.
    """
    head = request.head()
    version, headers = head.version, head.headers
    if version not in VERSIONS:
        raise _other_version()
    if head.method == "CONNECT":
        raise Refusal(BAD_METHOD, "The gateway makes no tunnels: use POST.", allow="POST")
    if hdrs.UPGRADE in headers:
        # The parser stops at the end of such a request, whatever follows it.
        raise Refusal(
            BAD_REQUEST,
            "Upgrade is not taken here, neither to HTTP/2 (h2c) nor to WebSocket: tell the client to speak HTTP/1.1.",
        )
    if hdrs.TRANSFER_ENCODING in headers:
        _check_coding(headers[hdrs.TRANSFER_ENCODING], version == HttpVersion11)
    if hdrs.EXPECT in headers and version == HttpVersion11 and headers[hdrs.EXPECT].lower() != CONTINUE:
        # RFC 9110, section 10.1.1
        raise Refusal(BAD_EXPECTATION, f"The only expectation that can be met here is {CONTINUE}.")
    if not is_host(headers.get(hdrs.HOST, "")):
        # RFC 9112, section 3.2
        raise Refusal(BAD_REQUEST, "Host is not a host, perhaps with a port.")
    target = head.path
    _check_target(target)
    if sum(map(len, chain.from_iterable(head.raw_headers))) + len(target) > head_bytes:
        raise too_long("The head", head_bytes)


def is_host(text: str) -> bool:
    """Whether this may stand behind `Host:`."""
    return _HOST.fullmatch(text) is not None


def malformed(error: HttpProcessingError) -> Refusal:
    """What is answered to what aiohttp's parser does not take."""
    text = error.message
    if isinstance(error, LineTooLong):
        return too_long("A line of the request", error.args[1])
    if any(sign in text for sign in _OTHER_VERSION):
        return _other_version()
    reason, mark, _ = text.partition(":\n\n")
    if not mark and isinstance(error, InvalidURLError):
        reason = "Invalid request target"
    elif isinstance(error, InvalidHeader):
        reason = "Invalid header"
    reason = reason.removeprefix("Bad status line:\n").strip(" .")  # and without the bytes that it is about
    return Refusal(BAD_REQUEST, f"This is no HTTP/1.1 (RFC 9112): {reason}. {_ANEW}")


def too_long(what: str, limit: int) -> Refusal:
    """What is answered where something has more bytes than may be."""
    return Refusal(BAD_REQUEST, f"{what} is longer than {limit} bytes, the most that is taken. {_ANEW}")


def _other_version() -> Refusal:
    return Refusal(BAD_VERSION, "The gateway speaks HTTP/1.1, and HTTP/1.0: tell the client to use one of them.")


def _check_coding(coding: str, may_be_chunked: bool) -> None:  # noqa: FBT001
    """RFC 9112, section 6.1."""
    if not may_be_chunked:
        raise Refusal(BAD_REQUEST, f"HTTP/1.0 has no Transfer-Encoding. {_ANEW}")
    if coding.lower() != "chunked":
        raise Refusal(BAD_CODING, "The only Transfer-Encoding that is taken is chunked.")


def _check_target(target: str) -> None:
    """RFC 9112, section 3.2: a target has no fragment; RFC 9110, section 4.2.4: and no user."""
    if "#" in target:
        raise Refusal(BAD_REQUEST, "The request target has a fragment (#), which is for the client alone.")
    if not target.startswith("/") and "@" in target.partition("//")[2].partition("/")[0]:
        raise Refusal(BAD_REQUEST, "The request target has a user in it: leave it out.")
