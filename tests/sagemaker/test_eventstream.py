"""Event streams: botocore's messages, whatever the pieces; a wrong byte is always an error, a cut is always seen."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from struct import pack
from time import thread_time
from typing import Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStream, EventStreamBuffer, ParserError
from botocore.exceptions import EventStreamError
from botocore.parsers import EventStreamJSONParser
from botocore.session import get_session
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.sagemaker.eventstream import (
    MAX_HEADERS_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PAYLOAD_BYTES,
    Decoder,
    FrameError,
    HeaderValue,
    Message,
    StreamCutError,
    exception_message,
)

OPERATION = get_session().get_service_model("sagemaker-runtime").operation_model("InvokeEndpointWithResponseStream")

Encoded = tuple[str, HeaderValue, bytes]
"""A header: its name, its value, and type and value on the wire."""


def prelude(total: int, headers: int) -> bytes:
    """The first 12 bytes of a message, with the right checksum."""
    lengths = pack(">II", total, headers)
    return lengths + pack(">I", crc32(lengths))


def frame(block: bytes, payload: bytes = b"") -> bytes:
    """A message with the right lengths and checksums around any bytes."""
    message = prelude(16 + len(block) + len(payload), len(block)) + block + payload
    return message + pack(">I", crc32(message))


def named(name: bytes, value: bytes) -> bytes:
    """One header on the wire."""
    return pack(">B", len(name)) + name + value


def string(value: str) -> bytes:
    """A string on the wire, behind its type."""
    return b"\x07" + pack(">H", len(value.encode())) + value.encode()


def message(headers: Mapping[str, str], payload: bytes = b"") -> bytes:
    """A message with string headers."""
    return frame(b"".join(named(name.encode(), string(value)) for name, value in headers.items()), payload)


def part(payload: bytes) -> bytes:
    """A PayloadPart, as SageMaker sends it."""
    headers = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}
    return message(headers, payload)


EVERY_TYPE: Sequence[Encoded] = (
    ("true", True, b"\x00"),
    ("false", False, b"\x01"),
    ("byte", -2, b"\x02\xfe"),
    ("short", -2, b"\x03\xff\xfe"),
    ("integer", 2**31 - 1, b"\x04\x7f\xff\xff\xff"),
    ("long", -(2**63), b"\x05\x80\x00\x00\x00\x00\x00\x00\x00"),
    ("bytes", b"\x00\xff", b"\x06\x00\x02\x00\xff"),
    ("string", "é", b"\x07\x00\x02\xc3\xa9"),
    ("timestamp", 1_767_225_600_000, b"\x08\x00\x00\x01\x9b\x76\xda\xa8\x00"),
    ("uuid", bytes(range(16)), b"\x09" + bytes(range(16))),
    ("é", "", b"\x07\x00\x00"),
)

ALL_TYPES = frame(b"".join(named(name.encode(), wire) for name, _, wire in EVERY_TYPE), b"payload")
STREAM = (part(b"first"), ALL_TYPES, frame(b""), part(b""), exception_message("ModelStreamError", "too slow", "X"))
"""Every type of header, no header, a payload, no payload, an error."""

BYTES = b"".join(STREAM)
ENDS = list(accumulate(map(len, STREAM)))


def run(chunks: Sequence[bytes]) -> tuple[list[Message], FrameError | None]:
    """All that a whole stream gives: its messages, and what was wrong with it."""
    decoder = Decoder()
    messages: list[Message] = []
    try:
        for chunk in chunks:
            messages += decoder.feed(chunk)
        decoder.close()
    except FrameError as error:
        messages += error.messages
        return messages, error
    return messages, None


def broken(data: bytes) -> FrameError:
    """Why the first message of these bytes is refused."""
    with pytest.raises(FrameError) as caught:
        Decoder().feed(data)
    assert caught.value.offset == 0
    return caught.value


def by_botocore(data: bytes) -> list[tuple[dict[str, HeaderValue], bytes]]:
    """Headers and payload of the messages that botocore decodes."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(event.headers, event.payload) for event in buffer]


