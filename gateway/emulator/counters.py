"""What really happened, in numbers: the calls, the work and the instance time of an endpoint, the use of a key."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InstanceCounters:
    """One instance since the last reset: the calls it was given, and the most it held at once, queued or running."""

    calls: int
    peak_work: int


@dataclass(frozen=True, slots=True)
class PeriodCounters:
    """A time in which the endpoint had the same number of instances in service.

    Attributes:
        instances: How many got calls.
        seconds: How long.
        peak_work: The most work at once; what was still to finish on removed instances is part of it.
        peak_running: The most of it in containers.
    """

    instances: int
    seconds: float
    peak_work: int
    peak_running: int


@dataclass(frozen=True, slots=True)
class Counters:
    """One endpoint, or one of its fleets, since the last reset; all times in seconds.

    Attributes:
        calls: Calls accepted at the front.
        open: Calls whose caller is being served now.
        peak_calls: The most of those at once.
        work: Calls handed to the fleet and not finished by the container, whether or not anybody waits for them.
        peak_work: The most of those at once; above the capacity, calls have queued inside an instance.
        running: Calls in a container now.
        peak_running: The most of those at once.
        answered: Calls answered with what the container said.
        model_errors: Calls answered 424 because the container said no, or was lost.
        timed_out: Calls answered 424 because the time limit passed.
        hung_up: Calls whose caller left before the answer.
        throttled: Calls refused for `throttle_above` or `max_concurrency`; they are not among `calls`.
        faulted: Calls that a fault on demand happened to; those that it refused are not among `calls`.
        asynchronous: Asynchronous calls accepted; they are not among `calls`, and nobody waits for them.
        backlog: Those of them that wait in the endpoint's own queue now.
        peak_backlog: The most of those at once.
        busy_instance_seconds: Container time spent, calls that run now included.
        wasted_instance_seconds: Container time spent on finished calls whose answer nobody received.
        no_capacity: Calls refused because there was no instance.
        in_session: Calls that had to go to the instance of their session, the first of each session not included.
        span_seconds: From the first arrival to the last finished work.
        instances: The same by instance, those that have been removed included.
        periods: The peaks by the number of instances in service, in order; the last one is now.
    """

    calls: int
    open: int
    peak_calls: int
    work: int
    peak_work: int
    running: int
    peak_running: int
    answered: int
    model_errors: int
    timed_out: int
    hung_up: int
    throttled: int
    faulted: int
    asynchronous: int
    no_capacity: int
    in_session: int
    backlog: int
    peak_backlog: int
    busy_instance_seconds: float
    wasted_instance_seconds: float
    span_seconds: float
    instances: tuple[InstanceCounters, ...]
    periods: tuple[PeriodCounters, ...]


@dataclass(frozen=True, slots=True)
class KeyCounters:
    """One key pair since the last reset.

    Attributes:
        expired: Whether it is refused now.
        accepted: Requests with a good signature by it.
        refused: Requests answered ExpiredTokenException.
    """

    expired: bool
    accepted: int
    refused: int
