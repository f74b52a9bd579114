"""What becomes known of one request on its way, until it is frozen into a record."""

import asyncio
import random
import re
from collections.abc import Hashable
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, Self

from aiohttp import web
from multidict import istr

from gateway.errors import CREDENTIALS, Refusal
from gateway.models import Answer, Failover, Record
from gateway.request import Sent


class Reserved(Protocol):
    """Memory that is given back at the end."""

    def release(self) -> None:
        """Give it back."""


CALLER_GONE = 499
"""What is recorded in place of a status where the caller hung up before there was one, as NGINX does."""

_RANDOM = ~(0xF << 76 | 0x3 << 62) % 2**128
"""The bits of a random UUID that are random: all but its version and its variant."""

_UUID4 = 0x4 << 76 | 0x2 << 62
"""What these two are."""

_REQUEST_ID = istr("X-Request-Id")
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class Visit:
    """One request while it is open. Nearly all fields are those of `models.Record`.

    Attributes:
        response: an answer in parts, which has been sent already; None where the answer is whole.
        goes_on: a call in parts that outlives its caller: its end is that of the visit.
        called: whether a call was made: then the answer says at which endpoint.
        memory: what its body takes.
        flight: the key under which retries of this call may join it; None where none may.
    """

    request: web.BaseRequest
    request_id: str
    path: str
    started: float
    aws_request_id: str | None = None
    caller: str | None = None
    endpoint: str | None = None
    operation: str | None = None
    reason: str | None = None
    upstream_error: str | None = None
    queue: float | None = None
    upstream: float | None = None
    bytes_in: int = 0
    bytes_out: int | None = None
    response: web.StreamResponse | Sent | None = None
    orphaned: bool = False
    goes_on: asyncio.Task[Answer] | None = None
    called: bool = False
    memory: "Reserved | None" = None
    joined: bool = False
    flight: Hashable | None = None
    failovers: tuple[Failover, ...] = ()

    @classmethod
    def begin(cls, request: web.BaseRequest) -> Self:
        """The visit of a request that has just come. A caller's own well-formed `X-Request-Id` is kept."""
        given = request.headers.get(_REQUEST_ID)
        request_id = given if given is not None and _WELL_FORMED.fullmatch(given) else _new_id()
        return cls(request, request_id, request.rel_url.raw_path, perf_counter())

    def refuse(self, refusal: Refusal) -> Answer:
        """The answer of the gateway's own, in place of SageMaker's."""
        refusal.forget()
        self.reason = refusal.row.reason
        return Answer(*refusal.wire(self.request_id))

    def forsake(self, outcome: Answer | Refusal) -> None:
        """Say that a call that no model saw is not made again, since its caller has gone."""
        if isinstance(outcome, Refusal) and outcome.row is not CREDENTIALS:  # nobody was there to be refused
            self.reason = outcome.row.reason

    def go_on(self, failovers: tuple[Failover, ...]) -> None:
        """Say that a call that was made was not the last: it counts as a failover."""
        self.failovers = failovers
        self.called = False
        self.aws_request_id = self.upstream_error = self.upstream = None

    def marks(self, answer: Answer) -> dict[str, str]:
        """The headers by which every answer tells whose it is, and where its time went."""
        queue = self.queue or 0.0
        upstream = self.upstream or answer.first_byte or 0.0
        marks = {
            "Server-Timing": f"queue;dur={queue * 1000:.1f}, upstream;dur={upstream * 1000:.1f}",
            _REQUEST_ID: self.request_id,
        }
        if self.called and self.endpoint is not None:
            marks["X-Gateway-Endpoint"] = self.endpoint
        return marks

    def record(self, status: int, answer: Answer | None) -> Record:
        """The record of this request, which ended with the status; the answer is the one that was there to send."""
        request, path = self.request, self.path
        return Record(  # by position: by name it takes twice as long
            self.request_id,
            self.aws_request_id,
            request.method,
            path if path.isascii() else path.encode("ascii", "backslashreplace").decode(),
            request.remote,
            self.caller,
            self.endpoint,
            self.operation,
            status,
            self.reason,
            self.upstream_error,
            perf_counter() - self.started,
            self.queue,
            answer.first_byte if answer else None,
            self.upstream,
            self.bytes_in,
            self._bytes_out(status, answer),
            self.orphaned,
            self.failovers,
            self.joined,
        )

    def _bytes_out(self, status: int, answer: Answer | None) -> int:
        if self.bytes_out is not None:
            return self.bytes_out
        return len(answer.body) if answer and status != CALLER_GONE else 0


def report(message: str, error: Exception) -> None:
    """Have the log tell of a bug of ours."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})


def _new_id() -> str:
    """A random UUID (RFC 9562, section 5.4). It guards nothing, so that the fast generator will do."""
    digits = f"{random.getrandbits(128) & _RANDOM | _UUID4:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
