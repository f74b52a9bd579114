"""What became of a call: whether a model may have seen it, and what its caller gets."""

import asyncio

from gateway import errors
from gateway.errors import Refusal, failed, stopped
from gateway.models import Answer, Unseen
from gateway.sagemaker import protocol

UNSEEN = {errors.UNREACHABLE: Unseen.UNREACHABLE, errors.CREDENTIALS: Unseen.CREDENTIALS}
"""The refusals of calls that were made and that no model has seen."""


def outcome_of(call: asyncio.Task[Answer]) -> Answer | Refusal:
    """What became of a call that is over."""
    failure = stopped() if call.cancelled() else call.exception()
    if failure is None:
        return call.result()
    if not isinstance(failure, Refusal):
        return failed()
    failure.forget()
    return failure.fresh()


def unseen_of(outcome: Answer | Refusal) -> Unseen | None:
    """Why it is certain that no model saw the call; None where one may have."""
    return UNSEEN.get(outcome.row) if isinstance(outcome, Refusal) else protocol.unseen(outcome)


def final(outcome: Answer | Refusal) -> Answer:
    """What the caller gets: SageMaker's answer as it came, but for the one that is a refusal by its meaning.

    Raises:
        Refusal: likewise.
    """
    if isinstance(outcome, Refusal):
        raise outcome.fresh()
    if protocol.lacks_capacity(outcome):
        raise Refusal(errors.NO_CAPACITY, "SageMaker has no capacity for this endpoint now. No model saw the call.")
    return outcome
