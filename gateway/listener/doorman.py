"""Lets requests in a few at a time, so that a crowd at the door does not keep answers from those who are inside."""

import asyncio
from collections import deque
from collections.abc import Callable

AT_A_TIME = 32
"""How many new requests are begun in one turn of the event loop. In between, answers are passed on: a call that has
ended leaves an instance idle until the next one is sent, and a thousand requests that come at once take as long to read
as some calls take to run."""

IN_A_CROWD = 4
"""How many where more than `AT_A_TIME` wait at the door, and somebody inside for a permit: so will most of these, and
each request begun in a turn leaves an instance that has become free idle a little longer."""


class Doorman:
    """Who may come in now, and who waits for their turn at the door, in the order in which they came.

    Args:
        loop: whose turns count.
        is_full: whether somebody inside waits for a permit.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, is_full: Callable[[], bool]) -> None:
        self._loop = loop
        self._is_full = is_full
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = AT_A_TIME
        self._counting = False

    def lets_in(self) -> bool:
        """Whether one more may come in now; else they have to `wait`."""
        if not self._left or self._waiting:
            return False
        self._left -= 1
        self._count()
        return True

    def wait(self, come_in: Callable[[], None]) -> None:
        """Have somebody called in when it is their turn."""
        self._waiting.append(come_in)
        self._count()

    def let_all_in(self) -> None:
        """Call in everybody who waits: it is closing time, and they are to be told."""
        while self._waiting:
            self._waiting.popleft()()

    def _count(self) -> None:
        if not self._counting:
            self._counting = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._counting = False
        at_a_time = IN_A_CROWD if len(self._waiting) > AT_A_TIME and self._is_full() else AT_A_TIME
        self._left = at_a_time
        try:
            while self._waiting and self._left:
                self._left -= 1
                self._waiting.popleft()()
        finally:  # whatever happens to one of them, the others are called
            if self._left < at_a_time:
                self._count()


class Arrival:
    """A connection that is heard when it is its turn.

    Attributes:
        doorman: says when that is.
        came: what it has said, and waits to be heard.
    """

    __slots__ = ()

    doorman: Doorman
    came: list[bytes]

    def arrive(self, data: bytes) -> None:
        """Have a new request heard, now or later; or more of one that waits."""
        if self.came:
            self.came.append(data)
            self.hold()  # whoever cannot wait is not read from
        elif self.doorman.lets_in():
            self.listen_to(data)
        else:
            self.came.append(data)
            self.doorman.wait(self._come_in)

    def listen_to(self, data: bytes) -> None:
        """Take what came, now that it is its turn."""
        raise NotImplementedError

    def hold(self) -> None:
        """Read no more for now."""
        raise NotImplementedError

    def go_on(self) -> None:
        """Read on."""
        raise NotImplementedError

    def _come_in(self) -> None:
        if not self.came:
            return  # gone, unheard
        if len(self.came) > 1:
            self.go_on()
        data = b"".join(self.came)
        self.came.clear()
        self.listen_to(data)
