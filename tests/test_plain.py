"""Plain requests: what is read without aiohttp's parser is what the parser reads, and nobody gets in by the seam."""

import asyncio
import random
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.listener import Limits, plain
from gateway.listener.connection import Connection
from gateway.listener.plain import LONGEST_REMEMBERED, Plain
from gateway.listener.strict import check
from gateway.request import Request, Whole
from tests.doorstep import CHUNKED, HOST, LENGTH, LIVEZ, PATH, Caller, connected, listening, post, raw
from tests.waiting import until

LIMITS = Limits()
LINE = b"POST " + PATH + b" HTTP/1.1"
WHOLE = post(b"Content-Type: application/json", b"Connection: keep-alive", LENGTH, body=b"abc")

LEFT = {
    "nothing": b"",
    "no end of the head": WHOLE[: WHOLE.index(b"\r\n\r\n") + 3],
    "another method": raw(b"PUT " + PATH + b" HTTP/1.1", HOST, LENGTH, body=b"abc"),
    "HTTP/1.0": post(LENGTH, body=b"abc", version=b"HTTP/1.0"),
    "an absolute target": post(LENGTH, body=b"abc", path=b"http://gateway" + PATH),
    "a fragment": post(LENGTH, body=b"abc", path=PATH + b"#a"),
    "a target that is not ASCII": post(LENGTH, body=b"abc", path=PATH + b"\xff"),
    "an empty line before it": b"\r\n" + WHOLE,
    "no host": raw(LINE, LENGTH, body=b"abc"),
    "two hosts": post(HOST, LENGTH, body=b"abc"),
    "a host that is none": raw(LINE, b"Host: a/b", LENGTH, body=b"abc"),
    "two lengths, spelt differently": post(LENGTH, LENGTH.lower(), body=b"abc"),
    "a length with a sign": post(b"Content-Length: +3", body=b"abc"),
    "a length of digits that are not ASCII": post("Content-Length: ३".encode(), body=b"abc"),
    "a length of 16 digits": post(b"Content-Length: 0000000000000003", body=b"abc"),
    "chunks": post(CHUNKED, body=b"0\r\n\r\n"),
    "chunks and a length": post(CHUNKED, LENGTH, body=b"abc"),
    "a question": post(b"Expect: 100-continue", LENGTH, body=b"abc"),
    "close": post(b"Connection: close", LENGTH, body=b"abc"),
    "close, by its other name": post(b"Proxy-Connection: close", LENGTH, body=b"abc"),
    "what a proxy is asked": post(b"TE: trailers", LENGTH, body=b"abc"),
    "trailers": post(b"Trailer: X-A", LENGTH, body=b"abc"),
    "a WebSocket of old": post(b"Sec-WebSocket-Key1: a", LENGTH, body=b"abc"),
    "an upgrade": post(b"Upgrade: websocket", LENGTH, body=b"abc"),
    "a body that is encoded": post(b"Content-Encoding: gzip", LENGTH, body=b"abc"),
    "a header that stands there twice": post(b"X-A: 1", b"x-a: 1", LENGTH, body=b"abc"),
    "a fold": post(b"X-A: a\r\n b", LENGTH, body=b"abc"),
    "a tab": post(b"X-A: a\tb", LENGTH, body=b"abc"),
    "a bare CR": post(b"X-A: a\rb", LENGTH, body=b"abc"),
    "a bare LF": post(b"X-A: a\nb", LENGTH, body=b"abc"),
    "NUL": post(b"X-A: a\0b", LENGTH, body=b"abc"),
    "a value that is not ASCII": post("X-A: ä".encode(), LENGTH, body=b"abc"),
    "a name that is no token": post(b"X(A): a", LENGTH, body=b"abc"),
    "a space before the colon": post(b"X-A : a", LENGTH, body=b"abc"),
    "no colon": post(b"X-A", LENGTH, body=b"abc"),
    "no name": post(b": a", LENGTH, body=b"abc"),
    "a long head": post(b"X-A: " + b"a" * 8190, LENGTH, body=b"abc"),
    "many headers": post(*[b"X-%d: a" % number for number in range(127)], LENGTH, body=b"abc"),
}
"""What the parser has to read."""


class Protocol:
    """What a parser, and the body that it makes, need of a connection."""

    _reading_paused = False

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's
        """Nothing is held."""


