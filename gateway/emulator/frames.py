"""Event-stream messages (`application/vnd.amazon.eventstream`): how the parts of a model's answer stand on the wire.

Encoding: https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html (the same in all AWS services).
"""

import json
import struct
from zlib import crc32

from gateway.emulator.settings import Framing

CONTENT_TYPE = "application/vnd.amazon.eventstream"

FRAMING_BYTES = 16
"""The prelude (two lengths and their CRC) and the message's CRC."""

STRING = b"\x07"
TIME_EXCEEDED = "Your model primary did not complete sending the inference response in the allotted time."
BROKEN = "The TCP connection between the client and the model was reset or closed before the response was complete."

SPLIT_INTO = 3
MERGED_CHUNKS = 3


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message: a prelude with its CRC, headers of type string, the payload, and the CRC of all of it."""
    fields = b"".join(
        bytes([len(name)]) + name.encode() + STRING + struct.pack("!H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", FRAMING_BYTES + len(fields) + len(payload), len(fields))
    content = b"".join((prelude, struct.pack("!I", crc32(prelude)), fields, payload))
    return content + struct.pack("!I", crc32(content))


def part(payload: bytes) -> bytes:
    """PayloadPart: bytes of the model's answer."""
    headers = {
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }
    return message(headers, payload)


def exception(kind: str, members: dict[str, str]) -> bytes:
    """An error in mid-stream, such as ModelStreamError, with its members."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps(members, separators=(",", ":")).encode())


def time_exceeded() -> bytes:
    """ModelStreamError: the time limit of a stream has passed."""
    return exception("ModelStreamError", {"ErrorCode": "ModelInvocationTimeExceeded", "Message": TIME_EXCEEDED})


def stream_broken() -> bytes:
    """ModelStreamError: the container's answer broke off."""
    return exception("ModelStreamError", {"ErrorCode": "StreamBroken", "Message": BROKEN})


def unmodelled_error(code: str, text: str) -> bytes:
    """An error that the API does not model, such as a server's; it has no payload."""
    return message({":error-code": code, ":error-message": text, ":message-type": "error"}, b"")


class Framer:
    """Turns what a container sends into PayloadPart messages; `as_it_comes` and `split` hold nothing back."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._held: list[bytes] = []

    def parts(self, chunk: bytes) -> list[bytes]:
        """The messages to send now that a chunk has come."""
        if self._framing == "split":
            size = -(-len(chunk) // SPLIT_INTO)
            return [part(chunk[start : start + size]) for start in range(0, len(chunk), size)]
        self._held.append(chunk)
        wanted = MERGED_CHUNKS if self._framing == "merged" else 1
        return self.rest() if len(self._held) >= wanted else []

    def rest(self) -> list[bytes]:
        """The message that is still to send when the container has ended or broken off."""
        held, self._held = self._held, []
        return [part(b"".join(held))] if held else []
