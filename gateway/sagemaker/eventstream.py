"""Frames of `application/vnd.amazon.eventstream`: bytes in, checked messages out, and one message of our own. No I/O.

https://smithy.io/2.0/aws/amazon-eventstream.html (the specification), and
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream (with a picture).
All integers are big-endian, both checksums are CRC-32, each over all bytes of the message before it:

    total length u32 | headers length u32 | prelude checksum u32 | headers | payload | message checksum u32
    a header: name length u8 | name | type u8 | value
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct
from types import MappingProxyType
from typing import Literal, TypeAlias
from zlib import crc32

HeaderValue: TypeAlias = bool | int | bytes | str
"""A timestamp is an int, in milliseconds since 1970; a UUID is its 16 bytes."""

MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 24 * 1024 * 1024
"""The specification's limits. It asks them of services only, but botocore, too, takes no more."""

_LENGTHS = Struct(">II")
_PRELUDE = Struct(">III")
_CHECKSUM_BYTES = 4
_OVERHEAD_BYTES = _PRELUDE.size + _CHECKSUM_BYTES

MAX_MESSAGE_BYTES = MAX_HEADERS_BYTES + MAX_PAYLOAD_BYTES + _OVERHEAD_BYTES

_BOOLEANS = {0: True, 1: False}
_INTEGER_BYTES = {2: 1, 3: 2, 4: 4, 5: 8, 8: 8}
_BYTE_ARRAY, _STRING, _UUID = 6, 7, 9

_LONGEST_ERROR_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message whose checksums are right. Its `repr` shows no payload: that is the caller's.

    Attributes:
        headers: by name; read-only.
        raw: its bytes exactly as they came, to be passed on.
    """

    headers: Mapping[str, HeaderValue] = field(compare=False)
    raw: bytes = field(repr=False)

    @property
    def payload(self) -> bytes:
        """The model's bytes, where this is a PayloadPart; a JSON object, where it is an exception."""
        _, headers_length = _LENGTHS.unpack_from(self.raw)
        return self.raw[_PRELUDE.size + headers_length : -_CHECKSUM_BYTES]

    @property
    def kind(self) -> Literal["event", "exception", "error"]:
        """`exception` is an error of the API's model, `error` any other. All else is an event, as it is to SDKs."""
        value = self.headers.get(":message-type")
        if value == "exception":
            return "exception"
        return "error" if value == "error" else "event"

    @property
    def event_type(self) -> str | None:
        """Which event it is, e.g. `PayloadPart`: SDKs skip those they do not know. None for errors."""
        return self._text(":event-type") if self.kind == "event" else None

    @property
    def error_code(self) -> str | None:
        """The error's name, e.g. `ModelStreamError`; empty if it has none. None for events."""
        header = {"exception": ":exception-type", "error": ":error-code"}.get(self.kind)
        return self._text(header) or "" if header else None

    @property
    def error_message(self) -> str | None:
        """What the error says, for people; empty if nothing. None for events."""
        if self.kind == "exception":
            return self._member("Message") or self._member("message") or ""
        return self._text(":error-message") or "" if self.kind == "error" else None

    @property
    def error_reason(self) -> str | None:
        """`ErrorCode` of a ModelStreamError: `ModelInvocationTimeExceeded` or `StreamBroken`. SDKs drop it."""
        return self._member("ErrorCode") if self.kind == "exception" else None

    def _text(self, header: str) -> str | None:
        value = self.headers.get(header)
        return value if isinstance(value, str) else None

    def _member(self, name: str) -> str | None:
        if len(self.raw) > _LONGEST_ERROR_BYTES:
            return None
        try:
            body = json.loads(self.payload)
        except (ValueError, RecursionError):
            return None
        value = body.get(name) if isinstance(body, dict) else None
        return value if isinstance(value, str) else None


class FrameError(Exception):
    """The stream is broken from some message on; nothing after that can be told apart any more.

    Attributes:
        offset: where in the stream the broken message begins: all before it is whole.
        messages: what the failed `feed` had decoded before it came to the broken message.
    """

    def __init__(self, problem: str, offset: int, messages: Sequence[Message] = ()) -> None:
        super().__init__(f"message at byte {offset} of the stream: {problem}")
        self.problem = problem
        self.offset = offset
        self.messages = messages


class StreamCutError(FrameError):
    """The stream ended inside a message, which AWS SDKs take for a good end."""


