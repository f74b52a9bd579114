"""How a connection comes about: addresses, TCP to whichever answers first, TLS."""

import asyncio
import socket
import ssl
from functools import cache
from typing import NamedTuple

from aiohappyeyeballs import AddrInfoType, start_connection

from gateway.upstream.connection import Connection, Owner
from gateway.upstream.names import Names

HEAD_START_SECONDS = 0.25
"""How long an address may be alone in being tried before the next one is, too: RFC 8305, section 5."""


class Origin(NamedTuple):
    """Where connections go.

    Attributes:
        host: name or address.
        port: its port.
        secure: whether it is spoken to in TLS.
    """

    host: str
    port: int
    secure: bool


@cache
def default_context() -> ssl.SSLContext:
    """Trusts whom this machine trusts. To make one takes some 40 ms: one serves all."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Opener:
    """Opens connections.

    Args:
        context: whom it trusts.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._names = Names()

    async def open(self, origin: Origin, owner: Owner) -> Connection:
        """A connection that is open, to whichever address takes it.

        Raises:
            OSError: none does.
        """
        addresses = await self._names.resolve(origin.host, origin.port)
        while True:
            try:
                wire = await start_connection(addresses, happy_eyeballs_delay=HEAD_START_SECONDS)
            except RuntimeError as error:  # uvloop's, where others say OSError
                raise ConnectionError(str(error)) from error
            others = _without(addresses, wire)
            try:
                return await self._begin(origin, owner, wire)
            except OSError:
                if not 0 < len(others) < len(addresses):
                    raise
            addresses = others

    async def close(self) -> None:
        """Leave nothing running."""
        await self._names.close()

    async def _begin(self, origin: Origin, owner: Owner, wire: socket.socket) -> Connection:
        """A connection, from TCP on."""
        loop = asyncio.get_running_loop()
        connection = Connection(owner)
        context = self._context if origin.secure else None
        # A host name may have a dot at its end, a certificate never has.
        name = origin.host.rstrip(".") if origin.secure else None
        try:
            await loop.create_connection(lambda: connection, sock=wire, ssl=context, server_hostname=name)
        except BaseException:
            owner.lost(connection)  # uvloop closes it and tells nobody where the caller of this has left
            raise
        return connection


def _without(addresses: list[AddrInfoType], wire: socket.socket) -> list[AddrInfoType]:
    """The addresses but for the one that a socket is connected to."""
    try:
        peer = wire.getpeername()
    except OSError:
        wire.close()  # it has ended already
        raise
    return [address for address in addresses if address[-1] != peer]