def sdk(*chunks: bytes) -> EventStream:
    """The response stream that a caller of boto3 has in hand, with these bytes behind it."""

    class Body:
        """The part of an HTTP answer that botocore reads a stream through."""

        def stream(self) -> Iterator[bytes]:
            """The pieces, as they came."""
            return iter(chunks)

    shape = OPERATION.output_shape.members["Body"]
    return EventStream(Body(), shape, EventStreamJSONParser(), OPERATION.name)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    return [data[start:end] for start, end in pairwise([0, *sorted(cuts), len(data)])]


def typed(headers: Mapping[str, HeaderValue]) -> dict[str, tuple[type, HeaderValue]]:
    """Headers in which True is not 1."""
    return {name: (type(value), value) for name, value in headers.items()}


def sized(kind: bytes, value: bytes) -> bytes:
    """A value behind its length."""
    return kind + pack(">H", len(value)) + value


def integers(kind: bytes, code: str, bits: int) -> st.SearchStrategy[bytes]:
    """Signed integers of one type, on the wire."""
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(lambda value: kind + pack(f">{code}", value))


VALUES = st.one_of(
    st.sampled_from([b"\x00", b"\x01"]),
    integers(b"\x02", "b", 8),
    integers(b"\x03", "h", 16),
    integers(b"\x04", "i", 32),
    integers(b"\x05", "q", 64),
    st.binary(max_size=40).map(lambda value: sized(b"\x06", value)),
    st.text(max_size=40).map(lambda value: sized(b"\x07", value.encode())),
    integers(b"\x08", "q", 64),
    st.binary(min_size=16, max_size=16).map(lambda value: b"\x09" + value),
)
NAMES = st.text(min_size=1, max_size=20).map(str.encode)
BLOCKS = st.dictionaries(NAMES, VALUES, max_size=6).map(
    lambda headers: b"".join(named(name, value) for name, value in headers.items())
)
FRAMES = st.builds(frame, BLOCKS, st.binary(max_size=200))
STREAMS = st.lists(st.one_of(FRAMES, st.sampled_from(STREAM)), max_size=6)
CUTS = st.lists(st.integers(0, 2000), max_size=12)


@settings(max_examples=200, deadline=None)
@given(STREAMS, CUTS)
def test_every_stream_is_what_botocore_makes_of_it(frames: list[bytes], cuts: list[int]) -> None:
    """Headers of any type, any payloads, in any pieces: the messages are botocore's, and `raw` is what came."""
    data = b"".join(frames)
    messages, error = run(pieces(data, [min(cut, len(data)) for cut in cuts]))
    assert error is None
    assert [message.raw for message in messages] == frames
    assert [(typed(message.headers), message.payload) for message in messages] == [
        (typed(headers), payload) for headers, payload in by_botocore(data)
    ]


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.lists(st.one_of(st.binary(max_size=4), VALUES, BLOCKS)).map(b"".join)))
@example(b"\x01a\x07\x00\x05abc")
@example(b"\x01a\x06\x00\x05abc")
@example(b"\x01a\x09abc")
def test_no_headers_are_read_otherwise_than_by_botocore(block: bytes) -> None:
    """Any bytes at all in the place of headers: they are refused, or botocore reads the same in them."""
    messages, error = run([frame(block, b"payload")])
    if error is None:
        theirs = by_botocore(frame(block, b"payload"))
        assert [(typed(message.headers), message.payload) for message in messages] == [
            (typed(headers), payload) for headers, payload in theirs
        ]
    else:
        assert not isinstance(error, StreamCutError)
        assert not messages


