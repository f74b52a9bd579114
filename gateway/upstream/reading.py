"""An answer from its bytes, however they are cut: status, headers and body. Strict, by llhttp; nothing here awaits."""

from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from sys import maxsize
from time import perf_counter
from typing import NoReturn

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

from gateway.memo import memo

MAX_HEAD_BYTES = 64 * 1024
"""Names and values of all headers of an answer; and what may come at a stretch that is no part of a body."""

MAX_HEADERS = 128
OK = 200
_FIRST_FINAL_STATUS = 200
_SWITCHING_PROTOCOLS = 101
_WITHOUT_BODY = frozenset({204, 304})
_TOO_LONG = "the head of the answer is too long"
_FRAMING = frozenset({"content-length", "transfer-encoding"})

REMEMBERED = 256
"""How many names of headers, as they are spelt, need to be looked at only once."""


@lru_cache(maxsize=16)
def _known(passed: frozenset[str]) -> Callable[[bytes], str | None]:
    """What becomes of headers, by their names as they come: passed back, a word on the body's length (empty), or none.

    Args:
        passed: the headers that are passed back, in lower case. There are as many sets of them as operations.
    """

    def kind(raw: bytes) -> str | None:
        name = raw.decode("latin-1")
        lower = name.lower()
        return name if lower in passed else "" if lower in _FRAMING else None

    return memo(kind, REMEMBERED)


class WireError(Exception):
    """There is no whole answer; the message says why, and is for the caller's eyes."""


class Reader:
    """Reads the answers on one connection, one after the other.

    The `on_...` methods are llhttp's, called within `feed`: what they say holds for the answer as far as it has come.

    Attributes:
        status: HTTP status of the answer; 0 until its headers are there.
        headers: those that are passed back, in order and spelling.
        at: when they were there, by `perf_counter`.
        parted: whether its body is to be taken as it comes, which its headers decide.
        size: bytes of the body that wait to be taken.
        done: whether all of it has come.
        reusable: whether the connection can take another call then.
    """

    __slots__ = (
        "_by_parts",
        "_fields",
        "_known",
        "_limit",
        "_parser",
        "_parts",
        "_passed",
        "_problem",
        "_quiet",
        "_until_end",
        "at",
        "done",
        "headers",
        "parted",
        "reusable",
        "size",
        "status",
    )

    def __init__(self) -> None:
        self._passed: frozenset[str] = frozenset()
        self._known = _known(self._passed)
        self.begin(self._passed, 0, by_parts=False)
        self.done = True
        self._parser = HttpResponseParser(self)

    def begin(self, passed: frozenset[str], limit: int, *, by_parts: bool) -> None:
        """Expect the next answer.

        Args:
            passed: the headers that are passed back, in lower case.
            limit: longest body.
            by_parts: whether the body of a 200 is to be taken as it comes, however long it is.
        """
        if passed is not self._passed:
            self._passed, self._known = passed, _known(passed)
        self._limit = limit
        self._fields: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._quiet = self.size = self.status = 0
        self._problem = ""
        self._until_end = self.parted = self.done = self.reusable = False
        self.headers: list[tuple[str, str]] = []
        self.at = 0.0
        self._by_parts = by_parts

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            WireError: they are no answer, or none that may be taken.
        """
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            if isinstance(error, HttpParserCallbackError) and not self._problem:
                raise  # a bug of ours
            if not self.done:
                raise WireError(self._problem or f"not HTTP: {error}") from error
            self.reusable = False  # nobody asked for what comes after the end
        if (self._quiet > MAX_HEAD_BYTES or len(self._fields) > MAX_HEADERS) and not self.done:
            raise WireError(_TOO_LONG)

    def end(self) -> None:
        """Take that no more will come.

        Raises:
            WireError: the answer is not whole.
        """
        if not self._until_end:
            raise WireError("it was closed")
        self.done = True

    def take(self) -> bytes:
        """What has come of the body since."""
        parts = self._parts
        if not parts:
            return b""
        self._parts = []
        self.size = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go of llhttp, which holds its reader, for one that tells nobody."""
        self._parser = HttpResponseParser(None)

    def on_message_begin(self) -> None:
        """The first byte of an answer."""
        if self.done:
            self._refuse("an answer to nothing")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; or a trailer, which is nobody's."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The end of the headers, of an interim answer as well."""
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL_STATUS:
            if status == _SWITCHING_PROTOCOLS:
                self._refuse("SageMaker switched protocols unasked")
            return
        if self._quiet > MAX_HEAD_BYTES and sum(map(len, chain(*self._fields))) > MAX_HEAD_BYTES:
            self._refuse(_TOO_LONG)
        framed = self._read_fields()
        if self._by_parts and status == OK:
            if not framed:
                self._refuse("a stream without a length ends as it breaks")
            self._limit = maxsize
            self.parted = True
        self._until_end = not framed and status not in _WITHOUT_BODY
        self.status = status
        self.at = perf_counter()

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        self._quiet = 0
        self.size += len(part)
        if self.size > self._limit:
            self._refuse(f"the answer is longer than max_response_bytes ({self._limit})")
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """The end of an answer that says itself where it ends; after an interim one the next is expected."""
        if len(self._fields) > MAX_HEADERS:
            self._refuse(_TOO_LONG)
        if self.status:
            self.done = True
            self.reusable = self._parser.should_keep_alive()
        else:
            self.begin(self._passed, self._limit, by_parts=self._by_parts)

    def _read_fields(self) -> bool:
        """Sort the headers out; whether they say where the body ends."""
        framed, known, headers = False, self._known, self.headers
        for raw_name, raw_value in self._fields:
            name = known(raw_name)
            if name:
                try:
                    headers.append((name, raw_value.rstrip(b" \t").decode()))
                except UnicodeDecodeError:
                    self._refuse(f"the answer's header {name} is not UTF-8")
            elif name is not None:
                framed = True
                if raw_name.lower() == b"transfer-encoding" and raw_value.strip().lower() != b"chunked":
                    self._refuse("a transfer coding that nobody asked for")
        return framed

    def _refuse(self, problem: str) -> NoReturn:
        """Stop llhttp in the middle; it hides what is raised, but `feed` says it again."""
        self._problem = problem
        raise WireError(problem)
