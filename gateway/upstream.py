"""The client pool: a signed call in, SageMaker's answer out. Foreign failures become refusals here and nowhere else.

Connections come from aiohttp's connector (pool, DNS, TLS) and answers from its parser; the request is written by
hand, on purpose: only so is it known whether a byte of it has left, and its session and request objects cost twice
as much as all the rest of a call (`make bench`).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import random
from time import perf_counter
from typing import Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.errors import BROKEN, TIMEOUT, UNREACHABLE, Refusal
from gateway.models import Answer, Call

KEEPALIVE_SECONDS = 15.0
"""Idle connections are dropped well before SageMaker drops them (at 60 s): one that dies under a request is a 424."""

RETRY_SECONDS = 0.05
"""How long it is waited before a second attempt to connect, at most: by chance, so that callers do not come in step."""

STALE_CONNECTIONS = 100
"""How many idle connections may have gone stale at once, before SageMaker counts as unreachable."""

READ_BUFFER_BYTES = 256 * 1024
_SWITCHING_PROTOCOLS = 101
_FIRST_FINAL_STATUS = 200
_OK = 200


@dataclass(frozen=True, slots=True)
class _Destination:
    """What never changes about one URL: the key of its connections, and how its requests begin."""

    request: aiohttp.ClientRequest
    head: str


class Sink(Protocol):
    """Takes an answer in parts, as it comes."""

    def begin(self, head: Answer) -> None:
        """Status and headers are there."""

    async def put(self, part: bytes) -> None:
        """So is a part of the body; nothing more is read before this returns."""


class Retries(Protocol):
    """How often may be tried again."""

    def earn(self) -> None:
        """Say that a call is made."""

    def spend(self) -> bool:
        """Take one retry; False if there is none left."""


def _nothing() -> None:
    """Nobody wants to know."""


class Upstream:
    """Sends calls over pooled connections.

    The pool is not bounded: permits bound the calls, and a bound here would be a second queue that nobody sees.

    Args:
        connector: the pool.
        user_agent: who the gateway says it is.
        retries: how often a connection may be tried for again.
    """

    def __init__(self, connector: aiohttp.BaseConnector, user_agent: str, retries: Retries) -> None:
        self._connector = connector
        self._user_agent = user_agent
        self._destinations: dict[str, _Destination] = {}
        self._retries = retries

    async def send(self, call: Call, sink: Sink | None = None, connected: Callable[[], None] = _nothing) -> Answer:
        """Send the call once and read its answer to the end.

        Args:
            call: the call.
            sink: takes the body of a 200 as it comes; the answer that is returned at the end has none then.
            connected: called before the first byte goes out.

        Raises:
            Refusal: `unreachable` where no byte of it left, so that no model can have seen it; else `timeout` or
                `broken`: it may have run.
        """
        destination = self._destinations.get(call.url) or self._add_destination(call.url)
        self._retries.earn()
        started = perf_counter()
        sent = False
        try:
            async with asyncio.timeout(call.timeout_seconds):
                connection = await self._connect(destination, call)
                connected()
                sent = True
                try:
                    answer = await _exchange(connection, destination.head, call, started, sink)
                except BaseException:
                    connection.close()
                    raise
                if connection.transport is not None and connection.transport.get_write_buffer_size():
                    connection.close()  # the answer came early: the next call would queue behind the rest of this body
                else:
                    connection.release()
                return answer
        except TimeoutError:
            if not sent:
                raise _unreachable("the connection timed out") from None
            raise Refusal(
                TIMEOUT,
                f"SageMaker gave no whole answer within {call.timeout_seconds:g} s. The model may have run, "
                "and may still run: the call was not sent again.",
            ) from None
        except Refusal:
            raise
        except Exception as error:
            if not sent:
                raise _unreachable(type(error).__name__) from error
            raise Refusal(
                BROKEN,
                f"The connection to SageMaker broke before its answer was whole ({type(error).__name__}). "
                "The model may have run: the call was not sent again.",
            ) from error

    async def _connect(self, destination: _Destination, call: Call) -> Connection:
        """A connection on which nothing was said since its last answer.

        One that ended while it was idle, or brought bytes that nobody had asked for, is replaced: the next answer on
        it would be the answer to something else.
        """
        for _ in range(STALE_CONNECTIONS):
            connection = await self._open(destination, call)
            protocol = connection.protocol
            if protocol is not None and protocol.is_connected() and not protocol.should_close:
                return connection
            connection.close()
        raise _unreachable("its connections end before they take a call")

    async def _open(self, destination: _Destination, call: Call) -> Connection:
        """A connection, idle or new; where there is none it may be tried again, since no model saw the call."""
        timeout = aiohttp.ClientTimeout(connect=call.connect_seconds)
        for attempt in range(call.connect_attempts):
            try:
                connection = await self._connector.connect(destination.request, [], timeout)
            except (OSError, TimeoutError, aiohttp.ClientError, ssl.CertificateError) as error:
                if attempt == call.connect_attempts - 1 or not self._retries.spend():
                    reason = "the connection timed out" if isinstance(error, TimeoutError) else type(error).__name__
                    raise _unreachable(reason) from error
                await asyncio.sleep(RETRY_SECONDS * random())  # noqa: S311 - spreads retries, guards nothing
            else:
                return connection
        raise AssertionError("unreachable")

    def _add_destination(self, url: str) -> _Destination:
        target = URL(url, encoded=True)
        request = aiohttp.ClientRequest("POST", target, loop=asyncio.get_running_loop())
        head = f"POST {target.raw_path_qs} HTTP/1.1\r\nUser-Agent: {self._user_agent}\r\n"
        destination = self._destinations[url] = _Destination(request, head)
        return destination


def _unreachable(reason: str) -> Refusal:
    return Refusal(UNREACHABLE, f"SageMaker could not be reached ({reason}). The call was not sent.")


async def _exchange(connection: Connection, head: str, call: Call, started: float, sink: Sink | None) -> Answer:
    protocol = connection.protocol
    transport = connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(read_until_eof=True, auto_decompress=False, read_bufsize=READ_BUFFER_BYTES)
    lines = "".join([f"{name}: {value}\r\n" for name, value in call.headers])
    start = f"{head}{lines}Content-Length: {len(call.body)}\r\n\r\n".encode("ascii")
    transport.writelines((start, call.body))
    message, payload = await _read_head(protocol)
    headers = _passed_back(message.headers, call.response_headers)
    first_byte = perf_counter() - started
    if sink is None or message.code != _OK:
        answer = Answer(message.code, headers, await _read_body(payload, call.max_response_bytes), first_byte)
    else:
        answer = Answer(message.code, headers, b"", first_byte)
        if not message.chunked and "Content-Length" not in message.headers:
            raise aiohttp.ClientPayloadError("a stream without a length ends as it breaks")
        sink.begin(answer)
        while part := await payload.readany():
            await sink.put(part)
    if not message.chunked and "Content-Length" not in message.headers:
        _check_end(protocol)
    return answer


async def _read_head(protocol: ResponseHandler) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    while True:
        message, payload = await protocol.read()
        if message.code == _SWITCHING_PROTOCOLS:
            raise aiohttp.ClientPayloadError("SageMaker switched protocols unasked")
        if message.code >= _FIRST_FINAL_STATUS:
            return message, payload


async def _read_body(payload: aiohttp.StreamReader, limit: int) -> bytes:
    chunks = []
    size = 0
    while chunk := await payload.readany():
        size += len(chunk)
        if size > limit:
            raise aiohttp.ClientPayloadError(f"the answer is longer than max_response_bytes ({limit})")
        chunks.append(chunk)
    return b"".join(chunks)


def _check_end(protocol: ResponseHandler) -> None:
    """A body without a length ends with its connection; a reset is no end, and aiohttp does not tell them apart."""
    error = protocol.exception()
    if isinstance(error, OSError):
        raise error


def _passed_back(headers: CIMultiDictProxy[str], allowed: frozenset[str]) -> list[tuple[str, str]]:
    passed = [(name, value) for name, value in headers.items() if name.lower() in allowed]
    for name, value in passed:
        # Bytes that are not UTF-8 arrive as lone surrogates, which nothing can send on.
        if not value.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise aiohttp.ClientPayloadError(f"the answer's header {name} is not UTF-8")
    return passed


@asynccontextmanager
async def open_upstream(user_agent: str, retries: Retries) -> AsyncIterator[Upstream]:
    """The process's client pool, closed at the end."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
    try:
        yield Upstream(connector, user_agent, retries)
    finally:
        await connector.close()
