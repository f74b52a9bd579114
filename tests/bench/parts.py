"""A streamed answer that both ends know beforehand: asked for in a body, sent by the upstream, checked by callers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from gateway.emulator.frames import part

OPERATION = b"/invocations-response-stream"
PART_BYTES = 100
_WISH = b"%016d %08d %08d"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants streamed.

    Attributes:
        number: tells this answer from all others.
        count: how many parts.
        between: milliseconds from one part to the next; 0 sends them as fast as they are taken.
    """

    number: int
    count: int
    between: int

    @classmethod
    def read(cls, body: bytes) -> Self:
        """What a body asks for."""
        number, count, between = map(int, body.split())
        return cls(number, count, between)

    def body(self) -> bytes:
        """The body that asks for it."""
        return _WISH % (self.number, self.count, self.between)

    @property
    def seconds_between(self) -> float:
        """From one part to the next."""
        return self.between / 1000

    def payloads(self) -> Iterator[bytes]:
        """What the model says, part by part; the first one tells the number."""
        yield _payload(self.number)
        yield from map(_payload, range(1, self.count))

    def frames(self) -> Iterator[bytes]:
        """How SageMaker sends it."""
        yield part(_payload(self.number))
        yield from map(_frame, range(1, self.count))


def _payload(number: int) -> bytes:
    return (b"%016d " % number).ljust(PART_BYTES, b"x")


@lru_cache(maxsize=10_000)
def _frame(index: int) -> bytes:
    """Made once, so that the upstream is no bottleneck."""
    return part(_payload(index))
