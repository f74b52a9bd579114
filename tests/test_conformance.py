"""Bytes in, outcome out: what of HTTP/1.1 is taken; nothing doubtful reaches a model (faults 25, 26, 28, 29)."""

import logging
from collections import Counter

import pytest

from tests.doorstep import CALL, CHUNKED, HOST, LENGTH, PATH, SERVED, open_doorstep, post, raw
from tests.faults.crowd import counted

LINE = b"POST " + PATH + b" HTTP/1.1"
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
REFUSED = "HTTP/1.1 400, closed"
UNKNOWN = "HTTP/1.1 404, kept"


def chunked(coding: bytes) -> bytes:
    """A request whose body is in chunks, whatever its coding is called."""
    return post(b"Transfer-Encoding: " + coding, body=CHUNKS)


def length(value: bytes) -> bytes:
    """A request with a body of three bytes, whatever its length is called."""
    return post(b"Content-Length: " + value, body=b"abc")


def header(line: bytes) -> bytes:
    """A request with one more header."""
    return post(line, LENGTH, body=b"abc")


FRAMING = {
    "CL and TE": post(LENGTH, CHUNKED, body=CHUNKS),
    "TE and CL": post(CHUNKED, LENGTH, body=CHUNKS),
    "two CL, equal": post(LENGTH, LENGTH, body=b"abc"),
    "two CL, different": post(LENGTH, b"Content-Length: 4", body=b"abcd"),
    "CL as a list": length(b"3, 3"),
    "CL +3": length(b"+3"),
    "CL -1": length(b"-1"),
    "CL 0x3": length(b"0x3"),
    "CL 1_0": length(b"1_0"),
    "CL 3 4": length(b"3 4"),
    "CL 3.0": length(b"3.0"),
    "CL empty": length(b""),
    "CL beyond 64 bits": length(b"9" * 23),
    "chunked, chunked": chunked(b"chunked, chunked"),
    "chunked on two lines": post(CHUNKED, CHUNKED, body=CHUNKS),
    "chunked, identity": chunked(b"chunked, identity"),
    "identity": chunked(b"identity"),
    "xchunked": chunked(b"xchunked"),
    "chunked with a parameter": chunked(b"chunked;q=1"),
    "VT before chunked": chunked(b"\x0bchunked"),
    "TE empty": chunked(b""),
    "TE folded": chunked(b"\r\n chunked"),
    "space before the colon of CL": post(b"Content-Length : 3", body=b"abc"),
    "space before the colon of TE": post(b"Transfer-Encoding : chunked", body=CHUNKS),
    "more after Connection: close": post(b"Connection: close", LENGTH, body=b"abc") + CALL,
}

HOSTS = {
    "none": raw(LINE, LENGTH, body=b"abc"),
    "two, equal": post(HOST, LENGTH, body=b"abc"),
    "two, different": post(b"Host: other", LENGTH, body=b"abc"),
    "with a path": raw(LINE, b"Host: a/b", LENGTH, body=b"abc"),
    "with a space": raw(LINE, b"Host: a b", LENGTH, body=b"abc"),
    "with a comma": raw(LINE, b"Host: a,b", LENGTH, body=b"abc"),
    "with a user": raw(LINE, b"Host: u@a", LENGTH, body=b"abc"),
    "not ASCII": raw(LINE, b"Host: \xff", LENGTH, body=b"abc"),
}

