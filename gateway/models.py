"""The nouns that pass between modules: operation, call, answer, failover, record, statistics, reload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from re import Pattern
from typing import TypeAlias

from gateway.value import value

Headers: TypeAlias = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Header:
    """What SageMaker takes as the value of one request header.

    Attributes:
        name: its spelling on the wire.
        max_length: longest value, in characters.
        pattern: what the whole value must match, where more than printable ASCII is asked.
    """

    name: str
    max_length: int
    pattern: Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the SageMaker Runtime API.

    Attributes:
        name: AWS's name, the value of the metric label `operation`.
        suffix: last segment of its path, after `/endpoints/{name}/`.
        request_headers: headers of a caller that are passed on, by lower-case name.
        response_headers: headers of an answer that are passed back, in lower case.
        takes_permit: whether a call runs a model at once; else SageMaker queues, and the gateway need not.
        streams: whether the answer comes in parts.
        max_body_bytes: longest request body, where SageMaker's limit is smaller than that of the endpoint.
    """

    name: str
    suffix: str
    request_headers: Mapping[str, Header]
    response_headers: frozenset[str]
    takes_permit: bool = True
    streams: bool = False
    max_body_bytes: int = 2**63 - 1


@value
class Call:
    """One signed request to SageMaker.

    Attributes:
        url: where it goes, already encoded.
        headers: all of its headers but `Content-Length`.
        body: its whole body.
        response_headers: headers of the answer that are passed back, in lower case.
        max_response_bytes: longest answer that is read.
        connect_attempts: how often a connection is tried for.
        connect_seconds: how long one attempt to connect may take.
        timeout_seconds: how long the whole call may take.
        urgent: whether an instance idles until it is sent; else it may go out together with others.
    """

    url: str
    headers: Headers
    body: bytes
    response_headers: frozenset[str]
    max_response_bytes: int
    connect_attempts: int
    connect_seconds: float
    timeout_seconds: float
    urgent: bool = True


@value
class Answer:
    """What goes back to a caller: SageMaker's answer as it came, or a refusal.

    Attributes:
        status: HTTP status.
        headers: all of its headers that a caller gets to see.
        body: its whole body.
        first_byte: seconds from dispatch to SageMaker's headers; None for a refusal.
    """

    status: int
    headers: Headers
    body: bytes
    first_byte: float | None = None


class Unseen(StrEnum):
    """Why it is certain that no model saw a call, so that it may be sent again."""

    UNREACHABLE = "unreachable"
    """No connection came about."""
    THROTTLED = "throttled"
    NOT_READY = "not_ready"
    """The model is still being loaded, or its serverless instance provisioned."""
    NO_CAPACITY = "no_capacity"
    """The fleet is scaled to zero."""
    CREDENTIALS = "credentials"
    """There was nothing to sign it with, or SageMaker did not accept the signature."""
    QUEUE_FULL = "queue_full"
    """It was not even sent: as many waited as may."""


@dataclass(frozen=True, slots=True)
class Failover:
    """That a caller went on after an endpoint had not taken the call: to another one, or to wait for capacity.

    Attributes:
        endpoint: key of the endpoint that did not take it.
        reason: why.
        upstream_error: the error code of SageMaker's answer; None where there was none.
    """

    endpoint: str
    reason: Unseen
    upstream_error: str | None


@value
class Record:
    """All that is told of one request once it is over, to metrics and log. Times are in seconds.

    Attributes:
        request_id: the gateway's id of the request, which every answer carries.
        aws_request_id: SageMaker's id of the call, where it answered.
        method: the HTTP method as it came.
        path: the path as it came, without the query.
        remote: address of the caller.
        caller: name that the caller's key has in the keys file; None where there is none, or it is not proven.
        endpoint: key of the endpoint in the config that was called last, or first in line; None where there is none.
        operation: AWS's name of the operation; None likewise.
        status: HTTP status of the answer; 499 where the caller hung up before it.
        reason: why the gateway refused; None where it did not.
        upstream_error: the error code of SageMaker's own answer; None where it is no error.
        duration: from the request's headers to the answer, or to the end of the call of an orphan.
        queue: time in the queue; None where the request never came to it.
        first_byte: from dispatch to the headers of SageMaker's answer; None where there was none.
        upstream: from dispatch to the end of the call; None where nothing was dispatched.
        bytes_in: length of the request's body.
        bytes_out: length of the answer's body.
        orphaned: whether the call outlived its caller.
        failovers: what came before the last call, in order.
        joined: whether it is a retry that joined the call of an earlier attempt.
    """

    request_id: str
    aws_request_id: str | None
    method: str
    path: str
    remote: str | None
    caller: str | None
    endpoint: str | None
    operation: str | None
    status: int
    reason: str | None
    upstream_error: str | None
    duration: float
    queue: float | None
    first_byte: float | None
    upstream: float | None
    bytes_in: int
    bytes_out: int
    orphaned: bool
    failovers: tuple[Failover, ...] = ()
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Statistics:
    """The state of one limiter at one moment.

    Attributes:
        capacity: how many calls may run at once.
        running: how many do, orphans included.
        orphaned: how many of these have lost their caller.
        cooling: permits kept after a call was given up, because its model may still run.
        waiting: callers in the queue.
        oldest_waiter_seconds: how long the first of them has waited; 0 where nobody waits.
    """

    capacity: int
    running: int
    orphaned: int
    cooling: int
    waiting: int
    oldest_waiter_seconds: float


@dataclass(frozen=True, slots=True)
class Connections:
    """What has become of a listener's connections so far.

    Attributes:
        open: how many are.
        idle: how many of these have no request.
        refused: were turned away with 503, because none of the others was idle.
        evicted: were closed while they were idle, to make room.
        slow: were closed because a head took too long, or never came.
        stalled: were cut off because nobody took the answer.
    """

    open: int
    idle: int
    refused: int
    evicted: int
    slow: int
    stalled: int


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of a reload.

    Attributes:
        problems: why the old config goes on; empty where the new one was taken.
        changes: what is different now, by kind; empty where the old one goes on.
    """

    problems: tuple[str, ...] = ()
    changes: Mapping[str, Sequence[str]] = field(default_factory=dict)