def test_all_ten_types_have_their_values() -> None:
    """What the specification says of each type, without botocore in between."""
    (decoded,) = Decoder().feed(ALL_TYPES)
    assert typed(decoded.headers) == typed({name: value for name, value, _ in EVERY_TYPE})
    assert decoded.payload == b"payload"


def test_published_frames_are_decoded() -> None:
    """Two test vectors that the AWS SDKs share: nothing at all, and an integer with a payload."""
    empty = bytes.fromhex("000000100000000005c248eb7d98c8ff")
    assert [(dict(message.headers), message.payload) for message in Decoder().feed(empty)] == [({}, b"")]
    vector = b"\x00\x00\x00+\x00\x00\x00\x0e4\x8b\xec{\x08event-id\x04\x00\x00\xa0\x0c{'foo':'bar'}\xd3\x89\x02\x85"
    (decoded,) = Decoder().feed(vector)
    assert (decoded.headers, decoded.payload) == ({"event-id": 40972}, b"{'foo':'bar'}")


@pytest.mark.parametrize("size", [*range(1, 40), 100, 1000])
def test_pieces_of_any_size_give_the_same(size: int) -> None:
    """Byte by byte, and in pieces of any other size."""
    messages, error = run([BYTES[start : start + size] for start in range(0, len(BYTES), size)])
    assert ([message.raw for message in messages], error) == (list(STREAM), None)


def test_a_message_comes_out_with_its_last_byte() -> None:
    """Cut at every place: what is whole comes out at once, what is not is pending, and a cut stream is told of."""
    for cut in range(len(BYTES) + 1):
        decoder = Decoder()
        whole = [end for end in ENDS if end <= cut]
        boundary = whole[-1] if whole else 0
        assert [message.raw for message in decoder.feed(BYTES[:cut])] == list(STREAM[: len(whole)])
        assert decoder.pending == cut - boundary
        if cut == boundary:
            decoder.close()
        else:
            with pytest.raises(StreamCutError) as caught:
                decoder.close()
            assert (caught.value.offset, caught.value.messages) == (boundary, ())
        assert [message.raw for message in decoder.feed(BYTES[cut:])] == list(STREAM[len(whole) :])
        decoder.close()


def test_a_cut_says_what_is_missing() -> None:
    """Where the unfinished message begins, how much of it came, and how long it would have been."""
    first, second = part(b"a"), part(b"b" * 100)
    _, error = run([first + second[:50]])
    assert (
        str(error)
        == f"message at byte {len(first)} of the stream: it is of {len(second)} bytes, and was cut off after 50"
    )
    _, error = run([second[:11]])
    assert str(error) == "message at byte 0 of the stream: it is of unknown length, and was cut off after 11"


def test_the_sdk_takes_a_cut_for_a_good_end() -> None:
    """What makes `close` necessary: botocore hands out one part of two, and says nothing."""
    assert list(sdk(part(b"whole"), part(b"cut off")[:-1])) == [{"PayloadPart": {"Bytes": b"whole"}}]


def test_every_wrong_byte_is_noticed() -> None:
    """Each byte of a message, with each other value: no message comes of it, and the one before is kept."""
    first, second, third = part(b"1"), ALL_TYPES, part(b"3")
    for position in range(len(second)):
        for mask in range(1, 256):
            wrong = bytearray(second)
            wrong[position] ^= mask
            messages, error = run([first + wrong + third])
            assert [message.raw for message in messages] == [first]
            assert error is not None
            assert error.offset == len(first)


