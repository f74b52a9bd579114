"""Opens the listeners: that of callers, and that of operators where they have an address of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext

from aiohttp import web

from gateway.admin import Admin
from gateway.config import Config
from gateway.config.rules import OPS_PATHS, RELOAD_PATH
from gateway.listener import Handler, Listener, limits_of, open_listener
from gateway.models import Connections, Record
from gateway.proxy import Proxy
from gateway.request import Request, Sent

LISTEN, ADMIN = "listen", "admin"
"""What the listeners are called: as the groups of the config in which their addresses stand."""


class AddressError(Exception):
    """An address cannot be listened on; the message says why, and which setting to change."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What listens.

    Attributes:
        url: where callers are served.
        admin_url: where operators are.
        connections: by listener, what has become of its connections.
    """

    url: str
    admin_url: str
    connections: Mapping[str, Callable[[], Connections]]

    def open_connections(self) -> int:
        """How many are open now."""
        return sum(statistics().open for statistics in self.connections.values())


@dataclass(frozen=True, slots=True)
class _Door:
    """A listener that is to be."""

    handler: Handler
    host: str
    port: int
    context: SSLContext | None


@asynccontextmanager
async def open_listening(
    config: Config,
    proxy: Proxy,
    admin: Admin,
    *,
    context: SSLContext | None,
    tell: Callable[[Record], None],
    last_seconds: float,
) -> AsyncIterator[Listening]:
    """Listeners that are closed at the end.

    Args:
        config: tells their addresses and bounds.
        proxy: serves callers.
        admin: serves operators; also callers, where these have no address of their own.
        context: the certificate for callers, for HTTPS.
        tell: is told of requests that are refused before anybody serves them.
        last_seconds: how long open requests may take at the end.

    Raises:
        AddressError: an address cannot be listened on.
    """
    async with AsyncExitStack() as stack:
        listeners: dict[str, Listener] = {}
        for name, door in _doors(config, proxy, admin, context).items():
            opening = open_listener(
                door.handler,
                host=door.host,
                port=door.port,
                context=door.context,
                tell=tell,
                limits=limits_of(config.listen),
                is_full=proxy.is_full,
                last_seconds=last_seconds,
            )
            try:
                listeners[name] = await stack.enter_async_context(opening)
            except OSError as error:
                raise AddressError(
                    f"cannot listen on {door.host}:{door.port}: {error.strerror or error}; "
                    f"free the address, or change {name}.host or {name}.port"
                ) from error
        url = listeners[LISTEN].url
        admin_url = listeners[ADMIN].url if ADMIN in listeners else url
        yield Listening(url, admin_url, {name: listener.statistics for name, listener in listeners.items()})


def _doors(config: Config, proxy: Proxy, admin: Admin, context: SSLContext | None) -> dict[str, _Door]:
    """What is to listen, in the order in which it is opened: once callers may come, they can be looked at."""
    listen, port = config.listen, config.admin.port

    ops_paths = frozenset((*OPS_PATHS, RELOAD_PATH))

    def handle(request: Request) -> Awaitable[web.StreamResponse | Sent]:
        return admin.handle(request) if request.rel_url.raw_path in ops_paths else proxy.handle(request)

    if port is None:
        return {LISTEN: _Door(handle, listen.host, listen.port, context)}
    return {
        ADMIN: _Door(admin.handle, config.admin.host or listen.host, port, None),
        LISTEN: _Door(proxy.handle, listen.host, listen.port, context),
    }
