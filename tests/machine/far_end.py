"""SageMaker as the data path meets it, in place of `Upstream`: calls run until the test ends them, and are counted."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.errors import BROKEN, TIMEOUT, UNREACHABLE, Refusal
from gateway.models import Answer, Call
from gateway.upstream import Sink
from tests.parts import part

COOLDOWN_SECONDS = {"a": 0.0, "b": 3.0, "c": 1.0}
"""How long a permit of each endpoint cools: as long as a model here works on that was given up."""

UNSEEN_KINDS = ("throttled", "not ready", "no capacity", "expired")
"""Answers that SageMaker gives before it asks a model."""


def _error(status: int, code: str, **members: object) -> Answer:
    return Answer(status, [("x-amzn-ErrorType", code)], json.dumps(members).encode())


ERRORS = {
    "invalid": _error(400, "ValidationError", Message="what is this?"),
    "model error": _error(424, "ModelError", Message="it raised", OriginalStatusCode=500),
    "given up": _error(424, "ModelError", Message="too slow", OriginalStatusCode=0),
    "failed": _error(500, "InternalFailure", Message="sorry"),
    "throttled": _error(400, "ThrottlingException", message=None),
    "not ready": _error(429, "ModelNotReadyException", Message="loading"),
    "no capacity": _error(400, "ValidationError", Message="Inference Component x has no capacity now"),
    "expired": _error(403, "ExpiredTokenException", Message="too old"),
}
KINDS = ("ok", *ERRORS, "broken")
"""How a call may end, beside being unreachable, and taking too long."""

Item: TypeAlias = bytes | Answer | Refusal


@dataclass(eq=False)
class Run:
    """One call that was sent.

    Attributes:
        number: how many were sent before it.
        endpoint: where.
        body: what it asks.
        streams: whether its answer comes in parts.
        at: when it was sent, in steps of the machine's story.
        connected: whether a connection came about.
        over: when it was over, likewise; None while it is under way.
        seen: whether a model may have seen it.
        answer: what came of it; None where that is no answer.
        ended: when, in seconds.
        begun: whether a part of its answer has come.
        sent: the parts that have.
        ending: whether its end is under way.
        cut: whether the gateway ended it.
        uncounted: whether operators see nothing of it, because its endpoint had left the config and was idle.
    """

    number: int
    endpoint: str
    body: bytes
    at: int
    streams: bool
    connected: bool = False
    over: int | None = None
    seen: bool = False
    answer: Answer | None = None
    ended: float = 0.0
    begun: bool = False
    sent: bytes = b""
    ending: bool = False
    cut: bool = False
    uncounted: bool = False
    inbox: "asyncio.Queue[Item]" = field(default_factory=asyncio.Queue)

    def ok(self) -> Answer:
        """The good answer to it."""
        return Answer(200, [("Content-Type", "text/plain")], b"%d answers %s" % (self.number, self.body))

    def end(self, kind: str) -> None:
        """Have it end."""
        self.ending = True
        if kind == "broken":
            self.inbox.put_nowait(Refusal(BROKEN, "It broke. The model may have run."))
        else:
            self.inbox.put_nowait(self.ok() if kind == "ok" else ERRORS[kind])

    def put(self, payload: bytes) -> None:
        """Have a part of its answer come."""
        self.inbox.put_nowait(part(payload))


class FarEnd:
    """All endpoints together.

    Args:
        clock: seconds of now.
        story: how many things have happened.
        watch: is told of each call before it counts.
        gave_up: is told of each call that the gateway ends while it is under way.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        story: Callable[[], int],
        watch: Callable[[Run], None],
        gave_up: Callable[[Run], None],
    ) -> None:
        self._gave_up = gave_up
        self.now = clock
        self._story = story
        self._watch = watch
        self.runs: list[Run] = []
        self.doors = dict.fromkeys("abc", "open")
        """Of each endpoint: whether it can be reached (`open`), or is `shut`, `silent`, or scaled in (`empty`)."""
        self._ghosts: dict[str, list[float]] = {name: [] for name in "abc"}

    def alive(self, endpoint: str | None = None) -> list[Run]:
        """The calls that are under way, to an endpoint, or to any."""
        return [run for run in self.runs if run.over is None and endpoint in (None, run.endpoint)]

    def all_uncounted(self, endpoint: str) -> bool:
        """Whether operators see nothing of the last call to an endpoint."""
        last = [run for run in self.runs if run.endpoint == endpoint][-1:]
        return all(run.uncounted for run in last)

    def working_on(self, endpoint: str) -> int:
        """How many models are at work on calls that were given up."""
        self._ghosts[endpoint] = [until for until in self._ghosts[endpoint] if until > self.now() + 1e-6]
        return len(self._ghosts[endpoint])

    async def send(
        self,
        call: Call,
        sink: Sink | None = None,
        *,
        connected: Callable[[], None],
        answered: Callable[[int], None],
    ) -> Answer:
        """Take a call, as `Upstream` does."""
        run = Run(len(self.runs), call.url.split("/")[-2], call.body, self._story(), sink is not None)
        self._watch(run)
        self.runs.append(run)
        try:
            await self._connect(run, call)
            run.connected = run.seen = True
            connected()
            async with asyncio.timeout(call.timeout_seconds):
                answer = await self._work(run, sink)
        except TimeoutError:
            self._works_on(run)
            raise Refusal(TIMEOUT, "It takes too long. The model may still run.") from None
        except asyncio.CancelledError:
            run.cut = True
            self._gave_up(run)
            raise
        finally:
            run.over, run.ended = self._story(), self.now()
        run.answer = answer
        run.seen = answer not in [ERRORS[kind] for kind in UNSEEN_KINDS]
        if answer is ERRORS["given up"]:
            self._works_on(run)
        if sink is None:
            # By the loop, as of the last byte that is read; whoever waits goes on later.
            telling = asyncio.get_running_loop().call_soon(answered, answer.status)
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                telling.cancel()
                raise
            return answer
        return Answer(answer.status, answer.headers, b"", 0.001) if answer.status == 200 else answer

    async def _connect(self, run: Run, call: Call) -> None:
        if self.doors[run.endpoint] == "silent":
            await asyncio.sleep(min(call.connect_seconds * call.connect_attempts, call.timeout_seconds))
        if self.doors[run.endpoint] == "empty":
            run.end("no capacity")
        elif self.doors[run.endpoint] != "open":
            raise Refusal(UNREACHABLE, "It could not be reached. The call was not sent.")

    async def _work(self, run: Run, sink: Sink | None) -> Answer:
        while True:
            item = await run.inbox.get()
            if isinstance(item, Refusal):
                raise item
            good = isinstance(item, bytes) or item.status == 200
            if run.begun and not good:
                raise Refusal(BROKEN, "It broke after it had begun. The model has run.")
            if sink is not None and good and not run.begun:
                run.begun = True
                sink.begin(Answer(200, run.ok().headers, b"", 0.001))
            if isinstance(item, Answer):
                return item
            assert sink is not None
            run.sent += item
            await sink.put(item)

    def _works_on(self, run: Run) -> None:
        self._ghosts[run.endpoint].append(self.now() + COOLDOWN_SECONDS[run.endpoint])