@settings(max_examples=200, deadline=None)
@given(STREAMS, CUTS, st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), min_size=1, max_size=4))
def test_no_damage_makes_a_wrong_message(frames: list[bytes], cuts: list[int], damage: list[tuple[int, int]]) -> None:
    """Bytes changed anywhere, in any pieces: messages as they were sent, then an error at the first that was not.

    In whatever pieces the stream comes, the messages, the error and its place are the same.
    """
    data = bytearray(b"".join(frames))
    sent = bytes(data)
    for position, mask in damage:
        if position < len(data):
            data[position] ^= mask
    whole = [end for end in accumulate(map(len, frames)) if data[:end] == sent[:end]]
    messages, error = run([bytes(data)])
    assert [message.raw for message in messages] == frames[: len(whole)]
    assert (error is None) == (data == sent)
    assert error is None or error.offset == (whole[-1] if whole else 0)

    again, other = run(pieces(bytes(data), [min(cut, len(data)) for cut in cuts]))
    assert (again, type(other), str(other)) == (messages, type(error), str(error))


def test_a_broken_stream_stays_broken() -> None:
    """The messages before the damage are handed out once, with the error; whatever follows is the same error, bare."""
    first, wrong = part(b"1"), bytes(20)
    decoder = Decoder()
    with pytest.raises(FrameError) as caught:
        decoder.feed(first + wrong)
    assert [message.raw for message in caught.value.messages] == [first]
    for again in (lambda: decoder.feed(first), lambda: decoder.feed(b""), decoder.close):
        with pytest.raises(FrameError) as repeated:
            again()
        assert (str(repeated.value), repeated.value.messages) == (str(caught.value), ())
        assert not isinstance(repeated.value, StreamCutError)
    assert decoder.pending == 0


LENGTHS = [
    (0, 0, "too few for 0 bytes of headers"),
    (15, 0, "too few for 0 bytes of headers"),
    (100, 85, "too few for 85 bytes of headers"),
    (16 + MAX_HEADERS_BYTES + 1, MAX_HEADERS_BYTES + 1, "131073 bytes of headers: more than 131072"),
    (16 + MAX_PAYLOAD_BYTES + 1, 0, "25165825 bytes of payload: more than 25165824"),
    (2**32 - 1, 0, "4294967279 bytes of payload: more than 25165824"),
    (2**32 - 1, 2**32 - 1, "too few for 4294967295 bytes of headers"),
]


@pytest.mark.parametrize(("total", "headers", "problem"), LENGTHS)
def test_impossible_lengths_are_refused_at_the_prelude(total: int, headers: int, problem: str) -> None:
    """With the twelfth byte, before one byte of what they announce has come."""
    decoder = Decoder()
    assert decoder.feed(prelude(total, headers)[:11]) == []
    with pytest.raises(FrameError, match=problem):
        decoder.feed(prelude(total, headers)[11:])


def test_a_garbled_length_is_refused_at_the_prelude() -> None:
    """A wrong checksum of the prelude is not waited out, though its length is a possible one."""
    garbled = bytearray(part(b"a"))
    garbled[1] ^= 1
    assert "prelude" in str(broken(bytes(garbled[:12])))


def test_the_largest_message_is_taken() -> None:
    """128 KiB of headers and 24 MiB of payload: what botocore takes, we take, and without a copy."""
    block = named(b"a", sized(b"\x06", bytes(65_535))) + named(b"b", sized(b"\x06", bytes(65_527)))
    largest = frame(block, bytes(MAX_PAYLOAD_BYTES))
    assert (len(block), len(largest)) == (MAX_HEADERS_BYTES, MAX_MESSAGE_BYTES)
    (decoded,) = Decoder().feed(largest)
    assert decoded.raw is largest
    assert len(by_botocore(largest)) == 1


def test_the_limit_is_the_whole_message() -> None:
    """`max_message_bytes` counts all bytes of a message; the next longer one is refused at its prelude."""
    short, long = part(b"12"), part(b"123")
    decoder = Decoder(max_message_bytes=len(short))
    assert len(decoder.feed(short + long[:11])) == 1
    with pytest.raises(FrameError, match=rf"byte {len(short)} .* {len(long)} bytes in all: more than {len(short)}$"):
        decoder.feed(long[11:12])


