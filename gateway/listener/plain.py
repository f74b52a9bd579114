"""Reads a request that came in one piece, and of which nothing is doubtful; any other one is for aiohttp's parser.

Nearly all are like this, and cost a tenth less without the machinery for those that are not. What is taken here is a
part of what the parser takes, and read as it reads it: `tests/test_plain.py` compares the two. Left to the parser is
whatever means more than itself: other methods, chunks, expectations, upgrades, what stands there twice.
"""

import re
from typing import Any

from aiohttp import HttpVersion11
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy, istr
from yarl import URL

from gateway.listener.limits import Limits
from gateway.listener.strict import is_host
from gateway.memo import memo
from gateway.request import Whole

REMEMBERED, LONGEST_REMEMBERED = 512, 256
"""How many lines need to be looked at only once, since clients say nearly the same in each request; and how long these
may be."""

_HEAD_END = b"\r\n\r\n"
_LINE = re.compile(rb"(GET|POST) (/[!\"$-~]*) HTTP/1\.1")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, section 5.6.2."""

_make: Any = RawRequestMessage  # by its name, mypyc would take what it makes for a tuple, as aiohttp's Python has it
_UNFRAMED = False, None, False, False
"""What aiohttp calls `should_close`, `compression`, `upgrade` and `chunked`."""

_DIGITS = re.compile(r"[0-9]{1,15}")
_CONNECTION, _HOST, _LENGTH = istr("Connection"), istr("Host"), istr("Content-Length")
_DOUBTFUL = istr(), ""

_OTHERS = frozenset(
    {
        "content-encoding",
        "expect",
        "proxy-connection",
        "sec-websocket-key1",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that have the parser, or whoever comes after it, do something else."""

_REMEMBERED = frozenset(
    {
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "Amz-Sdk-Request",
        "Connection",
        "Content-Length",
        "Content-Type",
        "Host",
        "User-Agent",
    }
)
"""Headers that say the same in many requests. Of others nothing is kept: it may be a secret."""


class Plain:
    """Reads requests.

    Args:
        limits: the bounds. A head that comes near one of them is for the parser, which tells which it is.
    """

    def __init__(self, limits: Limits) -> None:
        self._most = min(limits.line_bytes, limits.field_bytes, limits.head_bytes)
        self._headers = limits.headers

    def read(self, data: bytes) -> tuple[Any, Whole] | int:
        """The request that these bytes are: its head in aiohttp's form, and its body.

        Where they are but the beginning of one, or more than one, it is how many bytes that has; and 0 where not all of
        its head is there, or anything is doubtful.

        Args:
            data: what has come, from the first byte of a request on.
        """
        end = data.find(_HEAD_END, 0, self._most)
        if end < 0:
            return 0
        lines = data[:end].split(b"\r\n")
        line = _line(lines.pop(0))
        # A doubtful line goes by no name, and where two have the same name there are fewer fields than lines.
        fields = dict(map(_field, lines))
        if line is None or "" in fields or _HOST not in fields or not len(lines) == len(fields) <= self._headers:
            return 0
        start = end + len(_HEAD_END)
        size = start + int(fields.get(_LENGTH, 0))
        if size != len(data):
            return size
        method, target, url = line
        headers = CIMultiDictProxy(CIMultiDict(fields))
        message = _make(method, target, HttpVersion11, headers, (), *_UNFRAMED, url)
        return message, Whole(data[start:])


def _read_line(line: bytes) -> tuple[str, str, URL] | None:
    """Method and target of a request, and this as a URL; None where anything is doubtful."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    target = found[2].decode("ascii")
    path, _, query = target.partition("?")
    return found[1].decode("ascii"), target, URL.build(path=path, query_string=query, encoded=True)


def _is_remembered_line(line: bytes, _: object) -> bool:
    return len(line) <= LONGEST_REMEMBERED and b"?" not in line  # a query may hold a signature


def _read_name(raw: bytes) -> istr:
    """The name of a header, of which there is one spelling here; empty where it is doubtful."""
    name = raw.decode("latin-1").lower()
    return istr() if name in _OTHERS or not _NAME.fullmatch(raw) else istr(name.title())


def _read_field(line: bytes) -> tuple[istr, str]:
    """Name and value of a header; no name where anything of it is doubtful."""
    raw, colon, rest = line.partition(b":")
    if not colon:
        return _DOUBTFUL
    name, text = _name(raw), rest.strip(b" ").decode("latin-1")
    if not text.isascii() or not text.isprintable():
        return _DOUBTFUL
    if name == _LENGTH and not _DIGITS.fullmatch(text):
        return _DOUBTFUL
    if name == _HOST and not is_host(text):
        return _DOUBTFUL
    if name == _CONNECTION and text.lower() != "keep-alive":
        return _DOUBTFUL
    return name, text


def _is_remembered_field(line: bytes, field: tuple[istr, str]) -> bool:
    return len(line) <= LONGEST_REMEMBERED and field[0] in _REMEMBERED


_line = memo(_read_line, REMEMBERED, keeps=_is_remembered_line)
_name = memo(_read_name, REMEMBERED, keeps=lambda raw, _: len(raw) <= LONGEST_REMEMBERED)
_field = memo(_read_field, REMEMBERED, keeps=_is_remembered_field)
