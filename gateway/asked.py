"""What a caller asks for, as the headers of the request say it."""

import re

from aiohttp import HttpVersion11, web
from multidict import istr

from gateway.errors import BAD_REQUEST, Refusal
from gateway.models import Operation
from gateway.sagemaker.parts import asked_of_the_model, wants_frames
from gateway.sagemaker.protocol import request_headers
from gateway.value import value

QUEUE_TIMEOUT = istr("X-Gateway-Queue-Timeout")
"""How many seconds a caller is going to wait for a permit, if it says so; never longer than the config lets it."""

INVOCATION_ID = istr("amz-sdk-invocation-id")
"""The same for all attempts of one call of an AWS SDK."""

LONGEST_ID = 128
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


@value
class Asked:
    """What a caller asks for.

    Attributes:
        headers: those that go to SageMaker.
        frames: whether a stream is to go back in SageMaker's frames; None where the answer is no stream.
        patience: how many seconds the caller is going to wait for a permit; None where it does not say.
        invocation_id: that of the SDK call, of which this may be a retry; None where there is none.
    """

    headers: tuple[tuple[str, str], ...]
    frames: bool | None
    patience: float | None
    invocation_id: str | None


def read_headers(request: web.BaseRequest, operation: Operation) -> Asked:
    """What the request asks for.

    Raises:
        Refusal: it cannot be sent like this.
    """
    given, frames = request.headers, None
    if operation.streams:
        if request.version < HttpVersion11:
            raise Refusal(BAD_REQUEST, "A stream needs HTTP/1.1: before it, a cut looks like an end.")
        frames = wants_frames(given)
    headers = request_headers(operation, asked_of_the_model(given) if frames is False else given.items())
    invocation_id = given.get(INVOCATION_ID)
    known = invocation_id is not None and 0 < len(invocation_id) <= LONGEST_ID
    return Asked(headers, frames, _patience(given.get(QUEUE_TIMEOUT)), invocation_id if known else None)


def _patience(given: str | None) -> float | None:
    if given is None:
        return None
    if not _SECONDS.fullmatch(given):
        raise Refusal(BAD_REQUEST, f"{QUEUE_TIMEOUT} is a number of seconds such as 10 or 2.5.")
    return float(given)
