"""Faults on demand: an endpoint is told which of its next calls go wrong, each in its exact shape on the wire."""

from collections import deque
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from gateway.emulator.frames import exception, part, time_exceeded, unmodelled_error
from gateway.emulator.ledger import Ledger
from gateway.emulator.refusals import Refusal, RefusedError, expired_token, modelled, no_capacity, throttled
from gateway.emulator.settings import Seconds

AnyCallFault = Literal[
    "throttle",
    "not_ready",
    "internal_failure",
    "service_unavailable",
    "internal_dependency",
    "no_capacity",
    "expired_token",
    "reset",
    "delay",
]
"""What may happen to any call; but for `delay` the model never sees it."""

StreamFault = Literal[
    "cut_mid_frame", "reset_mid_frame", "bad_crc", "stream_error", "internal_stream_failure", "unmodelled_stream_error"
]
"""What may happen to a stream that has begun; the model runs to its end."""

INTERNAL = "An internal failure occurred. Please try again."

REFUSALS: dict[str, Refusal] = {
    "throttle": throttled(),
    "not_ready": modelled(429, "ModelNotReadyException", "The model is not ready to serve this request."),
    "internal_failure": modelled(500, "InternalFailure", INTERNAL),
    "service_unavailable": modelled(503, "ServiceUnavailable", "The service is unavailable. Try your call again."),
    "internal_dependency": modelled(530, "InternalDependencyException", "A dependency of the service failed."),
    "no_capacity": no_capacity(),
    "expired_token": expired_token(),
}


class Fault(BaseModel):
    """One fault, for one call.

    Attributes:
        fault: What happens.
        after_parts: In a stream, how many messages arrive before it; at the latest it happens in place of the end.
        seconds: How long `delay` keeps a call at the front, before it is handed to an instance.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    fault: AnyCallFault | StreamFault
    after_parts: int = Field(default=1, ge=0)
    seconds: Seconds = 1.0

    @property
    def delay_seconds(self) -> float:
        """How long the call is kept at the front."""
        return self.seconds if self.fault == "delay" else 0.0

    @property
    def spoils_streams(self) -> bool:
        """Whether it happens in a stream that has begun."""
        return self.fault in get_args(StreamFault)


NO_FAULT = Fault(fault="delay", seconds=0)
"""What happens to a call when nothing happens."""


class ResetError(Exception):
    """The connection to the caller is reset, in place of an answer or of the rest of it."""


class Faults:
    """The faults that an endpoint still has before it; every call takes the first that can happen to it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pending: deque[Fault] = deque()

    @property
    def pending(self) -> list[Fault]:
        """What has not happened yet, in order."""
        return list(self._pending)

    def inject(self, *faults: Fault) -> None:
        """Let these happen after those that are pending."""
        self._pending.extend(faults)

    def clear(self) -> None:
        """Forget what is pending."""
        self._pending.clear()

    def take(self, *, streaming: bool) -> Fault:
        """What happens to a call that arrives now: here at once, or later by the caller's hand.

        Raises:
            RefusedError: The call is refused.
            ResetError: Its connection is reset.
        """
        fault = next((each for each in self._pending if streaming or not each.spoils_streams), None)
        if fault is None:
            return NO_FAULT
        self._pending.remove(fault)
        self._ledger.faulted()
        if fault.fault == "reset":
            raise ResetError
        refusal = REFUSALS.get(fault.fault)
        if refusal is not None:
            raise RefusedError(refusal)
        return fault


def spoilt(fault: Fault, frame: bytes | None) -> bytes:
    """What a stream ends with, in place of a frame (None: in place of its end)."""
    frame = frame or part(b"")
    match fault.fault:
        case "cut_mid_frame" | "reset_mid_frame":
            return frame[: len(frame) // 2]
        case "bad_crc":
            return frame[:-1] + bytes([frame[-1] ^ 0xFF])
        case "stream_error":
            return time_exceeded()
        case "internal_stream_failure":
            return exception("InternalStreamFailure", {"Message": INTERNAL})
        case _:
            return unmodelled_error("InternalServerError", INTERNAL)
