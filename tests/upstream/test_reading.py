"""An answer from its bytes: the same however they are cut, and nothing from bytes that are none."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.reading import MAX_HEAD_BYTES, MAX_HEADERS, Reader, WireError

LIMIT = 64 * 1024
PASSED = frozenset({"content-type", "x-kept"})
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Read(NamedTuple):
    """What a reader has read."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    reusable: bool


def read(segments: Iterable[bytes], *, by_parts: bool = False, ends: bool = False) -> Read:
    """One answer in these segments.

    Args:
        segments: its bytes.
        by_parts: whether its body is taken after each of them.
        ends: whether the connection is closed after the last.
    """
    reader, body = Reader(), []
    reader.begin(PASSED, LIMIT, by_parts=by_parts)
    for segment in segments:
        reader.feed(segment)
        if reader.parted:
            body.append(reader.take())
    if ends:
        reader.end()
    assert reader.done
    body.append(reader.take())
    return Read(reader.status, reader.headers, b"".join(body), reader.reusable)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The bytes, in segments that end at these places."""
    inner = sorted({place % len(data) for place in places} - {0})
    return [data[start:end] for start, end in pairwise([0, *inner, len(data)])]


class Sample(NamedTuple):
    """An answer on the wire, and what is to be read.

    Attributes:
        wire: its bytes.
        ends: whether it ends with its connection.
        expected: what is read.
    """

    wire: bytes
    ends: bool
    expected: Read


NAMES = st.sampled_from(["X-Kept", "x-kept", "Content-Type", "Server", "X-Other"])
VALUES = st.text(st.characters(min_codepoint=0x20, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=30)
INTERIM = st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nX-Kept: no\r\n\r\n"])


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Any whole answer: interim ones before it, any headers, a body with a length, in chunks, or until the end."""
    status = draw(st.sampled_from([200, 200, 200, 201, 400, 424, 503, 530]))
    fields = draw(st.lists(st.tuples(NAMES, VALUES.map(lambda value: value.strip(" "))), max_size=5))
    chunks = draw(st.lists(st.binary(min_size=1, max_size=200), max_size=5))
    body = b"".join(chunks)
    framing = draw(st.sampled_from(["length", "chunks", "end"]))
    lines = [f"{name}: {value}".encode() for name, value in fields]
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
        wire = body
    elif framing == "chunks":
        lines.append(b"Transfer-Encoding: chunked")
        trailer = draw(st.sampled_from([b"", b"X-Kept: trailer\r\n"]))
        wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailer + b"\r\n"
    else:
        wire = body
    start = b"%bHTTP/1.1 %d Any\r\n%b\r\n" % (draw(INTERIM), status, b"".join(line + b"\r\n" for line in lines))
    headers = [(name, value) for name, value in fields if name.lower() in PASSED]
    return Sample(start + wire, framing == "end", Read(status, headers, body, framing != "end"))


@given(samples(), st.lists(st.integers(min_value=0), max_size=12))
def test_an_answer_is_the_same_however_it_is_cut(sample: Sample, places: list[int]) -> None:
    """Whole or in parts: the same status, headers and body, and the same word on its connection."""
    segments = cut(sample.wire, places)

    assert read(segments, ends=sample.ends) == sample.expected
    if not sample.ends:
        assert read(segments, by_parts=True) == sample.expected


@given(samples())
def test_an_answer_may_come_byte_by_byte(sample: Sample) -> None:
    """The worst cut of all."""
    assert read([bytes([byte]) for byte in sample.wire], ends=sample.ends) == sample.expected


@given(samples(), st.lists(st.integers(min_value=0), max_size=5), st.integers(min_value=0))
def test_a_beginning_is_no_answer(sample: Sample, places: list[int], length: int) -> None:
    """All of it but the end is never done; and where the connection ends, it says so."""
    beginning = sample.wire[: length % len(sample.wire)]
    reader = Reader()
    reader.begin(PASSED, LIMIT, by_parts=False)
    for segment in cut(beginning, places) if beginning else ():
        reader.feed(segment)
    assert not reader.done
    if not sample.ends or not reader.status:
        with pytest.raises(WireError):
            reader.end()


@given(samples().filter(lambda sample: not sample.ends), st.binary(min_size=1, max_size=100))
def test_what_follows_an_answer_does_not_change_it(sample: Sample, more: bytes) -> None:
    """It stands; but its connection is done with, unless it were line ends, which are nothing."""
    answer = read([sample.wire + more])

    assert answer._replace(reusable=True) == sample.expected
    assert answer.reusable == (not more.strip(b"\r\n"))


@given(st.binary(max_size=300))
def test_other_bytes_are_no_answer(noise: bytes) -> None:
    """Nothing but `WireError` comes of them."""
    reader = Reader()
    reader.begin(PASSED, LIMIT, by_parts=False)
    try:
        reader.feed(noise)
        reader.feed(noise)
    except WireError:
        pass
    assert not reader.done


