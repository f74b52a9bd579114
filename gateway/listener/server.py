"""The listener: connections in, requests that can be relied on out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import TypeAlias

from aiohttp import web
from multidict import CIMultiDict

from gateway.errors import PROXY_NAME, Refusal
from gateway.listener.connection import Connection
from gateway.listener.doorman import Doorman
from gateway.listener.limits import Crowd, Limits
from gateway.listener.newcomer import Newcomer
from gateway.listener.plain import Plain
from gateway.listener.strict import check
from gateway.models import Connections, Record
from gateway.request import Request, Sent
from gateway.visit import Visit

BACKLOG = 4096
"""Connections that the kernel keeps until they are accepted: a burst of thousands of callers loses none."""

Handler: TypeAlias = Callable[[Request], Awaitable[web.StreamResponse | Sent]]


class Listener(web.Server):
    """Takes connections, refuses what is no request, and hands on what is.

    Args:
        handler: answers requests.
        tell: is told of those that were refused here.
        limits: the bounds.
        is_full: whether some requests wait already, so that who comes need not be served at once.
    """

    def __init__(
        self, handler: Handler, *, tell: Callable[[Record], None], limits: Limits, is_full: Callable[[], bool]
    ) -> None:
        super().__init__(self._handle)  # type: ignore[arg-type] # `Serving` knows what has been sent
        self._answer = handler
        self._tell = tell
        self._crowd = Crowd(limits, self._loop)
        self._doorman = Doorman(self._loop, is_full)
        self._limits = limits
        self._plain = Plain(limits)
        self.url = ""
        """Where it is."""

    def __call__(self) -> Newcomer:  # type: ignore[override] # `Serving` is made when there is something to serve
        """A connection that comes."""
        return Newcomer(self._crowd, self._doorman, self._limits, self._make)

    def pre_shutdown(self) -> None:
        """Close what idles; nobody comes any more, and who has come is heard."""
        self._doorman.let_all_in()
        super().pre_shutdown()
        self._crowd.close()

    def statistics(self) -> Connections:
        """What has become of the connections so far."""
        return self._crowd.statistics()

    def _make(self) -> Connection:
        return Connection(
            self,
            loop=self._loop,
            crowd=self._crowd,
            doorman=self._doorman,
            limits=self._limits,
            plain=self._plain,
            refuse=self._refuse,
            access_log=None,
        )

    def _handle(self, request: Request) -> Awaitable[web.StreamResponse | Sent]:
        if request.transport is None:
            raise asyncio.CancelledError  # it had waited behind others, and its caller has gone
        if not request.plain:
            check(request, self._limits.head_bytes)
        return self._answer(request)

    def _refuse(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        """The answer, which is the last one on its connection. It is recorded like any other."""
        visit = Visit.begin(request)
        answer = visit.refuse(refusal)
        self._tell(visit.record(answer.status, answer))
        headers = CIMultiDict(answer.headers)
        headers["Server"] = PROXY_NAME
        headers.update(visit.marks(answer))
        response = web.Response(status=answer.status, headers=headers, body=answer.body)
        response.force_close()
        return response


@asynccontextmanager
async def open_listener(
    handler: Handler,
    *,
    host: str,
    port: int,
    context: SSLContext | None = None,
    tell: Callable[[Record], None],
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
    is_full: Callable[[], bool],
    last_seconds: float = 2.0,
) -> AsyncIterator[Listener]:
    """A listener that is closed at the end.

    Args:
        handler: answers requests.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        context: the certificate, for HTTPS.
        tell: is told of requests that were refused here.
        limits: the bounds.
        is_full: whether some requests wait already, so that who comes need not be served at once.
        last_seconds: how long open requests may take at the end.

    Raises:
        OSError: the address cannot be listened on.
    """
    listener = Listener(handler, tell=tell, limits=limits, is_full=is_full)
    runner = web.ServerRunner(listener, shutdown_timeout=last_seconds)
    await runner.setup()
    server = None
    try:
        # A handshake is a part of the head; aiohttp's own sites give it a minute.
        patience = limits.head_seconds if context else None
        server = await asyncio.get_running_loop().create_server(
            listener, host, port, ssl=context, backlog=BACKLOG, reuse_address=True, ssl_handshake_timeout=patience
        )
        shown = f"[{host}]" if ":" in host else host
        listener.url = f"{'https' if context else 'http'}://{shown}:{server.sockets[0].getsockname()[1]}"
        yield listener
    finally:
        if server is not None:
            server.close()
        await runner.cleanup()
