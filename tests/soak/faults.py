"""Everything that goes wrong at SageMaker in a soak, how often, and what its caller is to get."""

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.emulator.refusals import AccountRefusals, Refusal, expired_token, modelled, no_capacity, throttled

CUT = "cut"
"""A stream that ends before its last chunk: the caller cannot take it for a whole one."""

TOLD = "error frame"
"""A stream in frames that ends with an error: an SDK raises it."""

GIVEN_UP = "424"
"""The gateway's own answer where a model may have run."""

ACCOUNT = AccountRefusals(region="ap-northeast-1", account_id="123456789012")
INTERNAL = "An internal failure occurred. Please try again."


class Play(StrEnum):
    """What SageMaker does with a call, once it is there."""

    ANSWER = "answers"
    REFUSE = "refuses"
    SILENT = "says nothing until the gateway has given the call up, and lets the model go on"
    RESET = "resets the connection in place of an answer"
    GARBAGE = "answers what is no HTTP"
    CUT_BODY = "ends the connection in the middle of a body"
    RESET_BODY = "resets the connection in the middle of a body"
    CUT_FRAME = "ends the answer properly, but in the middle of a frame"
    RESET_FRAME = "resets the connection in the middle of a frame"
    SHORT = "ends the connection between two frames"
    EARLY = "ends the connection after the head of a stream"
    STREAM_ERROR = "ends a stream with the error that the model took too long, and lets it go on"
    BAD_CRC = "garbles a frame"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which a call goes wrong.

    Attributes:
        name: in tables.
        weight: how often it happens, beside the others.
        play: what SageMaker does.
        caller: what the caller gets: a status, or `CUT`.
        framed: what one gets who reads frames, where it is something else.
        refusal: the answer, where it is one.
        unseen: whether no model sees the call.
        goes_on: whether the model works on when SageMaker or the gateway has given the call up.
        slowness: how many times longer the model takes.
        buffered: whether it can happen to a whole answer.
        streamed: whether it can happen to one in parts.
    """

    name: str
    weight: float
    play: Play
    caller: str
    refusal: Refusal | None = field(default=None, repr=False)
    unseen: bool = False
    goes_on: bool = False
    slowness: float = 1.0
    buffered: bool = True
    streamed: bool = True
    framed: str | None = None


NOTHING = Fault("nothing", 0, Play.ANSWER, "200")
"""What goes wrong with most calls."""

EXPIRED = Fault("expired key", 0, Play.REFUSE, "503", expired_token(), unseen=True)
"""What goes wrong whatever is planned, where keys have expired."""

DEAD = Fault("dead connection", 0, Play.RESET, GIVEN_UP)
"""Likewise, where a call comes on a connection that has ended already: no model runs, but who sent it cannot know."""


def _refused(name: str, refusal: Refusal, weight: float = 10, *, unseen: bool = False, goes_on: bool = False) -> Fault:
    return Fault(name, weight, Play.REFUSE, str(refusal.status), refusal, unseen, goes_on)


def _in_a_stream(name: str, play: Play, *, goes_on: bool = False, framed: str | None = None) -> Fault:
    return Fault(name, 10, play, CUT, goes_on=goes_on, buffered=False, framed=framed)


FAULTS = (
    Fault("slow", 10, Play.ANSWER, "200", slowness=5),
    _refused("throttled", throttled(), unseen=True),
    _refused("not ready", modelled(429, "ModelNotReadyException", "The model is not ready."), unseen=True),
    # Rare: the endpoint takes one call at a time then, until one of those that run has been answered.
    _refused("no capacity", no_capacity(), 1, unseen=True),
    _refused("internal failure", modelled(500, "InternalFailure", INTERNAL)),
    _refused("unavailable", modelled(503, "ServiceUnavailable", "The service is unavailable.")),
    _refused("dependency", modelled(530, "InternalDependencyException", "A dependency of the service failed.")),
    _refused("model error", ACCOUNT.container_said_no("soak", 500, b"no")),
    _refused("timed out", ACCOUNT.container_timed_out("soak"), 5, goes_on=True),
    # Rare: each keeps a permit for seconds.
    Fault("silent", 2, Play.SILENT, GIVEN_UP, goes_on=True),
    Fault("reset", 10, Play.RESET, GIVEN_UP),
    Fault("garbage", 10, Play.GARBAGE, GIVEN_UP),
    Fault("cut body", 10, Play.CUT_BODY, GIVEN_UP, streamed=False),
    Fault("reset body", 10, Play.RESET_BODY, GIVEN_UP, streamed=False),
    _in_a_stream("cut in a frame", Play.CUT_FRAME),
    _in_a_stream("reset in a frame", Play.RESET_FRAME),
    _in_a_stream("cut between frames", Play.SHORT),
    _in_a_stream("cut before frames", Play.EARLY),
    _in_a_stream("stream timed out", Play.STREAM_ERROR, goes_on=True, framed=TOLD),
    _in_a_stream("bad CRC", Play.BAD_CRC),
)
