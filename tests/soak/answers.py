"""SageMaker's answers as bytes."""

import json

from gateway.emulator.frames import CONTENT_TYPE, part, time_exceeded
from gateway.emulator.refusals import Refusal

from .faults import Play

LAST_CHUNK = b"0\r\n\r\n"
PARTS = 3
GARBAGE = b"SMTP 220 this is no HTTP\r\n\r\n"


def whole(body: bytes) -> bytes:
    """A good answer."""
    return _head(200, {"Content-Type": "application/octet-stream"}, len(body)) + body


def refused(refusal: Refusal) -> bytes:
    """An error."""
    body = refusal.body.encode()
    return _head(refusal.status, _error_headers(refusal), len(body)) + body


def stream_head() -> bytes:
    """The beginning of an answer in parts."""
    headers = {"Content-Type": CONTENT_TYPE, "x-Amzn-SageMaker-Content-Type": "application/octet-stream"}
    return _head(200, headers, None)


def stream_parts(body: bytes) -> list[bytes]:
    """The body in frames, each in a chunk of its own."""
    size = -(-len(body) // PARTS)
    return [_chunk(part(body[start : start + size])) for start in range(0, len(body), size)]


def stream_end(play: Play) -> bytes:
    """What comes after the last frame that is right."""
    match play:
        case Play.CUT_FRAME:
            return _chunk(part(b"never")[:-8]) + LAST_CHUNK
        case Play.RESET_FRAME:
            return _chunk(part(b"never")[:-8])
        case Play.STREAM_ERROR:
            return _chunk(time_exceeded()) + LAST_CHUNK
        case Play.BAD_CRC:
            frame = part(b"never")
            return _chunk(frame[:-1] + bytes([frame[-1] ^ 0xFF])) + LAST_CHUNK
        case Play.SHORT | Play.EARLY:
            return b""
        case _:
            return LAST_CHUNK


def described(endpoint: str, instances: int) -> bytes:
    """DescribeEndpoint."""
    variant = {
        "VariantName": "AllTraffic",
        "CurrentInstanceCount": instances,
        "DesiredInstanceCount": instances,
        "CurrentWeight": 1.0,
        "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
    }
    body = json.dumps(
        {
            "EndpointName": endpoint,
            "EndpointArn": f"arn:aws:sagemaker:ap-northeast-1:123456789012:endpoint/{endpoint}",
            "EndpointConfigName": f"{endpoint}-config",
            "EndpointStatus": "InService",
            "ProductionVariants": [variant],
            "CreationTime": 0,
            "LastModifiedTime": 0,
        }
    ).encode()
    return _head(200, {"Content-Type": "application/x-amz-json-1.1"}, len(body)) + body


def _error_headers(refusal: Refusal) -> dict[str, str]:
    named = {} if refusal.error_type is None else {"x-amzn-ErrorType": refusal.error_type}
    return {"Content-Type": refusal.content_type, **named}


def _head(status: int, headers: dict[str, str], length: int | None) -> bytes:
    framing = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers | framing).items())
    return f"HTTP/1.1 {status} Soak\r\n{lines}\r\n".encode()


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
