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
from gateway.value import value

REMEMBERED, LONGEST_REMEMBERED = 512, 256
"""How many lines need to be looked at only once, since clients say nearly the same in each request; and how long these
may be."""

HEAD_END = b"\r\n\r\n"
_LINE = re.compile(rb"POST (/[!\"$-~]*) HTTP/1\.1")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, section 5.6.2."""

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

_FORGOTTEN = frozenset({"", "Authorization", "Cookie", "X-Amz-Security-Token", "X-Api-Key"})
"""Headers that are looked at each time, since they are secret, or may be."""


@value
class Found:
    """A request; or its head, with what has come of its body.

    Attributes:
        message: the head, as aiohttp's parser has it.
        content: the body.
        size: how many bytes the whole request has.
    """

    message: Any  # aiohttp's class is known as a tuple, and is none
    content: Whole
    size: int


class Plain:
    """Reads requests.

    Args:
        limits: the bounds. A head that comes near one of them is for the parser, which tells which it is.
    """

    def __init__(self, limits: Limits) -> None:
        self._most = min(limits.line_bytes, limits.field_bytes, limits.head_bytes)
        self._headers = limits.headers

    def read(self, data: bytes) -> Found | None:
        """The request that these bytes begin; None where its head is not whole, or anything is doubtful.

        Args:
            data: what has come, from the first byte of a request on.
        """
        end = data.find(HEAD_END, 0, self._most)
        if end < 0:
            return None
        lines = data[:end].split(b"\r\n")
        target = _target(lines.pop(0))
        # A doubtful line goes by no name, and where two have the same name there are fewer fields than lines.
        fields = dict(map(_field, lines))
        length = fields.get(_LENGTH)
        if target is None or length is None or "" in fields or _HOST not in fields:
            return None
        if not len(lines) == len(fields) <= self._headers:
            return None
        headers = CIMultiDictProxy(CIMultiDict(fields))
        message = RawRequestMessage("POST", target[0], HttpVersion11, headers, (), *_UNFRAMED, target[1])
        start = end + len(HEAD_END)
        return Found(message, Whole(data[start:]), start + int(length))


def _read_target(line: bytes) -> tuple[str, URL] | None:
    """What stands between method and version, and as a URL; None where it is doubtful."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    target = found[1].decode("ascii")
    path, _, query = target.partition("?")
    return target, URL.build(path=path, query_string=query, encoded=True)


def _read_name(raw: bytes) -> istr:
    """The name of a header, of which there is one spelling here; empty where it is doubtful."""
    name = raw.decode("latin-1").lower()
    return istr() if name in _OTHERS or not _NAME.fullmatch(raw) else istr(name.title())


def _read_field(line: bytes) -> tuple[istr, str]:
    """Name and value of a header; no name where anything of it is doubtful."""
    raw, colon, rest = line.partition(b":")
    name, text = _name(raw), rest.strip(b" ").decode("latin-1")
    if not colon or not text.isascii() or not text.isprintable():
        return _DOUBTFUL
    if name == _LENGTH and not _DIGITS.fullmatch(text):
        return _DOUBTFUL
    if name == _HOST and not is_host(text):
        return _DOUBTFUL
    if name == _CONNECTION and text.lower() != "keep-alive":
        return _DOUBTFUL
    return name, text


def _is_remembered(line: bytes, field: tuple[istr, str]) -> bool:
    return len(line) <= LONGEST_REMEMBERED and field[0] not in _FORGOTTEN


_target = memo(_read_target, REMEMBERED, keeps=lambda line, _: len(line) <= LONGEST_REMEMBERED)
_name = memo(_read_name, REMEMBERED, keeps=lambda raw, _: len(raw) <= LONGEST_REMEMBERED)
_field = memo(_read_field, REMEMBERED, keeps=_is_remembered)
