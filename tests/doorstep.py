"""A caller who speaks bytes, at the door of a gateway in front of a SageMaker that answers everything with `ok`."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import Gateway, open_gateway
from gateway.listener import Limits, Listener, open_listener
from gateway.log import make_logger
from gateway.models import Record
from tests.raw import RawServer, Script, raw_server, serve_ok
from tests.stand import config_in_front_of, lines_of

PATH = b"/endpoints/raw/invocations"
HOST = b"Host: gateway"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 3"
GET = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n"
SECONDS = 5.0


def post(*headers: bytes, body: bytes = b"", path: bytes = PATH, version: bytes = b"HTTP/1.1") -> bytes:
    """A request with a host."""
    return raw(b"POST " + path + b" " + version, HOST, *headers, body=body)


def raw(*lines: bytes, body: bytes = b"") -> bytes:
    """Any lines with an empty one after them."""
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


CALL = post(LENGTH, body=b"abc")


@dataclass(frozen=True)
class Answer:
    """One answer as it came.

    Attributes:
        line: version and status.
        headers: by name in lower case.
        body: all of it.
    """

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def status(self) -> int:
        """The status."""
        return int(self.line.split(" ")[1])


class Caller:
    """A caller on a raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        """Send bytes, each part in a segment of its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(self) -> Answer:
        """Read the next answer, interim ones too."""
        async with asyncio.timeout(SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:-2])
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(head[0][:12], headers, body)

    async def rest(self) -> bytes:
        """Whatever still comes until the other end closes; a reset is an end too."""
        try:
            async with asyncio.timeout(SECONDS):
                return await self.reader.read(-1)
        except ConnectionError:
            return b""

    async def end(self) -> str:
        """Whether the connection is kept, as the last answer had it, or closed."""
        try:
            await self.send(LIVEZ)
            return "kept" if (await self.answer()).body == b"ok\n" else "lost"
        except (asyncio.IncompleteReadError, ConnectionError):
            return "closed"
        except TimeoutError:
            return "hangs"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Caller]:
    """A new connection, closed at the end."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    caller = Caller(*await asyncio.open_connection(host, int(port)))
    try:
        yield caller
    finally:
        caller.writer.transport.abort()


@dataclass
class Doorstep:
    """A gateway with an endpoint `raw`, and all that it tells.

    Attributes:
        gateway: the gateway.
        server: the SageMaker behind it.
        logged: its log.
    """

    gateway: Gateway
    server: RawServer
    logged: io.StringIO

    async def outcome(self, *parts: bytes) -> str:
        """What becomes of the bytes on a connection of their own: the answer, the connection, and whether a model ran.

        In words such as `HTTP/1.1 400, closed` or `HTTP/1.1 200, kept, ran`.
        """
        runs = len(self.server.requests)
        async with connected(self.gateway.url) as caller:
            await caller.send(*parts)
            try:
                answer = await caller.answer()
            except (asyncio.IncompleteReadError, ConnectionError):
                return "closed"
            if answer.headers.get("connection") == "close":
                end = "closed" if await caller.rest() == b"" else "goes on"
            else:
                end = await caller.end()
        now = self.gateway.limiters["raw"].statistics()
        assert (now.running, now.waiting) == (0, 0)
        if answer.status >= 400:
            assert answer.headers["server"] == "sagemaker-gateway"
            assert json.loads(answer.body)["code"].lower() == answer.headers["x-amzn-errortype"]
        return ", ".join([answer.line, end, *(["ran"] * (len(self.server.requests) - runs))])

    async def outcomes(self, cases: Mapping[str, bytes]) -> dict[str, str]:
        """What becomes of each; and the next caller is served after each."""
        found = {}
        for name, case in cases.items():
            found[name] = await self.outcome(case)
            assert await self.outcome(CALL) == SERVED, name
        return found

    def requests(self) -> list[dict[str, Any]]:
        """The lines of the access log."""
        self.gateway.records.tell()
        return [line for line in lines_of(self.logged) if line["event"] == "request_finished"]

    async def metrics(self) -> dict[tuple[str, frozenset[str]], float]:
        """All samples of `/metrics`, by name and values of labels."""
        async with connected(self.gateway.url) as caller:
            await caller.send(raw(b"GET /metrics HTTP/1.1", HOST))
            text = (await caller.answer()).body.decode()
        return {
            (sample.name.removeprefix("sagemaker_gateway_"), frozenset(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


SERVED = "HTTP/1.1 200, kept, ran"


@asynccontextmanager
async def open_doorstep(
    *scripts: Script, listen: Mapping[str, Any] | None = None, **endpoint: Any
) -> AsyncIterator[Doorstep]:
    """A gateway that listens, with settings of `listen` and of its endpoint; SageMaker plays the scripts."""
    logged = io.StringIO()
    async with raw_server(*(scripts or (serve_ok,))) as server:
        config = config_in_front_of(server.url, {"listen": {"port": 0, **(listen or {})}}, **endpoint)
        async with open_gateway(config, make_logger(style="json", stream=logged)) as gateway:
            yield Doorstep(gateway, server, logged)


async def greet(_: web.BaseRequest) -> web.Response:
    """What most callers here ask for."""
    return web.Response(text="ok\n")


class Gate:
    """A handler that lets nobody out before it is opened.

    Attributes:
        entered: how many have come in.
    """

    def __init__(self) -> None:
        self.entered = 0
        self._open = asyncio.Event()

    def open(self) -> None:
        """Let them out."""
        self._open.set()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer, in the end."""
        self.entered += 1
        await self._open.wait()
        return await greet(request)


@asynccontextmanager
async def listening(
    handler: Any = greet, *, records: list[Record] | None = None, full: bool = False, **limits: Any
) -> AsyncIterator[Listener]:
    """A listener on a free port, with some limits of its own."""
    told = [] if records is None else records
    async with open_listener(
        handler, host="127.0.0.1", port=0, tell=told.append, limits=Limits(**limits), is_full=lambda: full
    ) as listener:
        yield listener
