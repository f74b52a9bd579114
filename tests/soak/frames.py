"""A stream in frames, read as an SDK of AWS reads it: with botocore's own parser."""

from dataclasses import dataclass

from botocore.eventstream import EventStreamBuffer, ParserError


@dataclass(frozen=True, slots=True)
class Stream:
    """What came.

    Attributes:
        body: the parts, put together.
        error: the type of the error that came in place of a part, if one did.
        whole: whether nothing is garbled, and the last frame complete.
    """

    body: bytes
    error: str | None
    whole: bool


def read(data: bytes) -> Stream:
    """All frames."""
    buffer, body, error, seen = EventStreamBuffer(), b"", None, 0
    buffer.add_data(data)
    try:
        for event in buffer:
            seen += event.prelude.total_length
            if event.headers[":message-type"] == "event":
                body += event.payload
            else:
                error = str(event.headers[":exception-type"])
    except ParserError:
        return Stream(body, error, whole=False)
    return Stream(body, error, whole=seen == len(data))