LINES = {
    "bare LF everywhere": CALL.replace(b"\r\n", b"\n"),
    "bare LF after the request line": CALL.replace(b"\r\n", b"\n", 1),
    "bare LF after a header": LINE + b"\r\nHost: a\nContent-Length: 3\r\n\r\nabc",
    "bare LF as the empty line": LINE + b"\r\nHost: a\r\nContent-Length: 3\r\n\nabc",
    "bare CR as a line end": LINE + b"\rHost: a\rContent-Length: 3\r\rabc",
    "CR CR LF": CALL.replace(b"\r\n", b"\r\r\n", 1),
    "obs-fold": header(b"X-A: a\r\n b"),
    "obs-fold with a tab": header(b"X-A: a\r\n\tb"),
    "fold after the request line": LINE + b"\r\n Host: a\r\n\r\n",
    "NUL in a value": header(b"X-A: a\0b"),
    "NUL in a name": header(b"X\0A: a"),
    "NUL in the target": post(LENGTH, body=b"abc", path=PATH + b"\0"),
    "CR in a value": header(b"X-A: a\rb"),
    "CR before what looks like a header": header(b"X-A: a\rContent-Length: 9"),
    "CR in a name": header(b"X\rA: a"),
    "CR in the target": post(LENGTH, body=b"abc", path=PATH + b"\r"),
    "control character in a value": header(b"X-A: a\x01b"),
    "DEL in a value": header(b"X-A: a\x7fb"),
    "tab before the colon": header(b"X-A\t: a"),
    "a name that is no token": header(b"X(A): a"),
    "a name that is not ASCII": header("Xä: a".encode()),
    "no name": header(b": a"),
    "no colon": header(b"nothing"),
    "a name of 9 kB": header(b"a" * 9000 + b": b"),
    "a value of 9 kB": header(b"a: " + b"b" * 9000),
    "too many headers": post(*[b"X-%d: a" % number for number in range(200)], LENGTH, body=b"abc"),
    "a head of more than 64 kB": post(*[b"X-%d: %b" % (number, b"a" * 8000) for number in range(9)]),
    "a space before the method": b" " + CALL,
    "a space in the target": post(LENGTH, body=b"abc", path=PATH + b" x"),
    "two words": raw(b"POST " + PATH, HOST) + CALL,
    "a method in lower case": CALL.replace(b"POST", b"post", 1),
    "a method that nobody knows": CALL.replace(b"POST", b"PSOT", 1),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
    "anything": b"anything\r\n\r\n",
}

