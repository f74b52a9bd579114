"""The built-in model: a container-contract server (`GET /ping`, `POST /invocations`) that sleeps and answers.

A program of its own, one process for each instance, on the standard library alone: `python -I model.py --seconds 5`.
It uses a thread for each connection, not an event loop: an instance has few, and blocking calls start faster. A caller
steers a single answer through the header `X-Amzn-SageMaker-Custom-Attributes`: `seconds=0.2,status=500,bytes=1000`, or
for numbered parts `parts=50,interval=0.01,part_bytes=100,sse=1`; `break_after=3` resets the connection after three,
`close=1` ends the caller's session.

Contract: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html. Wire: RFC 9112.
"""

import contextlib
import math
import os
import socket
import struct
import sys
import threading
import time
from typing import NamedTuple

MAX_HEAD_BYTES = 65_536
RECEIVE_BYTES = 262_144
JOIN_BYTES = 65_536
STEERS = {"seconds", "status", "bytes", "parts", "interval", "part_bytes", "sse", "break_after", "close"}
SESSION_SECONDS = 1200


class Request(NamedTuple):
    """One request as read from a connection; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | bytearray


class Parts(NamedTuple):
    """An answer in numbered parts, sent chunk by chunk."""

    number_of: int
    interval: float
    size: int
    sse: bool
    break_after: int

    def part(self, number: int) -> bytes:
        """A part of `size` bytes or what its number needs, in a line or an event."""
        start, end = (b"data: ", b"\n\n") if self.sse else (b"", b"\n")
        text = start + str(number).encode()
        fill = self.size - len(text) - len(end)
        return text + b" " * (fill > 0) + b"x" * (fill - 1) + end


class Reply(NamedTuple):
    """What to answer, and how many seconds after the request."""

    status: int = 200
    content_type: str = "application/json"
    body: bytes | bytearray = b'{"message":"finish"}'
    seconds: float = 0.0
    headers: tuple[str, ...] = ()
    parts: Parts | None = None


class Options(NamedTuple):
    """The command line; read by hand, since argparse alone would take a third of the start."""

    seconds: float = 5.0
    echo: bool = False
    until_stdin_closes: bool = False


class MalformedError(Exception):
    """The peer does not speak HTTP/1.1 as this server understands it; the connection cannot go on."""


class Wire:
    """The bytes of one connection: reads requests, writes replies; `received_at` is by the monotonic clock."""

    def __init__(self, connection: socket.socket) -> None:
        self.received_at = 0.0
        self._connection = connection
        self._data = bytearray()
        self._room = memoryview(bytearray(RECEIVE_BYTES))  # so much memory is not to be had anew for each request

    def read_request(self) -> Request | None:
        """The next request, or None when the peer has closed the connection between two requests.

        Raises:
            MalformedError: The bytes are no request, or end within one.
        """
        head = self._read_until(b"\r\n\r\n")
        if head is None:
            return None
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or words[2] != "HTTP/1.1":  # noqa: PLR2004 (method, target, version: RFC 9112 section 3)
            raise MalformedError(f"a request line of METHOD TARGET HTTP/1.1 was expected, not {lines[0]!r}")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Request(words[0], words[1], headers, self._read_body(headers))

    def write_reply(self, reply: Reply, since: float = 0.0) -> None:
        """Send a reply in its time, made ready before it; an OSError says that the peer has left."""
        lines = [f"HTTP/1.1 {reply.status} Emulated"]
        if reply.status in (204, 304):
            reply = reply._replace(body=b"", parts=None)
        else:
            length = "Transfer-Encoding: chunked" if reply.parts else f"Content-Length: {len(reply.body)}"
            lines += [f"Content-Type: {reply.content_type}", length, *reply.headers]
        joined = reply.parts is None and len(reply.body) <= JOIN_BYTES
        first = "\r\n".join([*lines, "", ""]).encode("latin-1") + (reply.body if joined else b"")
        time.sleep(max(0.0, since + reply.seconds - time.monotonic()))
        self._connection.sendall(first)
        if reply.parts is not None:
            self._write_parts(reply.parts)
        elif not joined:
            self._connection.sendall(reply.body)

    def _write_parts(self, parts: Parts) -> None:
        for number in range(min(parts.number_of, parts.break_after)):
            time.sleep(parts.interval if number else 0)
            part = parts.part(number)
            self._connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        if parts.break_after <= parts.number_of:
            time.sleep(parts.interval)
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise ConnectionAbortedError
        self._connection.sendall(b"0\r\n\r\n")

    def _read_body(self, headers: dict[str, str]) -> bytes | bytearray:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._read_chunks()
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise MalformedError(f"a Content-Length in digits was expected, not {length!r}")
        return self._read_exactly(int(length))

    def _read_chunks(self) -> bytearray:
        body = bytearray()
        while True:
            line = self._read_until(b"\r\n")
            try:
                size = int((line or b"").split(b";")[0], 16)
            except ValueError:
                raise MalformedError(f"a chunk size in hex was expected, not {line!r}") from None
            if size == 0:
                while self._read_until(b"\r\n"):  # trailers, up to the empty line
                    pass
                return body
            body += self._read_exactly(size)
            self._read_exactly(2)

    def _read_until(self, mark: bytes) -> bytearray | None:
        start = 0
        while (end := self._data.find(mark, start)) < 0:
            if len(self._data) > MAX_HEAD_BYTES:
                raise MalformedError(f"a head of at most {MAX_HEAD_BYTES} bytes was expected")
            start = max(0, len(self._data) - len(mark) + 1)
            if not (received := self._receive(self._room)):
                if not self._data:
                    return None
                raise MalformedError("the connection ended within a request")
            self._data += self._room[:received]
        found = self._data[:end]
        del self._data[: end + len(mark)]
        return found

    def _read_exactly(self, length: int) -> bytearray:
        body = bytearray(length)
        filled = min(length, len(self._data))
        body[:filled] = self._data[:filled]
        del self._data[:filled]
        with memoryview(body) as view:
            while filled < length:
                if not (received := self._receive(view[filled:])):
                    raise MalformedError("the connection ended within a body")
                filled += received
        return body

    def _receive(self, room: memoryview) -> int:
        received, self.received_at = self._connection.recv_into(room), time.monotonic()
        return received


class Model:
    """What the server answers: a function of the request and of the two settings alone, but for the ids of sessions."""

    def __init__(self, *, seconds: float, echo: bool) -> None:
        self._seconds = seconds
        self._echo = echo

    def reply(self, request: Request) -> Reply:
        """The answer to a request, with the time to sleep before it."""
        path = request.path.partition("?")[0]
        if path == "/ping":
            return Reply(body=b"")
        if path != "/invocations" or request.method != "POST":
            return _mistake(404, f"{request.method} {path} is unknown: use GET /ping or POST /invocations")
        attributes = request.headers.get("x-amzn-sagemaker-custom-attributes")
        try:
            steering = _steering(attributes or "")
        except ValueError as error:
            return _mistake(400, f"Custom-Attributes: {error}")
        headers = _session_headers(request.headers.get("x-amzn-sagemaker-session-id"), steering)
        reply = Reply(int(steering.get("status", 200)), seconds=steering.get("seconds", self._seconds), headers=headers)
        if self._echo:
            content_type = request.headers.get("content-type", "application/octet-stream")
            echoed = () if attributes is None else (f"X-Amzn-SageMaker-Custom-Attributes: {attributes}",)
            reply = reply._replace(content_type=content_type, body=request.body, headers=(*headers, *echoed))
        if "bytes" in steering:
            reply = reply._replace(content_type="application/octet-stream", body=b"x" * int(steering["bytes"]))
        return _in_parts(reply, steering) if "parts" in steering else reply


def _session_headers(session: str | None, steering: dict[str, float]) -> tuple[str, ...]:
    if session == "NEW_SESSION":
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + SESSION_SECONDS))
        return (f"X-Amzn-SageMaker-New-Session-Id: {os.urandom(16).hex()}; Expires={until}",)
    return (f"X-Amzn-SageMaker-Closed-Session-Id: {session}",) if session and steering.get("close") else ()


def _in_parts(reply: Reply, steering: dict[str, float]) -> Reply:
    sse = bool(steering.get("sse"))
    size, break_after = int(steering.get("part_bytes", 0)), int(steering.get("break_after", sys.maxsize))
    parts = Parts(int(steering["parts"]), steering.get("interval", 0), size, sse, break_after)
    return reply._replace(content_type="text/event-stream" if sse else "text/plain", parts=parts)


def _mistake(status: int, text: str) -> Reply:
    return Reply(status=status, content_type="text/plain; charset=utf-8", body=text.encode())


def _steering(attributes: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in attributes.split(","):
        key, _, text = item.strip().partition("=")
        if key not in STEERS:
            continue  # the caller's own attributes are no business of ours
        try:
            value = float(text) if key in {"seconds", "interval"} else int(text)
        except ValueError:
            raise ValueError(f"{key} wants a number, not {text!r}") from None
        if not (200 <= value <= 599 if key == "status" else 0 <= value < math.inf):  # noqa: PLR2004 (HTTP statuses)
            raise ValueError(f"{key} wants {'200 to 599' if key == 'status' else 'zero or more'}, not {text!r}")
        found[key] = value
    return found


def _converse(connection: socket.socket, model: Model) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire = Wire(connection)
    with connection, contextlib.suppress(OSError):  # when the peer has left, the work was done all the same
        try:
            while (request := wire.read_request()) is not None:
                wire.write_reply(model.reply(request), wire.received_at)
                if request.headers.get("connection", "").lower() == "close":
                    return
        except MalformedError as error:
            wire.write_reply(_mistake(400, str(error)))


def _accept(listener: socket.socket, model: Model) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_converse, args=(connection, model), daemon=True).start()


def _options(words: list[str]) -> Options:
    options = Options()
    while words:
        match words:
            case ["--seconds", seconds, *words]:
                options = options._replace(seconds=float(seconds))
            case ["--echo", *words]:
                options = options._replace(echo=True)
            case ["--until-stdin-closes", *words]:
                options = options._replace(until_stdin_closes=True)
            case _:
                raise SystemExit(f"unknown: {words[0]}. Use model.py [--seconds N] [--echo] [--until-stdin-closes]")
    return options


def main() -> None:
    """Serve on the port in `SAGEMAKER_BIND_TO_PORT` (default 8080) until SIGTERM, or until standard input ends."""
    options = _options(sys.argv[1:])
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), backlog=4096)
    model = Model(seconds=options.seconds, echo=options.echo)
    if not options.until_stdin_closes:
        _accept(listener, model)
    threading.Thread(target=_accept, args=(listener, model), daemon=True).start()
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)  # at once: threads that sleep for a call nobody waits for must not hold the process


if __name__ == "__main__":
    main()