class Decoder:
    """Turns the bytes of one stream, in whatever pieces they come, into messages.

    A message comes out of the very `feed` that brings its last byte. What is kept is one unfinished message, never
    more than has come of it, and the work is linear in the bytes however they are cut. Once broken, it stays broken.

    Args:
        max_message_bytes: longest message that is taken; one that announces more is refused as soon as it does.
    """

    def __init__(self, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_message_bytes = max_message_bytes
        self._buffer = bytearray()
        self._needed = _PRELUDE.size
        self._offset = 0
        self._broken: tuple[str, int] | None = None
        # Nearly all messages of a stream have the same headers, byte for byte: they are parsed once.
        self._block = b""
        self._headers: Mapping[str, HeaderValue] = MappingProxyType({})

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished message have come; 0 between two messages."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """The messages that are whole now, in order.

        Raises:
            FrameError: the stream is broken. The messages before, as far as not handed out yet, are in the error.
        """
        if self._broken is not None:
            raise FrameError(*self._broken)
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        elif not isinstance(data, bytes):
            data = bytes(data)
        messages: list[Message] = []
        start = 0
        try:
            while message := self._next(data, start):
                messages.append(message)
                start += len(message.raw)
                self._offset += len(message.raw)
        except FrameError as error:
            self._broken = (error.problem, error.offset)
            error.messages = messages
            raise
        self._buffer += data[start:]
        return messages

    def close(self) -> None:
        """Say that no more will come.

        Raises:
            StreamCutError: the last message is not whole.
            FrameError: the stream was broken before.
        """
        if self._broken is not None:
            raise FrameError(*self._broken)
        if self._buffer:
            whole = f"of {self._needed} bytes" if len(self._buffer) >= _PRELUDE.size else "of unknown length"
            raise StreamCutError(f"it is {whole}, and was cut off after {len(self._buffer)}", self._offset)

    def _next(self, data: bytes, start: int) -> Message | None:
        """The message that begins at `start`; None where bytes of it are missing."""
        available = len(data) - start
        if available < _PRELUDE.size:
            self._needed = _PRELUDE.size
            return None
        # The prelude has a checksum of its own, so that nobody waits for the bytes that a garbled length announces.
        total, headers_length, checksum = _PRELUDE.unpack_from(data, start)
        if crc32(data[start : start + _LENGTHS.size]) != checksum:
            raise FrameError("the checksum of its prelude is wrong", self._offset)
        self._check_lengths(total, headers_length)
        if available < total:
            self._needed = total
            return None
        raw = data[start : start + total]
        if crc32(memoryview(raw)[:-_CHECKSUM_BYTES]) != int.from_bytes(raw[-_CHECKSUM_BYTES:]):
            raise FrameError("its checksum is wrong", self._offset)
        block = raw[_PRELUDE.size : _PRELUDE.size + headers_length]
        if block != self._block:
            try:
                self._headers = MappingProxyType(_parse_headers(block))
            except ValueError as error:
                raise FrameError(f"its headers are malformed: {error}", self._offset) from error
            self._block = block
        return Message(self._headers, raw)

    def _check_lengths(self, total: int, headers_length: int) -> None:
        payload_length = total - headers_length - _OVERHEAD_BYTES
        if payload_length < 0:
            problem = f"it announces {total} bytes in all, too few for {headers_length} bytes of headers"
        elif headers_length > MAX_HEADERS_BYTES:
            problem = f"it announces {headers_length} bytes of headers: more than {MAX_HEADERS_BYTES}"
        elif payload_length > MAX_PAYLOAD_BYTES:
            problem = f"it announces {payload_length} bytes of payload: more than {MAX_PAYLOAD_BYTES}"
        elif total > self._max_message_bytes:
            problem = f"it announces {total} bytes in all: more than {self._max_message_bytes}"
        else:
            return
        raise FrameError(problem, self._offset)


def exception_message(code: str, message: str, error_code: str | None = None) -> bytes:
    """A message from which an SDK raises an error of the API's model, to end a stream that cannot be finished.

    Args:
        code: the error's name in the model: `ModelStreamError` or `InternalStreamFailure`.
        message: what went wrong, for people.
        error_code: the reason that a ModelStreamError gives: `ModelInvocationTimeExceeded` or `StreamBroken`.
    """
    body = {"Message": message} if error_code is None else {"Message": message, "ErrorCode": error_code}
    headers = {":message-type": "exception", ":exception-type": code, ":content-type": "application/json"}
    return _encode(headers, json.dumps(body).encode())


class _Reader:
    """Takes bytes off a block of headers. ValueError: they are not there."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self.left = len(block)

    def take(self, size: int) -> bytes:
        start = len(self._block) - self.left
        if size > self.left:
            raise ValueError(f"{size} bytes should follow byte {start} of them, and {self.left} do")
        self.left -= size
        return self._block[start : start + size]

    def take_sized(self, length_bytes: int) -> bytes:
        """Bytes that stand behind their own number."""
        return self.take(int.from_bytes(self.take(length_bytes)))


def _parse_headers(block: bytes) -> dict[str, HeaderValue]:
    """Raises ValueError where a header is not as specified."""
    headers: dict[str, HeaderValue] = {}
    reader = _Reader(block)
    while reader.left:
        name = reader.take_sized(1).decode()
        if not name:
            raise ValueError("one has no name")
        if name in headers:
            raise ValueError(f"{name!r} is there twice")
        headers[name] = _take_value(reader, name)
    return headers


def _take_value(reader: _Reader, name: str) -> HeaderValue:
    kind = reader.take(1)[0]
    if kind == _STRING:
        return reader.take_sized(2).decode()
    if kind in _BOOLEANS:
        return _BOOLEANS[kind]
    if size := _INTEGER_BYTES.get(kind):
        return int.from_bytes(reader.take(size), signed=True)
    if kind == _BYTE_ARRAY:
        return reader.take_sized(2)
    if kind == _UUID:
        return reader.take(16)
    raise ValueError(f"the type {kind} of {name!r} is unknown")


def _encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    block = b"".join([b"%c%b%c%b%b" % (len(n), n, _STRING, len(v).to_bytes(2), v) for n, v in fields])
    lengths = _LENGTHS.pack(_OVERHEAD_BYTES + len(block) + len(payload), len(block))
    message = lengths + crc32(lengths).to_bytes(_CHECKSUM_BYTES) + block + payload
    return message + crc32(message).to_bytes(_CHECKSUM_BYTES)
