"""A caller's request as aiohttp has it, but for how it is answered; and that it has been."""

from collections.abc import Callable
from typing import Protocol

from aiohttp import HttpVersion, HttpVersion10, HttpVersion11, StreamReader, web
from multidict import CIMultiDictProxy

VERSIONS = (HttpVersion11, HttpVersion10)
"""Those of HTTP that are spoken here."""


class Head(Protocol):
    """Request line and headers, as they came."""

    # Not aiohttp's class by its name: mypy takes that for a tuple, and the compiled code would look for one.

    @property
    def method(self) -> str:
        """The method."""

    @property
    def path(self) -> str:
        """The target."""

    @property
    def version(self) -> HttpVersion:
        """The version."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers."""

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Their bytes; none of a plain request's, whose length was looked at when it was read."""


class Whole(StreamReader):
    """A body all of which came with its head: as much of aiohttp's reader as takes all at once. The rest fails.

    Args:
        body: it.
    """

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body  # what aiohttp's has besides is a kilobyte, of no use here

    def is_eof(self) -> bool:
        """Nothing more comes."""
        return True

    def exception(self) -> None:
        """Nothing went wrong."""

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Nothing goes wrong any more: what is to be read is there."""

    def set_read_chunk_size(self, n: int) -> None:
        """It has come in one piece."""

    async def readany(self) -> bytes:
        """All of it; from then on, nothing."""
        return self.read_nowait()

    def read_nowait(self, n: int = -1) -> bytes:
        """Likewise."""
        if n != -1:
            raise NotImplementedError("a body that came whole is not handed out by parts")
        body, self._body = self._body, b""
        return body


class Request(web.BaseRequest):
    """A request as aiohttp has it, but for how it is answered."""

    ATTRS = web.BaseRequest.ATTRS | frozenset(["on_hang_up"])

    on_hang_up: Callable[[], None] | None = None
    """Called when the caller hangs up, in place of the cancelling of the task that answers it."""

    def let_go(self) -> None:
        """Forget the task that answers it: an exception would hold both, and go in circles."""
        self._task = None  # type: ignore[assignment]

    def head(self) -> Head:
        """Its head, at a fraction of what aiohttp's properties take."""
        return self._message

    @property
    def plain(self) -> bool:
        """Whether all of it was looked at when it was read, and nothing found doubtful."""
        return type(self._payload) is Whole

    @property
    def version(self) -> HttpVersion:
        """The version of the answer."""
        spoken = self._message.version
        return spoken if spoken in VERSIONS else HttpVersion11

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow. Where it could start in the middle of a body, none may."""
        content = self._payload
        return not self._message.should_close and content.is_eof() and content.exception() is None


class Sent:
    """That an answer has gone out whole.

    Attributes:
        status: its HTTP status.
        keep_alive: whether its connection is good for another request.
    """

    __slots__ = ("keep_alive", "status")

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        self.status = status
        self.keep_alive = keep_alive
