"""A listener from its beginning to its end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from ssl import SSLContext

from aiohttp import web

from gateway.listener.limits import Limits
from gateway.listener.server import Handler, Listener
from gateway.models import Record

BACKLOG = 4096
"""Connections that the kernel keeps until they are accepted: a burst of thousands of callers loses none."""


@asynccontextmanager
async def open_listener(
    handler: Handler,
    *,
    host: str,
    port: int,
    context: SSLContext | None = None,
    hooks: Iterable[Callable[[Record], None]] = (),
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
    last_seconds: float = 2.0,
) -> AsyncIterator[Listener]:
    """A listener that is closed at the end.

    Args:
        handler: answers requests.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        context: the certificate, for HTTPS.
        hooks: who is told of requests that were refused here.
        limits: the bounds.
        last_seconds: how long open requests may take at the end.

    Raises:
        OSError: the address cannot be listened on.
    """
    listener = Listener(handler, hooks=hooks, limits=limits)
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