@pytest.mark.parametrize(
    ("wire", "problem"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "switched protocols"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "switched protocols"),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer coding"),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\nzipped", "transfer coding"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", "not HTTP"),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "not HTTP"),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", "not HTTP"),
        (HEAD + b"Content-Length: 0x2\r\n\r\nok", "not HTTP"),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\nok", "not HTTP"),
        (HEAD + b"Content-Length:\r\n\r\nok", "not HTTP"),
        (HEAD + b"Content-Length : 2\r\n\r\nok", "not HTTP"),
        (HEAD + b"X-Kept: a\r\n folded\r\nContent-Length: 0\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "not HTTP"),
        (b"HTTP/1.1 99 Low\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 2000 High\r\n\r\n", "not HTTP"),
        (CHUNKED + b"-2\r\nok\r\n", "not HTTP"),
        (CHUNKED + b"2 \r\nok\r\n0\r\n\r\n", "not HTTP"),
        (CHUNKED + b"2\nok\r\n0\r\n\r\n", "not HTTP"),
        (CHUNKED + b"2\r\nokay\r\n0\r\n\r\n", "not HTTP"),
        (CHUNKED + b"fffffffffffffffff\r\nok", "not HTTP"),
        (HEAD + b"X-Kept: \xff\r\nContent-Length: 0\r\n\r\n", "X-Kept is not UTF-8"),
        (HEAD + b"X-Kept: a\rb\r\n\r\n", "not HTTP"),
        (HEAD + b"X-Kept: a\x00b\r\n\r\n", "not HTTP"),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1), f"max_response_bytes ({LIMIT})"),
    ],
)
def test_a_refusal_says_why(wire: bytes, problem: str) -> None:
    """What could be read in two ways is not read at all: in one segment, and byte by byte."""
    for segments in ([wire], [bytes([byte]) for byte in wire]):
        with pytest.raises(WireError) as caught:
            read(segments)
        assert problem in str(caught.value)


def test_headers_that_are_not_passed_back_may_be_any_bytes() -> None:
    """Nobody sees them."""
    assert read([HEAD + b"X-Other: \xff\r\nContent-Length: 0\r\n\r\n"]) == (200, [], b"", True)


@pytest.mark.parametrize("segment", [1, 1000])
@pytest.mark.parametrize(
    "wire",
    [
        HEAD + b"X-Kept: " + b"x" * MAX_HEAD_BYTES,
        HEAD + b"x" * MAX_HEAD_BYTES,
        b"HTTP/1.1 200 " + b"x" * MAX_HEAD_BYTES,
        HEAD + b"X-Any: x\r\n" * (MAX_HEADERS + 2),
        CHUNKED + b"2;" + b"x" * MAX_HEAD_BYTES,
        CHUNKED + b"0\r\n" + b"X-Any: xxx\r\n" * (MAX_HEAD_BYTES // 12 + 1),
        CHUNKED + b"0\r\nX-Any: " + b"x" * MAX_HEAD_BYTES,
        CHUNKED + b"0\r\n" + b"X-Any: x\r\n" * MAX_HEADERS + b"\r\n",
        b"HTTP/1.1 103 Early Hints\r\n" + b"X-Any: x\r\n" * (MAX_HEADERS + 1) + b"\r\n" + HEAD,
    ],
)
def test_what_is_no_body_is_bounded(wire: bytes, segment: int) -> None:
    """Status line, headers, chunk extensions and trailers: none of them goes on without end."""
    with pytest.raises(WireError, match="too long"):
        read(wire[start : start + segment] for start in range(0, len(wire) + segment, segment))


def test_a_body_in_small_chunks_is_not_taken_for_a_head() -> None:
    """More framing than body, and more of it than a head may have."""
    wire = CHUNKED + b"1\r\nx\r\n" * LIMIT + b"0\r\n\r\n"

    assert read([wire]).body == b"x" * LIMIT
    assert read([wire[start : start + 100] for start in range(0, len(wire), 100)]).body == b"x" * LIMIT


def test_interim_answers_leave_nothing_behind() -> None:
    """Thousands of them: neither their headers nor their number count for the answer."""
    wire = (
        b"HTTP/1.1 103 Early Hints\r\nX-Kept: no\r\n\r\n" * 10_000 + HEAD + b"X-Kept: yes\r\nContent-Length: 0\r\n\r\n"
    )

    assert read([wire]).headers == [("X-Kept", "yes")]
    assert read([wire[start : start + 1000] for start in range(0, len(wire), 1000)]).headers == [("X-Kept", "yes")]


def test_only_a_200_comes_in_parts_and_has_no_limit() -> None:
    """An error is read whole, within the limit; a stream may be as long as it likes, but says where it ends."""
    long = CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (2 * LIMIT, b"x" * 2 * LIMIT)

    assert len(read([long], by_parts=True).body) == 2 * LIMIT
    with pytest.raises(WireError, match="max_response_bytes"):
        read([long.replace(b"200 OK", b"424 No")], by_parts=True)
    with pytest.raises(WireError, match="without a length"):
        read([HEAD + b"\r\nstream"], by_parts=True)


def test_answers_follow_each_other() -> None:
    """On one connection, by one reader; nothing of one is in the next."""
    reader = Reader()
    found = []
    for number in range(3):
        reader.begin(PASSED, LIMIT, by_parts=False)
        reader.feed(HEAD + b"X-Kept: %d\r\nContent-Length: 1\r\n\r\n%d" % (number, number))
        found.append((reader.headers, reader.take(), reader.reusable))

    assert found == [([("X-Kept", str(number))], b"%d" % number, True) for number in range(3)]