class Headed:
    """A request that is known by its head."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def head(self) -> Any:
        """It."""
        return self._message


def as_aiohttp_has_it(data: bytes) -> tuple[Any, bytes]:
    """The one request that aiohttp's parser and `check` take these bytes for, and its body.

    Raises:
        Exception: it is none, or more than one, or refused.
    """
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(
            cast(Any, Protocol()),
            loop,
            2**18,
            max_line_size=LIMITS.line_bytes,
            max_field_size=LIMITS.field_bytes,
            max_headers=LIMITS.headers,
            auto_decompress=False,
        )
        ((message, content),), upgraded, tail = parser.feed_data(data)
        assert (upgraded, tail, content.is_eof()) == (False, b"", True)
        body = content.read_nowait()
        # What is left of another one would show now.
        (_following,), _, _ = parser.feed_data(WHOLE)
        check(cast(Request, Headed(message)), LIMITS.head_bytes)
    finally:
        loop.close()
    return message, body


def told(message: Any) -> dict[str, Any]:
    """All that a head says, but for the spelling of its headers' names."""
    names = ("method", "path", "version", "should_close", "compression", "upgrade", "chunked", "url")
    return {name: getattr(message, name) for name in names} | {
        "headers": [(name.lower(), value) for name, value in message.headers.items()]
    }


def read(data: bytes) -> tuple[Any, Whole] | int:
    """What is read without a parser."""
    return Plain(LIMITS).read(data)


@pytest.mark.parametrize(
    "data", [WHOLE, post(), post(b"Content-Length: 0"), raw(b"GET /livez?verbose HTTP/1.1", HOST, b"Accept: */*")]
)
def test_a_plain_request_is_read(data: bytes) -> None:
    """Head and body; and again, when all of its lines are remembered."""
    for _ in range(2):
        found = read(data)
        assert not isinstance(found, int)
        message, body = as_aiohttp_has_it(data)
        assert (told(found[0]), found[1].read_nowait()) == (told(message), body)


async def test_a_body_is_handed_out_once_and_whole() -> None:
    """Whoever asks for a part of it, or for anything else of aiohttp's reader, is told, and gets no wrong one."""
    assert await Whole(b"abc").readany() == b"abc"
    body = Whole(b"abc")
    assert (body.is_eof(), body.read_nowait(), body.read_nowait()) == (True, b"abc", b"")
    for ask in (body.read, body.readline, body.readchunk):
        with pytest.raises((AttributeError, NotImplementedError)):
            await ask()
    with pytest.raises(NotImplementedError):
        body.read_nowait(1)


@pytest.mark.parametrize("data", LEFT.values(), ids=LEFT)
def test_anything_else_is_left_to_the_parser(data: bytes) -> None:
    """Whether the parser takes it or not."""
    assert read(data) == 0


def test_a_head_tells_how_long_its_request_is() -> None:
    """So that it is known where the parser is when it has had it all, or more."""
    assert read(WHOLE[:-1]) == len(WHOLE)
    assert read(WHOLE + b"P") == len(WHOLE)


def test_bounds_hold() -> None:
    """A head that comes near one of them is the parser's, which tells the caller which one that is."""
    for limits in (Limits(line_bytes=60), Limits(field_bytes=60), Limits(head_bytes=60), Limits(headers=3)):
        assert Plain(limits).read(WHOLE) == 0
    assert Plain(Limits(headers=4)).read(WHOLE)


def test_what_may_be_secret_or_long_is_not_remembered() -> None:
    """It is looked at anew in each request: a stranger takes no memory, and nothing of a caller stays in it."""
    remembered = [cast(Any, looked_up).__self__ for looked_up in (plain._line, plain._field, plain._name)]
    for each in remembered:
        each.clear()
    long = b"a" * LONGEST_REMEMBERED
    for request in (
        post(b"Authorization: Bearer s3cret", b"X-API-Key: s3cret", b"X-Anything: s3cret", LENGTH, body=b"abc"),
        post(b"User-Agent: " + long, LENGTH, body=b"abc"),
        post(b"X-" + long + b": a", LENGTH, body=b"abc"),
        post(b"s3cret", LENGTH, body=b"abc"),
        post(LENGTH, body=b"abc", path=PATH + long),
        post(LENGTH, body=b"abc", path=PATH + b"?X-Amz-Signature=s3cret"),
    ):
        read(request)

    lines, fields, names = (set(each) for each in remembered)
    assert (lines, fields) == ({LINE}, {LENGTH, HOST})
    assert names == {b"Authorization", b"Content-Length", b"Host", b"User-Agent", b"X-API-Key", b"X-Anything"}


