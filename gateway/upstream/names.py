"""Addresses of host names: looked up once for all who ask at a time, kept for seconds, and used in turn."""

import asyncio
import socket
from collections import deque
from dataclasses import dataclass
from functools import partial

from aiohappyeyeballs import AddrInfoType

KEPT_SECONDS = 10.0
"""How long addresses are used before they are looked up again: load balancers move."""


@dataclass(slots=True)
class _Known:
    addresses: deque[AddrInfoType]
    until: float


class Names:
    """Knows addresses."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], _Known] = {}
        self._lookups: dict[tuple[str, int], asyncio.Task[_Known]] = {}

    async def resolve(self, host: str, port: int) -> list[AddrInfoType]:
        """All addresses of a host, each time from another one on.

        Raises:
            OSError: it has none, or nobody knows.
        """
        key = host, port
        known = self._known.get(key)
        if known is None or known.until <= asyncio.get_running_loop().time():
            lookup = self._lookups.get(key)
            if lookup is None:
                self._lookups[key] = lookup = asyncio.create_task(self._look_up(host, port))
                lookup.add_done_callback(partial(self._looked_up, key))
            known = await asyncio.shield(lookup)  # whoever loses patience leaves it to the others
        found = list(known.addresses)
        known.addresses.rotate(-1)
        return found

    async def close(self) -> None:
        """Give up what is being looked up."""
        lookups = tuple(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)

    def _looked_up(self, key: tuple[str, int], lookup: asyncio.Task[_Known]) -> None:
        del self._lookups[key]
        if not lookup.cancelled():
            lookup.exception()  # taken note of, where nobody waits any more

    async def _look_up(self, host: str, port: int) -> _Known:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        known = self._known[host, port] = _Known(deque(found), loop.time() + KEPT_SECONDS)
        return known
