"""Whether a caller has gone who is not read from: what is not read is not heard to end."""

import asyncio
import socket

_CLOSED = frozenset({7, 8, 9, 11})
"""TCP_CLOSE, TCP_CLOSE_WAIT, TCP_LAST_ACK and TCP_CLOSING of Linux's tcp_states.h: the other end sends no more."""


def hung_up(transport: asyncio.Transport) -> bool:
    """Whether the kernel knows that the other end has closed, where it tells."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_INFO", None)
    if connection is None or option is None:
        return False
    try:
        state: int = connection.getsockopt(socket.IPPROTO_TCP, option, 1)[0]
    except OSError:
        return True
    return state in _CLOSED
