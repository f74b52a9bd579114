"""What a row of the fault table is: the far end, the callers, and all that has to come of it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from tests.raw import Script, serve_ok

ENDPOINT = "raw"
"""The endpoint that all rows call."""

NOTHING = "none held"
"""How permits are told where none is taken."""

NO_MORE: Mapping[str, Any] = MappingProxyType({})


class Holds(StrEnum):
    """What the table says of the permit."""

    NEVER_TAKEN = "-"
    RETURNED = "R"
    COOLED = "R, after cooldown_seconds"
    HELD = "H"
    KEPT = "kept"
    ALL_BUSY = "all busy"


@dataclass(frozen=True)
class Reply:
    """What one caller sees.

    Attributes:
        status: HTTP status; 0 where the connection ended without one.
        code: `x-amzn-ErrorType`.
        error: the error type of `Proxy-Status`, which marks the gateway's own answers; empty in SageMaker's.
        original: `OriginalStatusCode` of the gateway's own ModelError.
        retry_after: whether it says when to come back.
        cut: whether the connection ended before the answer was whole.
        body: of SageMaker's answers, what arrived; of the gateway's own, nothing, since its words may change.
    """

    status: int
    code: str = ""
    error: str = ""
    original: int | None = None
    retry_after: bool = False
    cut: bool = False
    body: bytes = b""

    def __str__(self) -> str:
        """As it stands in the report."""
        parts = [
            str(self.status),
            self.code if self.original is None else f"{self.code}/{self.original}",
            self.error and f"({self.error})",
            "Retry-After" if self.retry_after else "",
            "as it came" if self.code and not self.error else "",
            "cut off" if self.cut else "",
        ]
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What comes of a row. Expected and measured ones are the same when everything is as the table says.

    Attributes:
        replies: how many callers saw what; who hung up saw nothing.
        counted: what `/metrics` counted of them, by counter and label; zeros are left out.
        chance: counters that are left out, since chance decides them.
        permits: the gauges at the moment that counts: when the last answer came, if the row names no other.
        released: how many permits were taken and given back; None where chance decides.
        runs: how many requests the far end got, which is how often models ran; None likewise.
        promises: what else has to be true.
        left: the gauges at the end.
        following: the status of one more call, after all.
        leaks: what the gateway's own answers told that is nobody's business.
        notes: figures for the report.
    """

    replies: Mapping[Reply, int]
    counted: Mapping[str, int]
    chance: frozenset[str] = frozenset()
    permits: str = NOTHING
    released: int | None = 1
    runs: int | None = 1
    promises: Mapping[str, bool] = field(default_factory=dict)
    left: str = NOTHING
    following: int | None = 200
    leaks: tuple[str, ...] = ()
    notes: str = field(default="", compare=False)

    def lines(self) -> Iterator[str]:
        """It in words, for the report."""
        for reply, count in self.replies.items():
            yield f"{reply}" if count == 1 else f"{reply} x{count}"
        yield "; ".join(f"{name}: {count}" for name, count in sorted(self.counted.items()))
        yield f"permits: {self.permits}" + ("" if self.released is None else f"; given back: {self.released}")
        if self.runs is not None:
            yield f"requests at the far end: {self.runs}"
        for promise, kept in self.promises.items():
            yield promise if kept else f"NOT: {promise}"
        if self.left != NOTHING:
            yield f"LEFT BEHIND: {self.left}"
        if self.following is not None:
            yield f"next call: {self.following}"
        if self.leaks:
            yield f"LEAKED: {', '.join(self.leaks)}"
        if self.notes:
            yield self.notes


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table, or one of the cases in it.

    Attributes:
        number: of the row.
        scenario: what happens.
        callers: what callers do; plays the row and says what came of it.
        permit: what becomes of the permit, as the table puts it.
        expected: what has to come of it.
        far_end: what plays SageMaker: one script for each connection, the last for all that follow. Without one,
            nobody listens there.
        endpoint: settings of the endpoint; one instance, if they say nothing else.
        config: other groups of the config.
        url: where the far end is.
        world: what is different around it.
        defect: why it does not hold, as long as it does not.
    """

    number: int
    scenario: str
    callers: "Player"
    permit: Holds
    expected: Outcome
    far_end: tuple[Script, ...] = (serve_ok,)
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    url: str = "http://127.0.0.1:{port}"
    world: Callable[[], AbstractContextManager[None]] = nullcontext
    defect: str = ""

    async def play(self) -> Outcome:
        """What comes of it."""
        return await self.callers(self)


Player = Callable[[Row], Awaitable[Outcome]]