PIECES = st.sampled_from(
    [
        b"POST ",
        b"GET ",
        b" HTTP/1.1",
        b" HTTP/1.0",
        PATH,
        b"/a?b=c&d=%2F",
        b"//a",
        b"?",
        b"#",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b": ",
        b":",
        b" ",
        b"\t",
        b"\0",
        b"\x7f",
        b"\xff",
        b",",
        b"Host: a",
        b"Content-Length: 0",
        b"content-length: 3",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Upgrade: h2c",
        b"X-A: b",
        b"abc",
        b"0",
        b"3",
    ]
)


@st.composite
def nearly_plain(draw: st.DrawFn) -> bytes:
    """A plain request in which some places may be others, or more, or less."""
    fields = draw(
        st.lists(
            st.tuples(
                st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True),
                st.sampled_from([b":", b": ", b":  "]),
                st.from_regex(rb"[ -~]{0,20}", fullmatch=True),
            ),
            max_size=4,
        )
    )
    body = draw(st.binary(max_size=8))
    lines = [b"".join(field) for field in fields] + [HOST, b"Content-Length: %d" % len(body)]
    draw(st.randoms()).shuffle(lines)
    data = raw(LINE, *lines, body=body)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(PIECES) + data[at + draw(st.integers(0, 4)) :]
    return data


@given(data=nearly_plain())
@example(data=post(LENGTH, body=b"abc", path=b"//a/../b?c=%zz&d"))
@example(data=post(b"X-A:", b"X-B: \x20a b\x20", LENGTH, body=b"abc"))
@example(data=post(b"Content-Length: 003", body=b"abc"))
def test_it_is_what_the_parser_reads(data: bytes) -> None:
    """Whatever is taken without it, aiohttp's parser takes too, as the same one request, and nothing doubts it."""
    found = read(data)
    if isinstance(found, int):
        return
    message, body = as_aiohttp_has_it(data)

    assert (told(found[0]), found[1].read_nowait()) == (told(message), body)


def test_the_parser_is_asked_in_earnest() -> None:
    """The comparison would fail for what is no request, is two of them, or is refused."""
    for data in (b"POST", WHOLE + WHOLE, WHOLE[:-1], post(b"X-A: a\0", LENGTH, body=b"abc")):
        with pytest.raises((HttpProcessingError, ValueError, AssertionError)):
            as_aiohttp_has_it(data)


async def ways(request: Request) -> web.Response:
    """Tells by which way a request has come, and its body."""
    way = "plain" if request.plain else "parsed"
    return web.Response(text=f"{way} {request.raw_path} {(await request.read()).decode()}")