MALFORMED = [
    (named(b"a", b"\x0a"), "the type 10 of 'a' is unknown"),
    (named(b"a", b"\xff"), "the type 255 of 'a' is unknown"),
    (named(b"\xff", b"\x00"), "can't decode byte 0xff"),
    (named(b"a", sized(b"\x07", b"\xc3")), "can't decode byte 0xc3"),
    (named(b"a", b"\x00") * 2, "'a' is there twice"),
    (named(b"", b"\x00"), "one has no name"),
    (b"\x05abc", "5 bytes should follow byte 1 of them, and 3 do"),
    (b"\x01a", "1 bytes should follow byte 2 of them, and 0 do"),
    (b"\x01a\x07\x00", "2 bytes should follow byte 3 of them, and 1 do"),
    (b"\x01a\x07\x00\x05abc", "5 bytes should follow byte 5 of them, and 3 do"),
    (b"\x01a\x05abc", "8 bytes should follow byte 3 of them, and 3 do"),
    (b"\x01a\x09abc", "16 bytes should follow byte 3 of them, and 3 do"),
]


@pytest.mark.parametrize(("block", "problem"), MALFORMED)
def test_malformed_headers_are_refused(block: bytes, problem: str) -> None:
    """Unknown types, names and strings that are not UTF-8, duplicates, values that end too soon: each by its name."""
    assert problem in str(broken(frame(block, b"a payload that is no header")))


def test_headers_that_repeat_are_the_right_ones() -> None:
    """Messages of one stream share their headers where these are the same, and only there; nobody can change them."""
    alike = [message({"a": "1"}), message({"a": "2"}), message({"b": "2"})]
    stream = [part(b"1"), part(b"2"), frame(b""), part(b"3"), ALL_TYPES, part(b"4"), frame(b""), *alike]
    messages = Decoder().feed(b"".join(stream))
    assert [typed(message.headers) for message in messages] == [
        typed(Decoder().feed(alone)[0].headers) for alone in stream
    ]
    headers: Any = messages[0].headers
    with pytest.raises(TypeError):
        headers["a"] = 1


def test_what_was_fed_may_be_changed_after() -> None:
    """A view of a buffer that is used again, as sockets do it: messages, and what is pending, are copies."""
    buffer = bytearray(BYTES)
    decoder = Decoder()
    messages = decoder.feed(memoryview(buffer)[: len(buffer) - 1])
    buffer[:-1] = bytes(len(buffer) - 1)
    messages += decoder.feed(memoryview(buffer)[-1:])
    messages += decoder.feed(bytearray(STREAM[0]))
    assert [message.raw for message in messages] == [*STREAM, STREAM[0]]


def test_the_work_is_linear() -> None:
    """3 MiB in 50,000 pieces: copying all that is pending for each of them would be 75 GiB, and take 10 s or more."""
    large = part(random.Random(1).randbytes(3 * 1024 * 1024))
    started = thread_time()
    messages, error = run([large[start : start + 64] for start in range(0, len(large), 64)])
    assert thread_time() - started < 2
    assert ([message.raw for message in messages], error) == ([large], None)


def test_the_repr_tells_no_payload() -> None:
    """A model's answer does not get into a log by way of a message."""
    (decoded,) = Decoder().feed(part(b"secret"))
    assert "PayloadPart" in repr(decoded)
    assert "secret" not in repr(decoded)


def view(data: bytes) -> tuple[str, str | None, str | None, str | None, str | None]:
    """What a message says of itself."""
    (decoded,) = Decoder().feed(data)
    return decoded.kind, decoded.event_type, decoded.error_code, decoded.error_message, decoded.error_reason


def exception(payload: bytes, code: str = "ModelStreamError") -> bytes:
    """An error of the model."""
    return message({":message-type": "exception", ":exception-type": code}, payload)


