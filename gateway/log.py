"""Structured logs on standard error: JSON for machines, colours for a terminal; one line per request."""

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from gateway.line import ENCODER, EVENT, Lines, failovers
from gateway.models import Record

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Stream:
    """Where lines go. One that cannot be written is lost; the calls that it tells of are not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

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


def _encode(event: EventDict, **_options: object) -> str:
    return ENCODER.encode(event)


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


def access_log(log: FilteringBoundLogger) -> Callable[[Sequence[Record]], None]:
    """The hook that writes one line per request. Times are in milliseconds; bodies and their headers never appear."""
    bound = log.bind()
    if isinstance(bound, _JsonLines):
        return Lines(bound.lines).write if bound.tells_requests else _nothing
    info = bound.info

    def tell(record: Record) -> None:
        more: dict[str, object] = {}
        if record.joined:
            more["joined"] = True
        if record.failovers:
            more["failovers"] = failovers(record)
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

    def write(records: Sequence[Record]) -> None:
        for record in records:
            tell(record)

    return write


def _nothing(_records: Sequence[Record]) -> None:
    """Requests are not told."""


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