class Ear:
    """Hears what comes to the listener's connections.

    Attributes:
        heard: how many bytes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._sent = self.heard = 0
        listen_to = Connection.listen_to

        def hear(connection: Connection, data: bytes) -> None:
            self.heard += len(data)
            listen_to(connection, data)

        monkeypatch.setattr(Connection, "listen_to", hear)

    async def answers_to(self, *parts: bytes, number: int, handler: Any = None) -> list[str]:
        """What is answered on a connection on which these come, each by itself."""
        async with listening(handler or ways) as listener, connected(listener.url) as caller:
            for part in parts:
                await self._send(caller, part)
            answers = [await caller.answer() for _ in range(number)]
            await self._send(caller, LIVEZ)
            last = await caller.answer()
        assert last.body in (b"plain /livez ", b"parsed /livez ")  # and nothing came before it
        return [answer.body.decode() for answer in answers]

    async def _send(self, caller: Caller, part: bytes) -> None:
        await caller.send(part)
        self._sent += len(part)
        await until(lambda: self.heard == self._sent)


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Ear:
    """It, at the listener of this test."""
    return Ear(monkeypatch)


def on(path: bytes, *headers: bytes, body: bytes = b"abc") -> bytes:
    """A request by whose path it is known again."""
    return raw(b"POST " + path + b" HTTP/1.1", HOST, *headers, body=body)


PLAIN = [on(b"/%d" % number, LENGTH) for number in range(4)]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (PLAIN[:2], ["plain /0 abc", "plain /1 abc"]),
        ([PLAIN[0] + PLAIN[1], PLAIN[2]], ["parsed /0 abc", "parsed /1 abc", "parsed /2 abc"]),
        ([PLAIN[0][:-2], PLAIN[0][-2:], PLAIN[1]], ["parsed /0 abc", "plain /1 abc"]),
        ([PLAIN[0][:-2], PLAIN[0][-2:] + PLAIN[1], PLAIN[2]], ["parsed /0 abc", "parsed /1 abc", "parsed /2 abc"]),
        ([PLAIN[0][:9], PLAIN[0][9:], PLAIN[1]], ["parsed /0 abc", "parsed /1 abc"]),
        ([on(b"/0", CHUNKED, body=b"1\r\na\r\n0\r\n\r\n"), PLAIN[1]], ["parsed /0 a", "parsed /1 abc"]),
    ],
    ids=["one by one", "two at once", "a body in two", "a body in two, and more", "a head in two", "chunks"],
)
async def test_the_parser_is_passed_by_only_where_it_has_nothing_left(
    ear: Ear, parts: list[bytes], expected: list[str]
) -> None:
    """Where it has had exactly whole requests, or nothing yet; else all is its own from there on."""
    assert await ear.answers_to(*parts, number=len(expected)) == expected


async def test_who_sends_ahead_is_read_by_the_parser(ear: Ear) -> None:
    """Row 27: it knows how many requests may wait, and reads no more than these."""
    parts = [*PLAIN[:3], PLAIN[3][:-1]]

    async def wait(request: Request) -> web.Response:
        await until(lambda: ear.heard >= len(b"".join(parts)))
        return await ways(request)

    expected = ["plain /0 abc", "parsed /1 abc", "parsed /2 abc", "parsed /3 abc"]

    assert await ear.answers_to(*parts, PLAIN[3][-1:], number=4, handler=wait) == expected


async def test_what_looks_like_a_request_is_none_within_another(ear: Ear) -> None:
    """Row 25: a body, or what is left of a head, may come by itself and look like a request: it is still of another."""
    within = on(b"/within", LENGTH)
    body = within.decode()
    as_body = on(b"/0", b"Content-Length: %d" % len(within), body=b"")
    as_value = PLAIN[0] + b"POST /1 HTTP/1.1\r\nX-A: "

    assert await ear.answers_to(as_body, within, number=1) == [f"parsed /0 {body}"]
    assert await ear.answers_to(PLAIN[1] + as_body, within, number=2) == ["parsed /1 abc", f"parsed /0 {body}"]
    assert await ear.answers_to(as_value, within, number=2) == ["parsed /0 abc", "parsed /1 abc"]


async def test_of_two_that_come_at_once_one_is_the_parsers() -> None:
    """Row 27: be it that the loop reads twice in a turn."""
    async with listening(ways) as listener, connected(listener.url) as caller:
        await caller.send(PLAIN[0])
        answers = [await caller.answer()]
        (connection,) = listener.connections
        for request in PLAIN[1:3]:
            connection.data_received(request)
        answers += [await caller.answer() for _ in range(2)]

    assert [answer.body for answer in answers] == [b"plain /0 abc", b"plain /1 abc", b"parsed /2 abc"]


async def test_nobody_is_served_any_more_whose_connection_is_to_close() -> None:
    """At the end nothing new begins, be it that more comes in the turn in which that is said."""
    served = []

    async def serve(request: Request) -> web.Response:
        served.append(request.raw_path)
        return await ways(request)

    async with listening(serve) as listener, connected(listener.url) as caller:
        await caller.send(PLAIN[0])
        await caller.answer()
        (connection,) = listener.connections
        closing = asyncio.create_task(connection.shutdown(1.0))
        await asyncio.sleep(0)
        connection.data_received(PLAIN[1])
        rest = await caller.rest()
        await closing

    assert (served, rest) == (["/0"], b"")


async def test_bytes_may_be_cut_anywhere(ear: Ear) -> None:
    """Some requests on one connection are answered in order, whatever the segments are that they come in."""
    dice = random.Random(1)
    wire = b"".join([*PLAIN, on(b"/4", CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"), on(b"/5", LENGTH)])
    expected = [f"/{number} abc" for number in range(6)]
    for _ in range(20):
        cuts = sorted(dice.sample(range(1, len(wire)), dice.randrange(8)))
        parts = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
        found = await ear.answers_to(*parts, number=6)
        assert [answer.partition(" ")[2] for answer in found] == expected, cuts
