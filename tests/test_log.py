"""Logs: one line for each record, whatever stands in it, in one form for us and for the libraries."""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import NoneType
from typing import Any, cast, get_args, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.log import LEVELS, access_log, adopt_libraries, make_logger
from gateway.models import Failover, Record, Unseen

RECORD = Record(
    request_id="the-request",
    aws_request_id="the-call",
    method="POST",
    path="/predict",
    remote="127.0.0.1",
    endpoint="resnet",
    operation="InvokeEndpoint",
    status=424,
    reason="timeout",
    upstream_error="ModelError",
    duration=3.0004,
    queue=0.0,
    first_byte=0.5,
    upstream=2.25,
    bytes_in=10,
    bytes_out=20,
    orphaned=True,
    caller="team-a",
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was logged, decoded; every line is whole."""
    text = stream.getvalue()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.fixture
def adopted() -> Iterator[io.StringIO]:
    """What libraries say, in JSON; afterwards they speak as before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    stream = io.StringIO()
    try:
        adopt_libraries(make_logger(style="json", stream=stream))
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_a_request_is_one_line_with_all_that_is_told_of_it() -> None:
    """The record's own names, times in milliseconds, and when it was."""
    stream = io.StringIO()
    access_log(make_logger(style="json", stream=stream))([RECORD])
    (line,) = lines(stream)
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
    assert line == {
        "event": "request_finished",
        "level": "info",
        "request_id": "the-request",
        "aws_request_id": "the-call",
        "method": "POST",
        "path": "/predict",
        "remote": "127.0.0.1",
        "caller": "team-a",
        "endpoint": "resnet",
        "operation": "InvokeEndpoint",
        "status": 424,
        "reason": "timeout",
        "upstream_error": "ModelError",
        "duration_ms": 3000.4,
        "queue_ms": 0.0,
        "upstream_ms": 2250.0,
        "bytes_in": 10,
        "bytes_out": 20,
        "orphaned": True,
    }


def test_what_is_not_known_is_null() -> None:
    """A field is always there."""
    optional = [name for name, kind in get_type_hints(Record).items() if NoneType in get_args(kind)]
    stream = io.StringIO()
    unknown: dict[str, Any] = dict.fromkeys(optional)
    access_log(make_logger(style="json", stream=stream))([replace(RECORD, **unknown)])
    (line,) = lines(stream)
    nulls = {name.removesuffix("_ms") for name, value in line.items() if value is None}
    assert nulls == set(optional) - {"first_byte"}


HOSTILE = st.text(st.characters()) | st.sampled_from(
    ["\n", "\r\n{}", "\x1b[31m", "\x00", "\x7f", "\x85", "\u2028", '"}', "\\", "%s %d", "{0}", "\ud800", "\udcff", "é"]
)


@given(record=st.builds(partial(replace, RECORD), path=HOSTILE, method=HOSTILE, remote=HOSTILE, request_id=HOSTILE))
@example(replace(RECORD, path='\r\n{"event": "request_finished", "forged": true}\n\x1b]0;title\x07\ud800'))
def test_no_text_breaks_a_line(record: Record) -> None:
    """Newlines, escapes for terminals and stray bytes stay inside their field, and come out of it as they were."""
    stream = io.StringIO()
    access_log(make_logger(style="json", stream=stream))([record])
    assert (stream.getvalue()[:-1].isprintable(), stream.getvalue().isascii()) == (True, True)
    (line,) = lines(stream)
    found = [line[name] for name in ("path", "method", "remote", "request_id")]
    assert found == [record.path, record.method, record.remote, record.request_id]


class Plain:
    """A logger that takes events only."""

    def __init__(self, stream: io.StringIO) -> None:
        self._log = make_logger(style="json", stream=stream)

    def bind(self) -> "Plain":
        """Itself."""
        return self

    def info(self, event: str, **fields: Any) -> None:
        """Take one."""
        self._log.info(event, **fields)


FAILOVERS = st.lists(st.builds(Failover, HOSTILE, st.sampled_from(Unseen), st.none()), max_size=2).map(tuple)
OPTIONAL = {"endpoint", "operation", "reason", "upstream_error", "caller", "aws_request_id"}
SECONDS = st.floats(0, 1e6)


@given(
    st.lists(
        st.builds(
            partial(replace, RECORD),
            duration=SECONDS,
            queue=st.none() | SECONDS,
            upstream=st.none() | SECONDS,
            bytes_in=st.integers(0),
            orphaned=st.booleans(),
            joined=st.booleans(),
            failovers=FAILOVERS,
            status=st.integers(100, 599),
            **dict.fromkeys(OPTIONAL, st.none() | HOSTILE),
        ),
        max_size=5,
    )
)
def test_the_line_by_hand_is_the_line_by_structlog(records: list[Record]) -> None:
    """The same fields in the same order and with the same values; the hand is only faster."""
    by_hand, by_structlog = io.StringIO(), io.StringIO()
    write = access_log(make_logger(style="json", stream=by_hand))
    tell = access_log(cast("Any", Plain(by_structlog)))
    write(records)
    tell(records)
    mine, theirs = lines(by_hand), lines(by_structlog)
    for line in (*mine, *theirs):
        assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
    assert [list(line.items()) for line in mine] == [list(line.items()) for line in theirs]


def test_the_lines_of_some_requests_are_written_at_once() -> None:
    """In order, and in one piece: no other line comes in between."""

    class Counting(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    stream = Counting()
    access_log(make_logger(style="json", stream=stream))([replace(RECORD, request_id=name) for name in "012"])

    assert [line.get("request_id") for line in lines(stream)] == ["0", "1", "2"]
    assert stream.writes == 1


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_lets_through_what_is_as_grave(level: str) -> None:
    """Less is not written."""
    stream = io.StringIO()
    log = make_logger(level=level, style="json", stream=stream)
    for each in LEVELS:
        getattr(log, each)("said")
    assert [line["level"] for line in lines(stream)] == list(LEVELS)[list(LEVELS).index(level) :]


def test_requests_are_told_at_info() -> None:
    """Whoever asks for warnings only has no access log."""
    stream = io.StringIO()
    access_log(make_logger(level="warning", style="json", stream=stream))([RECORD])
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("style", "stream", "is_json", "is_coloured"),
    [
        ("auto", io.StringIO, True, False),
        ("auto", Terminal, False, True),
        ("json", Terminal, True, False),
        ("console", io.StringIO, False, False),
        ("console", Terminal, False, True),
    ],
)
def test_people_see_text_and_machines_json(
    style: str, stream: type[io.StringIO], *, is_json: bool, is_coloured: bool
) -> None:
    """A terminal gets colours, everything else JSON, unless asked otherwise; colours only ever go to a terminal."""
    out = stream()
    access_log(make_logger(style=style, stream=out))([RECORD])
    text = out.getvalue()
    assert (text.startswith("{"), "\x1b[" in text) == (is_json, is_coloured)
    assert (text.count("\n"), "request_finished" in text, "/predict" in text) == (1, True, True)


def test_each_line_is_there_at_once() -> None:
    """Nothing is held back in a buffer that a crash would lose."""
    raw = io.BytesIO()
    log = make_logger(style="json", stream=io.TextIOWrapper(raw, encoding="utf-8", write_through=False))
    log.info("said")
    assert json.loads(raw.getvalue())["event"] == "said"
    raw.truncate(0)
    raw.seek(0)
    access_log(log)([RECORD])
    assert json.loads(raw.getvalue())["event"] == "request_finished"


def test_libraries_speak_in_our_form(adopted: io.StringIO) -> None:
    """From warnings up, with the name of who speaks, one line each, whatever it says."""
    logger = logging.getLogger("aiohttp.server")
    logger.info("not told")
    logger.warning("told %d times\n%s", 2, "\x1b[31m\ud800")
    logger.critical("100 %")
    found = [(line["level"], line["event"], line["logger"]) for line in lines(adopted)]
    assert found == [
        ("warning", "told 2 times\n\x1b[31m\ud800", "aiohttp.server"),
        ("critical", "100 %", "aiohttp.server"),
    ]


def fail(message: str) -> None:
    """Raise."""
    raise ConnectionError(message)


def test_a_librarys_exception_is_part_of_its_line(adopted: io.StringIO) -> None:
    """The traceback does not spread over lines of its own."""
    try:
        fail("the metadata service\nis away")
    except ConnectionError:
        logging.getLogger("botocore").exception("failed")
    (line,) = lines(adopted)
    (exception,) = line["exception"]
    assert (line["event"], exception["exc_type"]) == ("failed", "ConnectionError")
    assert exception["exc_value"] == "the metadata service\nis away"
    assert [frame["name"] for frame in exception["frames"]][-1] == "fail"


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, _text: str) -> int:
        """Fail as a pipe does."""
        raise BrokenPipeError


