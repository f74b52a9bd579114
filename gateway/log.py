"""Structured logs on standard error: JSON for machines, colours for a terminal; one line per request."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from json.encoder import encode_basestring_ascii as _quote
from time import gmtime, strftime, time
from typing import TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from gateway.memo import Memo
from gateway.models import Record

REMEMBERED = 1024
"""How many different texts between ids and times are remembered."""

LONGEST_REMEMBERED = 1000

_FIRST, _LAST = Record._fields.index("method"), Record._fields.index("upstream_error") + 1
"""The fields of a record that say what was asked, by whom, and how it ended."""

EVENT = "request_finished"
"""What the line of a request says that has happened."""

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Stream:
    """Where lines go. One that cannot be written is lost; the calls that it tells of are not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._later: list[str] = []

    def write(self, text: str) -> None:
        if self._later:
            text = self._take() + text
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def write_later(self, text: str) -> None:
        """Write it before anything else, or in the next turn of the event loop, with all that comes until then."""
        self._later.append(text)
        if len(self._later) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self._catch_up)
        except RuntimeError:  # there is no loop to wait for
            self._catch_up()

    def _take(self) -> str:
        later, self._later = self._later, []
        return "".join(later)

    def _catch_up(self) -> None:
        if self._later:
            self.write("")
            self.flush()

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def make_logger(*, level: str = "info", style: str = "auto", stream: TextIO = sys.stderr) -> FilteringBoundLogger:
    """The logger that the parts are given.

    Args:
        level: least level that is written: `debug`, `info`, `warning` or `error`.
        style: `json`, `console`, or `auto`: console on a terminal, else JSON.
        stream: where lines go.
    """
    console = style == "console" or (style == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not console),
    ]
    # Neither form of a traceback shows local variables: these hold bodies and keys.
    last: list[Processor] = (
        [
            _escape,
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback),
        ]
        if console
        else [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(serializer=_encode),
        ]
    )
    lines = _Stream(stream)
    filtering = structlog.make_filtering_bound_logger(LEVELS[level])
    of_json = {"lines": lines, "tells_requests": LEVELS[level] <= logging.INFO}
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(lines),  # type: ignore[arg-type] # all that it uses is write and flush
        processors=[*shared, *last],
        wrapper_class=filtering if console else type("JsonLogger", (_JsonLines, filtering), of_json),
        context_class=dict,
    )
    return logger


class _JsonLines:
    """A logger that also takes lines that are JSON already.

    Attributes:
        lines: where they go.
        tells_requests: whether requests are grave enough for it.
    """

    lines: _Stream
    tells_requests: bool


# json.dumps with arguments makes an encoder for each line.
_ENCODER = json.JSONEncoder(default=repr)


def _encode(event: EventDict, **_options: object) -> str:
    return _ENCODER.encode(event)


def _escape(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Line breaks and terminal escapes of callers are shown, not obeyed. JSON does so by itself."""
    return {
        key: value.encode("unicode_escape").decode() if isinstance(value, str) and not value.isprintable() else value
        for key, value in event.items()
    }


class _Handler(logging.Handler):
    """Sends the lines of libraries (aiohttp, botocore) the same way as ours."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = min(
            record.levelno // 10 * 10, logging.CRITICAL
        )  # those between the named ones are unknown to structlog
        try:
            self._log.log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info or None)
        except Exception:  # noqa: BLE001 - what a library logs wrongly must not stop it
            self.handleError(record)


def adopt_libraries(log: FilteringBoundLogger) -> None:
    """Let what libraries say through `logging` appear in our form, from warnings up."""
    logging.basicConfig(handlers=[_Handler(log)], level=logging.WARNING, force=True)
    for library in ("botocore", "aiobotocore"):
        # A failed refresh is told by us: their traceback may hold what a `credential_process` has printed.
        logging.getLogger(f"{library}.credentials").setLevel(logging.CRITICAL)


def access_log(log: FilteringBoundLogger) -> Callable[[Record], None]:
    """The hook that writes one line per request. Times are in milliseconds; bodies and their headers never appear."""
    bound = log.bind()
    if isinstance(bound, _JsonLines):
        return _JsonAccessLog(bound.lines).write if bound.tells_requests else _nothing
    info = bound.info

    def write(record: Record) -> None:
        more: dict[str, object] = {}
        if record.joined:
            more["joined"] = True
        if record.failovers:
            more["failovers"] = _failovers(record)
        info(
            EVENT,
            request_id=record.request_id,
            aws_request_id=record.aws_request_id,
            method=record.method,
            path=record.path,
            remote=record.remote,
            caller=record.caller,
            endpoint=record.endpoint,
            operation=record.operation,
            status=record.status,
            reason=record.reason,
            upstream_error=record.upstream_error,
            duration_ms=_milliseconds(record.duration),
            queue_ms=_milliseconds(record.queue),
            upstream_ms=_milliseconds(record.upstream),
            bytes_in=record.bytes_in,
            bytes_out=record.bytes_out,
            orphaned=record.orphaned,
            **more,
        )

    return write


class _JsonAccessLog:
    """The same line as JSON, put together by hand: by way of events and processors it costs a tenth of a request.

    Args:
        lines: takes it.
    """

    def __init__(self, lines: _Stream) -> None:
        self._write = lines.write_later
        self._second = -1
        self._stamp = ""  # of that second
        # What stands between the ids and the times is often the same, and most of the line.
        self._told = Memo(_tell, REMEMBERED, keeps=lambda _, told: len(told) <= LONGEST_REMEMBERED)

    def write(self, record: Record) -> None:
        now = time()
        second = int(now)
        if second != self._second:
            self._second, self._stamp = second, strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        told = self._told[record[_FIRST:_LAST]]
        more = self._more(record) if record.joined or record.failovers else ""
        queue, upstream = record.queue, record.upstream
        self._write(
            f'{{"request_id": {_quote(record.request_id)}, "aws_request_id": {_text(record.aws_request_id)}, {told}'
            f', "duration_ms": {record.duration * 1000:.3f}'
            f', "queue_ms": {"null" if queue is None else f"{queue * 1000:.3f}"}'
            f', "upstream_ms": {"null" if upstream is None else f"{upstream * 1000:.3f}"}'
            f', "bytes_in": {record.bytes_in}, "bytes_out": {record.bytes_out}'
            f', "orphaned": {"true" if record.orphaned else "false"}{more}'
            f', "event": "{EVENT}", "level": "info", "timestamp": "{self._stamp}.{int((now - second) * 1e6):06d}Z"}}\n'
        )

    def _more(self, record: Record) -> str:
        joined = ', "joined": true' if record.joined else ""
        return f'{joined}, "failovers": {_ENCODER.encode(_failovers(record))}' if record.failovers else joined


def _tell(what: tuple[object, ...]) -> str:
    return _ENCODER.encode(dict(zip(Record._fields[_FIRST:_LAST], what, strict=True)))[1:-1]


def _nothing(_record: Record) -> None:
    """Requests are not told."""


def _failovers(record: Record) -> list[str]:
    return [f"{failover.endpoint}: {failover.reason}" for failover in record.failovers]


def _text(value: str | None) -> str:
    return "null" if value is None else _quote(value)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
