"""Who has come, and what has become of them: each errand with all of its attempts."""

from dataclasses import dataclass, field
from typing import TypeAlias

from tests.machine.wire import Reply, Wire

Tiers: TypeAlias = tuple[tuple[str, ...], ...]
FRAMES = "application/vnd.amazon.eventstream"


@dataclass(eq=False)
class Errand:
    """What somebody wants: one call, however often it is sent.

    Attributes:
        route: whom they ask.
        body: what tells it from all others.
        joins: whether an SDK sends it, so that attempts join.
        streams: whether the answer is to come in parts.
        limit: how many seconds they want to wait.
    """

    route: str
    body: bytes
    joins: bool
    streams: bool
    limit: float | None
    attempts: list["Attempt"] = field(default_factory=list)
    displaced: bool = False
    """Whether its targets did not take calls, or had no place to wait, at some moment: then it may be elsewhere."""

    @property
    def open(self) -> list["Attempt"]:
        """The attempts that have been sent whole, and that nothing has become of, not even unread."""
        return [each for each in self.attempts if each.open and each.complete is not None and not each.stalled]

    @property
    def first(self) -> float:
        """Since when it waits at least, of those who wait for it; in seconds."""
        return min((each.complete for each in self.attempts if each.complete is not None), default=0.0)


@dataclass(eq=False)
class Attempt:
    """One request.

    Attributes:
        number: how many came before it.
        errand: what it is for.
        tiers: who may serve, by the config of its time; none where there was no such route.
        step: when it came, in steps of the machine's story.
        late: whether newcomers were refused by then.
        patience: how long it may have to wait, by the configs of its time; the least and the most.
        complete: when the last byte of its body was sent, in seconds.
        gone: when it was given up by its caller, in steps.
        hasty: whether that was before the gateway came to rest, so that much may have come first.
        reply: what it was answered.
        cut: whether its connection was ended without a whole answer.
        judged: whether its answer has been looked at.
        slow: whether its caller has ever not read what was there.
    """

    number: int
    errand: Errand
    tiers: Tiers
    step: int
    late: bool
    patience: tuple[float, float]
    complete: float | None
    wire: Wire | None = None
    gone: int | None = None
    hasty: bool = False
    reply: Reply | None = None
    cut: bool = False
    judged: bool = False
    slow: bool = False

    @property
    def open(self) -> bool:
        """Whether nothing has become of it."""
        return self.gone is None and self.reply is None and not self.cut

    @property
    def left(self) -> bool:
        """Whether its caller is there no more, or was dropped because it did not read."""
        return self.gone is not None or self.cut

    @property
    def name(self) -> str:
        """Its id."""
        return f"attempt-{self.number}"

    @property
    def at(self) -> Wire:
        """Its connection, once it is there."""
        assert self.wire is not None
        return self.wire

    def pause(self) -> None:
        """Read nothing for a while."""
        self.slow = True
        self.at.stall()

    def go_on(self) -> None:
        """Read on."""
        self.at.resume()

    @property
    def stalled(self) -> bool:
        """Whether there is something that it does not read."""
        return self.wire is not None and self.wire.stalled

    def head(self) -> bytes:
        """The request without its body."""
        errand = self.errand
        operation = "invocations-response-stream" if errand.streams else "invocations"
        lines = [
            f"POST /endpoints/{errand.route}/{operation} HTTP/1.1",
            "Host: gateway",
            "Connection: close",
            f"X-Request-Id: {self.name}",
            f"Content-Length: {len(errand.body)}",
            *([f"Accept: {FRAMES}"] if errand.streams else []),
            *([f"amz-sdk-invocation-id: {errand.body.split()[0].decode()}"] if errand.joins else []),
            *([f"X-Gateway-Queue-Timeout: {errand.limit:g}"] if errand.limit is not None else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def look(self) -> None:
        """See what has become of it."""
        wire = self.wire
        if wire is None or not self.open:
            return
        reply = wire.reply
        if reply is not None and reply.whole:
            self.reply = reply
        elif wire.lost:
            self.cut = True
