"""The line of a request as JSON, put together by hand."""

import json
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as _quote
from operator import attrgetter
from time import gmtime, strftime, time
from typing import Protocol

from gateway.memo import memo
from gateway.models import Record

REMEMBERED = 1024
"""How many different texts between ids and times are remembered."""

LONGEST_REMEMBERED = 1000

_TOLD = ("method", "path", "remote", "caller", "endpoint", "operation", "status", "reason", "upstream_error")
"""The fields of a record that say what was asked, by whom, and how it ended."""

_what = attrgetter(*_TOLD)


EVENT = "request_finished"
"""What the line of a request says that has happened."""

# json.dumps with arguments makes an encoder for each line.
ENCODER = json.JSONEncoder(default=repr)


class Stream(Protocol):
    """Takes text; what cannot be written is lost, and nothing is raised."""

    def write(self, text: str) -> object:
        """Take it."""

    def flush(self) -> object:
        """Hold nothing of it back."""


class Lines:
    """Writes it. By way of events and processors it costs a tenth of a request.

    Args:
        stream: where it goes.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._second = -1
        self._stamp = ""  # of that second
        # What stands between the ids and the times is often the same, and most of the line.
        self._told = memo(_tell, REMEMBERED, keeps=lambda _, told: len(told) <= LONGEST_REMEMBERED)

    def write(self, records: Sequence[Record]) -> None:
        """Tell of some requests, at once."""
        now = time()
        second = int(now)
        if second != self._second:
            self._second, self._stamp = second, strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        timestamp = f"{self._stamp}.{int((now - second) * 1e6):06d}Z"
        self._stream.write("".join([self._line(record, timestamp) for record in records]))
        self._stream.flush()

    def _line(self, record: Record, timestamp: str) -> str:
        told = self._told(_what(record))
        more = self._more(record) if record.joined or record.failovers else ""
        queue, upstream = record.queue, record.upstream
        return (
            f'{{"request_id": {_quote(record.request_id)}, "aws_request_id": {_text(record.aws_request_id)}, {told}'
            f', "duration_ms": {record.duration * 1000:.3f}'
            f', "queue_ms": {"null" if queue is None else f"{queue * 1000:.3f}"}'
            f', "upstream_ms": {"null" if upstream is None else f"{upstream * 1000:.3f}"}'
            f', "bytes_in": {record.bytes_in}, "bytes_out": {record.bytes_out}'
            f', "orphaned": {"true" if record.orphaned else "false"}{more}'
            f', "event": "{EVENT}", "level": "info", "timestamp": "{timestamp}"}}\n'
        )

    def _more(self, record: Record) -> str:
        joined = ', "joined": true' if record.joined else ""
        return f'{joined}, "failovers": {ENCODER.encode(failovers(record))}' if record.failovers else joined


def failovers(record: Record) -> list[str]:
    """What a caller went on from, and why."""
    return [f"{failover.endpoint}: {failover.reason}" for failover in record.failovers]


def _tell(what: tuple[object, ...]) -> str:
    return ENCODER.encode(dict(zip(_TOLD, what, strict=True)))[1:-1]


def _text(value: str | None) -> str:
    return "null" if value is None else _quote(value)