OTHER_PROTOCOLS = {
    "Transfer-Encoding: gzip, chunked": (chunked(b"gzip, chunked"), "HTTP/1.1 501, closed"),
    "Transfer-Encoding: , chunked": (chunked(b", chunked"), "HTTP/1.1 501, closed"),
    "chunked in HTTP/1.0": (post(CHUNKED, body=CHUNKS, version=b"HTTP/1.0"), "HTTP/1.0 400, closed"),
    "HTTP/2.0": (post(LENGTH, body=b"abc", version=b"HTTP/2.0"), "HTTP/1.1 505, closed"),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505, closed"),
    "HTTP/3.0": (post(LENGTH, body=b"abc", version=b"HTTP/3.0"), "HTTP/1.1 505, closed"),
    "HTTP/1.2": (post(LENGTH, body=b"abc", version=b"HTTP/1.2"), "HTTP/1.1 505, closed"),
    "HTTP/0.9": (post(LENGTH, body=b"abc", version=b"HTTP/0.9"), "HTTP/1.1 505, closed"),
    "no version": (b"GET " + PATH + b"\r\n\r\n", "HTTP/1.1 505, closed"),
    "HTTP/1.10": (post(LENGTH, body=b"abc", version=b"HTTP/1.10"), REFUSED),
    "http/1.1": (post(LENGTH, body=b"abc", version=b"http/1.1"), REFUSED),
    "Upgrade: websocket": (header(b"Upgrade: websocket\r\nConnection: Upgrade"), REFUSED),
    "Upgrade: h2c": (
        header(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk") + CALL,
        REFUSED,
    ),
    "Upgrade that Connection does not name": (header(b"Upgrade: h2c"), REFUSED),
    "Connection: Upgrade without Upgrade": (header(b"Connection: Upgrade, HTTP2-Settings"), SERVED),
    "CONNECT host": (raw(b"CONNECT gateway:443 HTTP/1.1", HOST), "HTTP/1.1 405, closed"),
    "CONNECT path": (raw(b"CONNECT " + PATH + b" HTTP/1.1", HOST), "HTTP/1.1 405, closed"),
    "CONNECT and then a request": (raw(b"CONNECT gateway:443 HTTP/1.1", HOST) + CALL, "HTTP/1.1 405, closed"),
    "TRACE": (raw(b"TRACE " + PATH + b" HTTP/1.1", HOST), "HTTP/1.1 405, kept"),
    "OPTIONS": (raw(b"OPTIONS " + PATH + b" HTTP/1.1", HOST), "HTTP/1.1 405, kept"),
    "OPTIONS *": (raw(b"OPTIONS * HTTP/1.1", HOST), UNKNOWN),
    "POST *": (post(path=b"*"), REFUSED),
    "absolute-form": (post(LENGTH, body=b"abc", path=b"http://gateway" + PATH), SERVED),
    "absolute-form of another host": (post(LENGTH, body=b"abc", path=b"https://other:1" + PATH), SERVED),
    "absolute-form without a host": (post(LENGTH, body=b"abc", path=b"http://" + PATH), REFUSED),
    "absolute-form with a user": (post(LENGTH, body=b"abc", path=b"http://u:p@gateway" + PATH), REFUSED),
    "a fragment": (post(LENGTH, body=b"abc", path=PATH + b"#x"), REFUSED),
}

TAKEN = {
    "HTTP/1.0 without a host": (raw(b"POST " + PATH + b" HTTP/1.0", LENGTH, body=b"abc"), "HTTP/1.0 200, closed, ran"),
    "Transfer-Encoding: CHUNKED": (chunked(b"CHUNKED"), SERVED),
    "a length with zeros": (length(b"003"), SERVED),
    "white space around a length": (length(b" \t3\t "), SERVED),
    "an empty host": (raw(LINE, b"Host:", LENGTH, body=b"abc"), SERVED),
    "an IPv6 host": (raw(LINE, b"Host: [::1]:8080", LENGTH, body=b"abc"), SERVED),
    "empty lines before the request": (b"\r\n\r\n" + CALL, SERVED),
    "an empty line after the last": (
        post(b"Connection: close", LENGTH, body=b"abc\r\n"),
        "HTTP/1.1 200, closed, ran",
    ),
    "100 headers": (post(*[b"X-%d: a" % number for number in range(100)], LENGTH, body=b"abc"), SERVED),
    "a value of 8 kB": (header(b"a: " + b"b" * 8000), SERVED),
}

NAMES = {
    "..": b"/endpoints/x/../raw/invocations",
    "%2e%2e": b"/endpoints/x/%2e%2e/raw/invocations",
    "a%2Fb": b"/endpoints%2Fraw/invocations",
    "%0d%0a": b"/endpoints/raw%0d%0aX:%20a/invocations",
    "%ff": b"/endpoints/%ff/invocations",
    "%00": b"/endpoints/raw%00/invocations",
    "an encoded letter": b"/endpoints/r%61w/invocations",
    "half an escape": PATH + b"%",
    "//": b"//gateway" + PATH,
    "a slash too many": PATH + b"/",
    "a backslash": b"/endpoints\\raw\\invocations",
    "another case": PATH.upper(),
    "a name of 8 kB": b"/endpoints/" + b"a" * 8000 + b"/invocations",
}

LONG = b"X-Amzn-SageMaker-Custom-Attributes: "
SAGEMAKER_HEADERS = {
    "invalid UTF-8": LONG + b"a\xff",
    "not ASCII": LONG + "ä".encode(),
    "over-long": LONG + b"a" * 1025,
    "invalid UTF-8 in Content-Type": b"Content-Type: a\xc3",
    "not the pattern": b"X-Amzn-SageMaker-Target-Variant: -",
    "twice": b"X-Amzn-SageMaker-Inference-Id: a\r\nx-amzn-sagemaker-inference-id: b",
}


@pytest.mark.parametrize("cases", [FRAMING, HOSTS, LINES], ids=["framing", "hosts", "lines"])
async def test_what_can_be_read_in_two_ways_is_refused(
    cases: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Row 25: 400 and close; no handler, permit or model. Log and metric count each, and none is an error of ours."""
    with caplog.at_level(logging.WARNING):
        async with open_doorstep() as door:
            found = await door.outcomes(cases)
            lines = door.requests()
            metrics = await door.metrics()

    assert found == dict.fromkeys(cases, REFUSED)
    assert caplog.records == []
    assert [(line["status"], line["reason"], line["endpoint"]) for line in lines] == [
        (400, "bad_request", None),
        (200, None, "raw"),
    ] * len(cases)
    assert metrics["refusals_total", frozenset({"_unknown", "bad_request"})] == len(cases)
    assert metrics["requests_total", frozenset({"_unknown", "400"})] == len(cases)


@pytest.mark.parametrize("cases", [OTHER_PROTOCOLS, TAKEN], ids=["other protocols", "taken"])
async def test_each_protocol_has_its_outcome(cases: dict[str, tuple[bytes, str]]) -> None:
    """Row 26: codings 501, versions 505, upgrades 400, tunnels 405; and what is right is taken, however odd."""
    async with open_doorstep() as door:
        found = await door.outcomes({name: case for name, (case, _) in cases.items()})
        counts = await counted(door.gateway.url)

    wanted = {name: outcome for name, (_, outcome) in cases.items()}
    codes = Counter(f"requests {outcome.split()[1].rstrip(',')}" for outcome in wanted.values())
    assert found == wanted
    assert {name: count for name, count in counts.items() if name.startswith("requests")} == codes + Counter(
        {"requests 200": len(cases)}
    )


async def test_headers_for_sagemaker_are_checked_before_queueing() -> None:
    """Row 28: 400, nothing sent, and the connection is as good as before."""
    async with open_doorstep() as door:
        found = await door.outcomes({name: header(line) for name, line in SAGEMAKER_HEADERS.items()})
        counts = await counted(door.gateway.url)

    assert found == dict.fromkeys(SAGEMAKER_HEADERS, "HTTP/1.1 400, kept")
    count = len(SAGEMAKER_HEADERS)
    assert counts == {"requests 400": count, "refusals bad_request": count, "requests 200": count}


async def test_a_line_break_in_a_header_only_ends_it() -> None:
    """Row 28: what follows CR LF is a header of its own, and one that SageMaker does not take stays behind."""
    async with open_doorstep() as door:
        found = await door.outcome(header(LONG + b"a\r\nX-Injected: b"))
        sent = door.server.requests[0].head

    assert found == SERVED
    assert LONG + b"a\r\n" in sent
    assert b"Injected" not in sent


async def test_names_are_looked_up_exactly() -> None:
    """Row 29: no path but the very one leads to the endpoint, and one that is too long for the line is no request."""
    cases = {name: post(LENGTH, body=b"abc", path=path) for name, path in NAMES.items()}
    too_long = post(LENGTH, body=b"abc", path=b"/endpoints/" + b"a" * 9000 + b"/invocations")
    raw_byte = post(LENGTH, body=b"abc", path=b"/endpoints/\xff/invocations")

    async with open_doorstep() as door:
        found = await door.outcomes(cases)
        refused = [await door.outcome(too_long), await door.outcome(raw_byte)]
        counts = await counted(door.gateway.url)
        logged = door.logged.getvalue()

    assert found == dict.fromkeys(NAMES, UNKNOWN)
    assert counts == {
        "requests 404": len(NAMES),
        "refusals unknown_route": len(NAMES),
        "requests 200": len(NAMES),
        "requests 400": 2,
        "refusals bad_request": 2,
    }
    assert refused == [REFUSED, REFUSED]
    assert logged.isascii()
