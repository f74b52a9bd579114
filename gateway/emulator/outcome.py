"""The nouns of a call at its container: what it is sent, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from multidict import CIMultiDictProxy

SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a container is sent: the headers of the caller that are forwarded, and the body as it came."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a container said, any status."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Failure(Enum):
    """Why there is no answer of the container."""

    LOST = "the connection failed before the answer began"
    CUT = "the answer ended early or was too large"
    TIMED_OUT = "the time limit passed"


Outcome = Answer | Failure
"""How a call ended at its container; a stream's answer has no body, since that has been passed on."""