def test_events_are_told_by_their_type() -> None:
    """A part, an event that we do not know, and a message that says nothing of itself, which SDKs skip."""
    assert view(part(b"{}")) == ("event", "PayloadPart", None, None, None)
    assert view(message({":message-type": "event", ":event-type": "New"})) == ("event", "New", None, None, None)
    assert view(message({":message-type": "news"})) == ("event", None, None, None, None)
    assert view(frame(b"")) == ("event", None, None, None, None)
    assert view(frame(named(b":event-type", b"\x00"))) == ("event", None, None, None, None)
    assert list(sdk(frame(b""), message({":message-type": "news"}), part(b"a"))) == [{"PayloadPart": {"Bytes": b"a"}}]


ERRORS = [
    (exception(b'{"Message":"late","ErrorCode":"ModelInvocationTimeExceeded"}'), "ModelInvocationTimeExceeded"),
    (exception(b'{"Message":"late"}', "InternalStreamFailure"), None),
    (exception(b"{}"), None),
    (message({":message-type": "error", ":error-code": "InternalError", ":error-message": "Sorry."}), None),
    (message({":message-type": "error"}), None),
    (exception_message("ModelStreamError", 'the "model" was cut off: é\ud800', "StreamBroken"), "StreamBroken"),
    (exception_message("InternalStreamFailure", "no"), None),
]


@pytest.mark.parametrize(("data", "reason"), ERRORS, ids=range(len(ERRORS)))
def test_errors_say_what_the_sdk_raises(data: bytes, reason: str | None) -> None:
    """Code and message are those of botocore's exception; the reason, which it drops, is SageMaker's ErrorCode."""
    stream = iter(sdk(part(b"whole") + data))
    assert next(stream) == {"PayloadPart": {"Bytes": b"whole"}}
    with pytest.raises(EventStreamError) as caught:
        next(stream)
    error = caught.value.response["Error"]
    kind, event_type, *rest = view(data)
    assert kind in {"exception", "error"}
    assert [event_type, *rest] == [None, error["Code"], error["Message"], reason]


def test_an_error_in_lower_case_is_read() -> None:
    """`message`, as the specification and many services spell it; botocore would find nothing."""
    assert view(exception(b'{"message":"late"}')) == ("exception", None, "ModelStreamError", "late", None)


UNREADABLE = {
    "empty": b"",
    "not UTF-8": b"\xff",
    "no object": b"[]",
    "null": b"null",
    "no text": b'{"Message":1,"ErrorCode":2}',
    "deep": b"[" * 100_000,
    "long": b'{"Message":"a"}' + b" " * 2_000_000,
}


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE)
def test_an_error_without_a_readable_body_is_an_error(payload: bytes) -> None:
    """What the body of an exception does not tell is empty; that it is one is told by its headers."""
    assert view(exception(payload)) == ("exception", None, "ModelStreamError", "", None)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["ModelStreamError", "InternalStreamFailure"]),
    st.text(max_size=200),
    st.one_of(st.none(), st.sampled_from(["ModelInvocationTimeExceeded", "StreamBroken"])),
)
def test_our_own_exception_is_a_message_of_the_model(code: str, text: str, reason: str | None) -> None:
    """Any text reaches the SDK's exception, and the members are those that AWS's model names."""
    data = exception_message(code, text, reason)
    with pytest.raises(EventStreamError) as caught:
        list(sdk(data))
    assert caught.value.response == {"Error": {"Code": code, "Message": text}}
    assert view(data) == ("exception", None, code, text, reason)
    (decoded,) = Decoder().feed(data)
    assert decoded.headers[":content-type"] == "application/json"
    members = json.loads(decoded.payload)
    assert members == {"Message": text} | ({} if reason is None else {"ErrorCode": reason})
    assert set(members) <= set(OPERATION.output_shape.members["Body"].members["ModelStreamError"].members)


def test_the_oracle_objects() -> None:
    """Botocore's own checks are on: it refuses damage, too, so that its agreement means something."""
    with pytest.raises(ParserError):
        by_botocore(part(b"a")[:-1] + b"\x00")