def closed() -> io.StringIO:
    """A stream that was closed."""
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [Broken(), closed()], ids=["broken", "closed"])
@pytest.mark.usefixtures("adopted")
def test_a_log_that_cannot_be_written_stops_nobody(stream: io.StringIO) -> None:
    """The line is lost; the call that it tells of, and the library that speaks, go on."""
    log = make_logger(style="json", stream=stream)
    adopt_libraries(log)

    log.info("said")
    logging.getLogger("library").error("said")


def test_what_a_library_logs_wrongly_does_not_stop_it(adopted: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    """Odd levels are told as the next that we have; arguments that do not fit are Python's to complain about."""
    (ours,) = [handler for handler in logging.getLogger().handlers if type(handler).__module__ == "gateway.log"]
    ours.handle(logging.makeLogRecord({"levelno": 35, "msg": "odd"}))
    ours.handle(logging.makeLogRecord({"levelno": 40, "msg": "%d", "args": ("no number",)}))

    assert [(line["level"], line["event"]) for line in lines(adopted)] == [("warning", "odd")]
    assert "--- Logging error ---" in capsys.readouterr().err


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_local_variable_is_logged(style: str) -> None:
    """A traceback shows where, not with what: frames hold bodies and keys."""
    stream = io.StringIO()

    def handle(*parts: str) -> None:
        secret = "-".join(parts)
        assert secret
        fail("lost")

    try:
        handle("the", "secret")
    except ConnectionError as error:
        make_logger(style=style, stream=stream).error("failed", exc_info=error)

    assert "lost" in stream.getvalue()
    assert "the-secret" not in stream.getvalue()


def test_the_console_shows_escapes_and_does_not_obey_them() -> None:
    """What a caller sends can neither colour a terminal nor begin a line of its own."""
    stream = io.StringIO()

    make_logger(style="console", stream=stream).info("said\n\x1b[31m", path="\x1b[31mred\udcff")

    assert ("\x1b" in stream.getvalue(), stream.getvalue().count("\n")) == (False, 1)
    assert "\\x1b[31mred" in stream.getvalue()


def test_adopting_twice_says_nothing_twice(adopted: io.StringIO) -> None:
    """The last logger is the one that is spoken to."""
    second = io.StringIO()
    adopt_libraries(make_logger(style="json", stream=second))
    logging.getLogger("asyncio").error("said")
    assert (adopted.getvalue(), len(lines(second))) == ("", 1)


@pytest.mark.parametrize("library", ["botocore", "aiobotocore"])
def test_what_a_credential_process_has_printed_is_not_logged(adopted: io.StringIO, library: str) -> None:
    """Of a failed refresh botocore logs a traceback that quotes the program; what is to be said of it, we say."""
    logging.getLogger(f"{library}.credentials").warning("refresh failed", exc_info=ValueError("the-secret"))

    assert adopted.getvalue() == ""
